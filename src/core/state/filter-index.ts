/**
 * The topic filters of one connection, found by a topic name. [MQTT-3.1.1 4.7]
 *
 * Most filters belong to one client, and there may be a million of them: `d/17/set`, `d/17/+`, `cmd/17/#`. A filter
 * without wildcards is found by the hash of the name. Filters with wildcards have few *shapes*. A shape tells the
 * positions of the wildcards: `d/17/+` has three levels, and the last one is a wildcard. The name is looked up once for
 * each shape in use, with wildcards at the positions of the shape. The hash of a filter is made from the hashes of its
 * levels, so no text is made for a look-up. A filter that is found is compared as a whole.
 *
 * Each shape costs time with each message. Filters beyond `shapesMax` shapes, and shared subscriptions, are in a tree
 * too (filter-tree.ts). A filter takes a row of numbers, and the object that the caller made. A tree of all filters
 * tells which ones overlap. It is made when this is first asked about a filter with wildcards, which never happens on
 * most connections.
 */

import type { Found } from "../assert.ts";
import { HashRows, mixed, noRow } from "../hash-rows.ts";
import { endOfLevel, FilterTree, fits, isShared } from "./filter-tree.ts";

export interface Filtered {
  /** The filter as the client named it. */
  readonly filter: string;
}

/** Limit of shapes that are looked up one by one. */
const usualShapesMax = 64;

/** Limit of levels in a shape. Each level has a bit. */
const shapeLevelsMax = 30;

interface Shape {
  /** The number of levels before `#`. */
  readonly levels: number;
  /** One bit for each level that is `+`. */
  readonly pluses: number;
  readonly isOpen: boolean;
}

/** Filters of one kind, found by their hashes. A group with few filters has a small table, and costs little time. */
class Group<T extends Filtered> {
  /** Undefined: the filters have no wildcards, or are in the tree. */
  readonly shape: Shape | undefined;
  readonly rows = new HashRows();
  readonly entries: (T | undefined)[] = [];

  constructor(shape?: Shape) {
    this.shape = shape;
  }

  rowOf(filter: string, hash: number): number {
    let row = this.rows.first(hash);
    while (row !== noRow && this.entries[row]?.filter !== filter) row = this.rows.after(row);
    return row;
  }

  find(hash: number, topicName: string, found: (entry: T) => void): void {
    for (let row = this.rows.first(hash); row !== noRow; row = this.rows.after(row)) {
      const entry = this.entries[row];
      if (entry && (this.shape ? fits(entry.filter, topicName) : entry.filter === topicName)) found(entry);
    }
  }
}

/** The hash of each level of the name or filter that is looked up. One look-up at a time uses it. */
let levelHashes = new Int32Array(128);

export class FilterIndex<T extends Filtered> {
  /** Filters without wildcards. */
  readonly #exact = new Group<T>();
  /** Filters by shape. An empty group is replaced by the next new one. */
  readonly #shapes: Group<T>[] = [];
  /** Filters that are found by the tree. */
  readonly #odd = new Group<T>();
  readonly #tree = new FilterTree();
  /** A tree of all filters, kept while the caller asks which ones overlap. */
  #all: FilterTree | undefined = undefined;
  readonly #seed: number;
  readonly #shapesMax: number;

  /** `seed`: any number, if possible a secret one, so that no sender can prepare filters with the same hash. */
  constructor(seed: number, shapesMax = usualShapesMax) {
    this.#seed = seed;
    this.#shapesMax = shapesMax;
  }

