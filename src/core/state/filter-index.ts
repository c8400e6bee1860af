/**
 * The topic filters of one connection, found by a topic name. [MQTT-3.1.1 4.7]
 *
 * Most filters belong to one client, and there may be a million of them: `d/17/set`, `d/17/+`, `cmd/17/#`. A filter
 * without wildcards is found by the hash of the name. Filters with wildcards have few *shapes*, which say where the
 * wildcards are: `d/17/+` has three levels, and the last one is a wildcard. For each shape in use the name is looked up
 * once, with wildcards in the places of the shape. The hash of a filter is made of the hashes of its levels, so that no
 * text is made for that. What is found is compared as a whole.
 *
 * A shape costs time with each message. Beyond `shapesMax`, and for shared subscriptions, filters are in a tree too
 * (filter-tree.ts). A filter takes a row of numbers, and an object of its own that others make. The tree of all filters that tells which
 * ones overlap is made when it is first asked about a filter with wildcards: most connections never are.
 */

import type { Found } from "../assert.ts";
import { grown, HashRows, mixed, noRow } from "../hash-rows.ts";
import { endOfLevel, FilterTree, fits, isShared } from "./filter-tree.ts";

export interface Filtered {
  /** As the client named it. */
  readonly filter: string;
}

/** Shapes that are looked up one by one. */
const usualShapesMax = 64;

/** Levels of a shape: each has a bit. */
const shapeLevelsMax = 30;

interface Shape {
  /** Before `#`. */
  readonly levels: number;
  /** A bit for each level that is `+`. */
  readonly pluses: number;
  readonly isOpen: boolean;
}

/** Filters of one kind, by their hashes. A kind with few filters has a small table, and costs little time. */
class Group<T extends Filtered> {
  /** Undefined: they have no wildcards, or are in the tree. */
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

/** Of the name or filter that is looked for: the hash of each level. Used by one look-up at a time. */
let levelHashes = new Int32Array(128);

export class FilterIndex<T extends Filtered> {
  /** Without wildcards. */
  readonly #exact = new Group<T>();
  /** By shape. One that is empty is replaced by the next new one. */
  readonly #shapes: Group<T>[] = [];
  /** Those that are found by the tree. */
  readonly #odd = new Group<T>();
  readonly #tree = new FilterTree();
  /** All of them, while it is asked which overlap. */
  #all: FilterTree | undefined = undefined;
  readonly #seed: number;
  readonly #shapesMax: number;

  /** `seed`: any number, best one that nobody knows: filters with the same hash cannot be prepared then. */
  constructor(seed: number, shapesMax = usualShapesMax) {
    this.#seed = seed;
    this.#shapesMax = shapesMax;
  }

  get size(): number {
    let size = this.#exact.rows.size + this.#odd.rows.size;
    for (const { rows } of this.#shapes) size += rows.size;
    return size;
  }

  /** In no particular order; to be looked at, not changed meanwhile. */
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
    // It came when there were too many shapes.
    return shape && this.#odd.entries[this.#odd.rowOf(filter, hash)];
  }

  /** The filter must not be there yet. */
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
   * Is there another filter that some name matches together with this one? Costs as a name does; with wildcards it costs by
   * what is there, and a tree of all filters is kept from then on, until `forgetOverlaps`.
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

  /** It will not be asked which filters overlap. */
  forgetOverlaps(): void {
    this.#all = undefined;
  }

  /** Do tables, shapes and trees agree? For tests. */
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

  /** Where filters of this kind are; undefined: there are none of this shape. */
  #groupOf(filter: string, shape: Shape | undefined): Group<T> | undefined {
    if (!shape) return isShared(filter) || hasPlace(filter) ? this.#odd : this.#exact;
    for (const group of this.#shapes) if (isSameShape(group.shape, shape)) return group;
    return undefined;
  }

  /** Undefined: there are too many shapes. */
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

/** Where the wildcards are; undefined: there are none, it is a shared subscription, or it has too many levels. */
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

/** Has it wildcards? */
function hasPlace(filter: string): boolean {
  return filter.includes("+") || filter.includes("#");
}

/** Without `$share/group/`. */
function plainOf(filter: string): string {
  return isShared(filter) ? filter.slice(filter.indexOf("/", "$share/".length) + 1) : filter;
}

/** Puts the hash of each level into `levelHashes`, and answers how many there are. FNV-1a, begun with the seed. */
function hashLevels(text: string, seed: number): number {
  let levels = 0;
  let hash = seed;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit !== slashSign) {
      hash = Math.imul(hash ^ unit, 0x01000193);
      continue;
    }
    if (levels === levelHashes.length - 1) levelHashes = grown(levelHashes);
    levelHashes[levels++] = hash;
    hash = seed;
  }
  levelHashes[levels++] = hash;
  return levels;
}

/** The hash of the first `levels` levels, with wildcards in the places of `pluses`. */
function folded(levels: number, pluses: number): number {
  let hash = levels;
  for (let level = 0; level < levels; level++) {
    const isAny = level < shapeLevelsMax && ((pluses >>> level) & 1) === 1;
    hash = Math.imul(hash, 0x9e3779b1) ^ (isAny ? 0x2b : (levelHashes[level] ?? 0));
  }
  return mixed(hash);
}

/** The hash that a filter of this shape has, if it matches the name in `levelHashes`. */
function hashOfShape({ levels, pluses, isOpen }: Shape): number {
  const hash = folded(levels, pluses);
  return isOpen ? ~hash : hash;
}

function isSameShape(a: Shape | undefined, b: Shape | undefined): boolean {
  return a?.levels === b?.levels && a?.pluses === b?.pluses && a?.isOpen === b?.isOpen;
}