  get size(): number {
    let size = this.#exact.rows.size + this.#odd.rows.size;
    for (const { rows } of this.#shapes) size += rows.size;
    return size;
  }

  /** All entries, in no particular order. They must not be changed during the iteration. */
  *all(): IterableIterator<T> {
    for (const { rows, entries } of this.#groups()) {
      for (const row of rows.rows()) {
        const entry = entries[row];
        if (entry) yield entry;
      }
    }
  }

  get(filter: string): T | undefined {
    const shape = shapeOf(filter);
    const hash = this.#hashOf(filter, shape);
    const group = this.#groupOf(filter, shape);
    const entry = group?.entries[group.rowOf(filter, hash)];
    if (entry || group === this.#odd) return entry;
    // The filter was added when there were too many shapes.
    return shape && this.#odd.entries[this.#odd.rowOf(filter, hash)];
  }

  /** Adds a filter, which must not exist yet. */
  add(entry: T): void {
    const { filter } = entry;
    const shape = shapeOf(filter);
    const hash = this.#hashOf(filter, shape);
    const group = this.#groupOf(filter, shape) ?? (shape && this.#newGroup(shape)) ?? this.#odd;
    group.entries[group.rows.add(hash)] = entry;
    if (group === this.#odd) this.#tree.add(filter);
    this.#all?.add(filter);
  }

  remove(entry: T): void {
    const { filter } = entry;
    const shape = shapeOf(filter);
    const hash = this.#hashOf(filter, shape);
    for (const group of [this.#groupOf(filter, shape), this.#odd]) {
      const row = group?.rowOf(filter, hash) ?? noRow;
      if (!group || group.entries[row] !== entry) continue;
      group.rows.remove(row);
      group.entries[row] = undefined;
      if (group === this.#odd) this.#tree.remove(filter);
      this.#all?.remove(filter);
      return;
    }
  }

  /** Calls `found` for each filter that matches the name, once. `found` must not look up anything here. */
  match(topicName: string, found: (entry: T) => void): void {
    const levels = hashLevels(topicName, this.#seed);
    const isInternal = topicName.startsWith("$"); // not for wildcards at the first level [MQTT-4.7.2-1]
    if (this.#exact.rows.size > 0) this.#exact.find(folded(levels, 0), topicName, found);
    for (const group of this.#shapes) {
      const { shape, rows } = group;
      // The filter "a/#" matches "a" too.
      if (!shape || rows.size === 0 || (shape.isOpen ? levels < shape.levels : levels !== shape.levels)) continue;
      if (isInternal && ((shape.pluses & 1) === 1 || shape.levels === 0)) continue;
      group.find(hashOfShape(shape), topicName, found);
    }
    if (this.#tree.size > 0)
      this.#tree.match(topicName, (filter) => {
        const entry = this.get(filter);
        if (entry) found(entry);
      });
  }

  /**
   * Whether a name exists that matches both this filter and another one. Without wildcards this costs as much as a
   * look-up of a name. With wildcards the cost depends on the filters, and a tree of all filters is kept from then on,
   * until `forgetOverlaps`.
   */
  overlaps(filter: string): boolean {
    const plain = plainOf(filter);
    if (!hasPlace(plain)) {
      let isOther = false;
      this.match(plain, (entry) => {
        isOther ||= entry.filter !== filter;
      });
      return isOther;
    }
    if (!this.#all) {
      this.#all = new FilterTree();
      for (const each of this.all()) this.#all.add(each.filter);
    }
    return this.#all.overlaps(filter);
  }

  /** Tells that the caller will not ask any more which filters overlap. */
  forgetOverlaps(): void {
    this.#all = undefined;
  }

  /** Checks that tables, shapes and trees agree. For tests. */
  check(found: Found): void {
    for (const group of this.#groups()) {
      const { rows, entries, shape } = group;
      rows.check(found);
      for (const row of rows.rows()) {
        const entry = entries[row];
        if (!entry || this.get(entry.filter) !== entry) found(`${entry?.filter ?? row} is not found by its text`);
        else if (group !== this.#odd && !isSameShape(shape, shapeOf(entry.filter)))
          found(`${entry.filter} has another shape`);
      }
    }
    const odd = this.#odd.rows.size;
    if (odd !== this.#tree.size) found(`${odd} filters are to be in the tree, ${this.#tree.size} are`);
    if (this.#all && this.#all.size !== this.size)
      found(`${this.#all.size} of ${this.size} filters are in the tree of all`);
    for (const tree of [this.#tree, this.#all])
      tree?.check((filter) => {
        if (!this.get(filter)) found(`${filter} is in the tree alone`);
      }, found);
  }

  *#groups(): IterableIterator<Group<T>> {
    yield this.#exact;
    yield* this.#shapes;
    yield this.#odd;
  }

  /** The group for filters of this kind; undefined: there is none for this shape. */
  #groupOf(filter: string, shape: Shape | undefined): Group<T> | undefined {
    if (!shape) return isShared(filter) || hasPlace(filter) ? this.#odd : this.#exact;
    for (const group of this.#shapes) if (isSameShape(group.shape, shape)) return group;
    return undefined;
  }

  /** Makes a group for a shape. Undefined: there are too many shapes. */
  #newGroup(shape: Shape): Group<T> | undefined {
    const free = this.#shapes.findIndex(({ rows }) => rows.size === 0);
    const place = free < 0 ? this.#shapes.length : free;
    if (place >= this.#shapesMax) return undefined;
    const group = new Group<T>(shape);
    this.#shapes[place] = group;
    return group;
  }

  #hashOf(filter: string, shape: Shape | undefined): number {
    const levels = hashLevels(filter, this.#seed);
    return shape ? hashOfShape(shape) : folded(levels, 0);
  }
}

/** The positions of the wildcards; undefined: the filter has none, is a shared subscription, or has too many levels. */
function shapeOf(filter: string): Shape | undefined {
  if (isShared(filter) || !hasPlace(filter)) return undefined;
  let levels = 0;
  let pluses = 0;
  let isOpen = false;
  for (let at = 0; at <= filter.length; ) {
    const end = endOfLevel(filter, at);
    if (end === at + 1 && filter.charCodeAt(at) === hashSign) isOpen = true;
    else {
      if (levels === shapeLevelsMax) return undefined;
      if (end === at + 1 && filter.charCodeAt(at) === plusSign) pluses |= 1 << levels;
      levels++;
    }
    at = end + 1;
  }
  return { levels, pluses, isOpen };
}

const hashSign = "#".charCodeAt(0);
const plusSign = "+".charCodeAt(0);
const slashSign = "/".charCodeAt(0);

/** Whether the filter has wildcards. */
function hasPlace(filter: string): boolean {
  return filter.includes("+") || filter.includes("#");
}

/** The filter without `$share/group/`. */
function plainOf(filter: string): string {
  return isShared(filter) ? filter.slice(filter.indexOf("/", "$share/".length) + 1) : filter;
}

/** Writes the hash of each level into `levelHashes`, and returns their number. FNV-1a, starting with the seed. */
function hashLevels(text: string, seed: number): number {
  let levels = 0;
  let hash = seed;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit !== slashSign) {
      hash = Math.imul(hash ^ unit, 0x01000193);
      continue;
    }
    if (levels === levelHashes.length - 1) {
      const more = new Int32Array(2 * levelHashes.length);
      more.set(levelHashes);
      levelHashes = more;
    }
    levelHashes[levels++] = hash;
    hash = seed;
  }
  levelHashes[levels++] = hash;
  return levels;
}

/** The hash of the first `levels` levels, with wildcards at the positions in `pluses`. */
function folded(levels: number, pluses: number): number {
  let hash = levels;
  for (let level = 0; level < levels; level++) {
    const isAny = level < shapeLevelsMax && ((pluses >>> level) & 1) === 1;
    hash = Math.imul(hash, 0x9e3779b1) ^ (isAny ? 0x2b : (levelHashes[level] ?? 0));
  }
  return mixed(hash);
}

/** The hash of a filter with this shape that matches the name in `levelHashes`. */
function hashOfShape({ levels, pluses, isOpen }: Shape): number {
  const hash = folded(levels, pluses);
  return isOpen ? ~hash : hash;
}

function isSameShape(a: Shape | undefined, b: Shape | undefined): boolean {
  return a?.levels === b?.levels && a?.pluses === b?.pluses && a?.isOpen === b?.isOpen;
}
