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
 *
 * In place of an object the index keeps a number, while the caller wants it (the filter *rests*). The caller knows the texts for which a
 * number may stand, and makes the object again when somebody asks for the filter.
 */

import type { Found } from "../assert.ts";
import { HashRows, noRow } from "../hash-rows.ts";
import {
  folded,
  hashLevels,
  hashOfShape,
  hasPlace,
  isSameShape,
  plainOf,
  type Shape,
  shapeOf,
} from "./filter-shape.ts";
import { FilterTree, fits, isShared } from "./filter-tree.ts";

export interface Filtered {
  /** The filter as the client named it. */
  readonly filter: string;
}

/** What the index asks of its owner about filters that rest. */
export interface Rests<T extends Filtered> {
  /** May this number stand for this filter? */
  has(number: number, filter: string): boolean;
  /** All filters for which the number may stand. */
  filtersOf(number: number): Iterable<string>;
  /** The entry as it was when it was laid to rest. */
  make(filter: string, number: number): T;
  /** Somebody has asked for this one, so it is an object now. */
  woken(entry: T): void;
}

/** Limit of shapes that are looked up one by one. */
const usualShapesMax = 64;

/** Filters of one kind, found by their hashes. A group with few filters has a small table, and costs little time. */
class Group<T extends Filtered> {
  /** Undefined: the filters have no wildcards, or are in the tree. */
  readonly shape: Shape | undefined;
  readonly rows = new HashRows();
  /** By row; a number: it rests. */
  readonly entries: (T | number | undefined)[] = [];

  constructor(shape?: Shape) {
    this.shape = shape;
  }
}

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
  /** Undefined: none has ever rested. */
  #rests: Rests<T> | undefined = undefined;
  #resting = 0;

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

  /** All entries, in no particular order, none of which rests then. None may be added or removed during the iteration. */
  *all(): IterableIterator<T> {
    for (const [group, row, filter] of this.#texts()) {
      const entry = this.#entryAt(group, row, filter);
      if (entry) yield entry;
    }
  }

  /** The same, to be looked at only: those that rest go on resting. */
  *each(): IterableIterator<T> {
    for (const [group, row, filter] of this.#texts()) {
      const entry = group.entries[row];
      const looked = typeof entry === "number" ? this.#rests?.make(filter, entry) : entry;
      if (looked) yield looked;
    }
  }

  /** The texts of all filters. */
  *filters(): IterableIterator<string> {
    for (const [, , filter] of this.#texts()) yield filter;
  }

  /**
   * The texts of all filters, also if some are added or removed between two steps: one that stays is given once, and one that is added
   * meanwhile may be given or not.
   */
  *stepByStep(): IterableIterator<string> {
    for (const group of this.#groups())
      for (let row = 0; row < group.entries.length; row++) {
        const filter = group.entries[row] === undefined ? undefined : this.#textAt(group, row);
        if (filter !== undefined) yield filter;
      }
  }

  /** It does not rest then. */
  get(filter: string): T | undefined {
    const [group, row] = this.#placeOf(filter);
    return this.#entryAt(group, row, filter);
  }

  has(filter: string): boolean {
    const [, row] = this.#placeOf(filter);
    return row !== noRow;
  }

  /** To be looked at only: if it rests, it goes on resting. */
  look(filter: string): T | undefined {
    const [group, row] = this.#placeOf(filter);
    const entry = group.entries[row];
    return typeof entry === "number" ? this.#rests?.make(filter, entry) : entry;
  }

  /** The number of filters that rest. */
  get resting(): number {
    return this.#resting;
  }

  /**
   * The entry is not kept from now on, but this number; nobody may use the object any more. `rests` must be the same each time. Those in the
   * tree do not rest, and of filters with the same hash one for which two numbers might stand.
   */
  rest(entry: T, number: number, rests: Rests<T>): void {
    this.#rests = rests;
    const [group, row] = this.#placeOf(entry.filter);
    if (group === this.#odd || group.entries[row] !== entry) return;
    for (let other = group.rows.first(group.rows.hashOf(row)); other !== noRow; other = group.rows.after(other)) {
      const its = group.entries[other];
      if (typeof its === "number" && rests.has(its, entry.filter)) return;
    }
    group.entries[row] = number;
    this.#resting++;
  }

  /** If this filter rests as this number, it is an object from now on: the number stands for nothing any more. */
  wake(filter: string, number: number): void {
    if (!this.#rests) return;
    const shape = shapeOf(filter);
    const group = this.#groupOf(filter, shape);
    if (!group) return;
    const hash = this.#hashOf(filter, shape);
    for (let row = group.rows.first(hash); row !== noRow; row = group.rows.after(row)) {
      if (group.entries[row] !== number) continue;
      group.entries[row] = this.#rests.make(filter, number);
      this.#resting--;
      return;
    }
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
      const row = group ? this.#rowIn(group, filter, hash) : noRow;
      if (!group || group.entries[row] !== entry) continue;
      group.rows.remove(row);
      group.entries[row] = undefined;
      if (group === this.#odd) this.#tree.remove(filter);
      this.#all?.remove(filter);
      return;
    }
  }

  /** Calls `found` for each filter that matches the name, once; it does not rest then. `found` must not look up anything here. */
  match(topicName: string, found: (entry: T) => void): void {
    this.#match(topicName, found, true);
  }

  /** `wakes`: what is found does not rest any more. Otherwise it is to be looked at only. */
  #match(topicName: string, found: (entry: T) => void, wakes: boolean): void {
    const levels = hashLevels(topicName, this.#seed);
    const isInternal = topicName.startsWith("$"); // not for wildcards at the first level [MQTT-4.7.2-1]
    if (this.#exact.rows.size > 0) this.#find(this.#exact, folded(levels, 0), topicName, found, wakes);
    for (const group of this.#shapes) {
      const { shape, rows } = group;
      // The filter "a/#" matches "a" too.
      if (!shape || rows.size === 0 || (shape.isOpen ? levels < shape.levels : levels !== shape.levels)) continue;
      if (isInternal && ((shape.pluses & 1) === 1 || shape.levels === 0)) continue;
      this.#find(group, hashOfShape(shape), topicName, found, wakes);
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
      const see = (entry: T): void => {
        isOther ||= entry.filter !== filter;
      };
      this.#match(plain, see, false);
      return isOther;
    }
    if (!this.#all) {
      this.#all = new FilterTree();
      for (const each of this.filters()) this.#all.add(each);
    }
    return this.#all.overlaps(filter);
  }

  /** Tells that the caller will not ask any more which filters overlap. */
  forgetOverlaps(): void {
    this.#all = undefined;
  }

  /** Checks that tables, shapes and trees agree. For tests. */
  check(found: Found): void {
    let resting = 0;
    for (const group of this.#groups()) {
      const { rows, entries, shape } = group;
      rows.check(found);
      for (const row of rows.rows()) {
        const entry = entries[row];
        const filter = this.#textAt(group, row);
        if (typeof entry === "number") resting++;
        if (typeof entry === "number" && filter === undefined)
          found(`row ${row} rests as ${entry}, and nobody has a filter for it`);
        else if (filter === undefined || !this.#isAt(group, row, filter))
          found(`${filter ?? row} is not found by its text`);
        else if (group !== this.#odd && !isSameShape(shape, shapeOf(filter))) found(`${filter} has another shape`);
      }
    }
    if (resting !== this.#resting) found(`${resting} filters rest, ${this.#resting} are counted`);
    const odd = this.#odd.rows.size;
    if (odd !== this.#tree.size) found(`${odd} filters are to be in the tree, ${this.#tree.size} are`);
    if (this.#all && this.#all.size !== this.size)
      found(`${this.#all.size} of ${this.size} filters are in the tree of all`);
    for (const tree of [this.#tree, this.#all])
      tree?.check((filter) => {
        if (!this.has(filter)) found(`${filter} is in the tree alone`);
      }, found);
  }

  /** Where the filter is; `noRow`: it is not here. */
  #placeOf(filter: string): readonly [group: Group<T>, row: number] {
    const shape = shapeOf(filter);
    const hash = this.#hashOf(filter, shape);
    const group = this.#groupOf(filter, shape);
    const row = group ? this.#rowIn(group, filter, hash) : noRow;
    if (group && (row !== noRow || group === this.#odd)) return [group, row];
    // The filter may have been added when there were too many shapes.
    return [this.#odd, shape ? this.#rowIn(this.#odd, filter, hash) : noRow];
  }

  #rowIn({ rows, entries }: Group<T>, filter: string, hash: number): number {
    for (let row = rows.first(hash); row !== noRow; row = rows.after(row)) {
      const entry = entries[row];
      if (typeof entry === "number" ? this.#rests?.has(entry, filter) : entry?.filter === filter) return row;
    }
    return noRow;
  }

  /** The entry in this row, whose filter this is. It does not rest any more. */
  #entryAt({ entries }: Group<T>, row: number, filter: string): T | undefined {
    const entry = entries[row];
    if (typeof entry !== "number" || !this.#rests) return typeof entry === "number" ? undefined : entry;
    const made = this.#rests.make(filter, entry);
    entries[row] = made;
    this.#resting--;
    this.#rests.woken(made);
    return made;
  }

  #find(group: Group<T>, hash: number, topicName: string, found: (entry: T) => void, wakes: boolean): void {
    const { rows, entries, shape } = group;
    for (let row = rows.first(hash); row !== noRow; row = rows.after(row)) {
      const entry = entries[row];
      if (typeof entry === "number") {
        const filter = this.#restingFor(entry, shape, topicName);
        const made = filter === undefined ? undefined : this.#made(group, row, filter, wakes);
        if (made) found(made);
      } else if (entry && (shape ? fits(entry.filter, topicName) : entry.filter === topicName)) found(entry);
    }
  }

  #made(group: Group<T>, row: number, filter: string, wakes: boolean): T | undefined {
    const entry = group.entries[row];
    return !wakes && typeof entry === "number" ? this.#rests?.make(filter, entry) : this.#entryAt(group, row, filter);
  }

  /** Of the filters for which the number may stand the one that matches the name. (There is one for each shape at most.) No hash is made. */
  #restingFor(number: number, shape: Shape | undefined, topicName: string): string | undefined {
    if (!shape) return this.#rests?.has(number, topicName) ? topicName : undefined;
    for (const filter of this.#rests?.filtersOf(number) ?? [])
      if (isSameShape(shape, shapeOf(filter)) && fits(filter, topicName)) return filter;
    return undefined;
  }

  /** All rows in use, each with its filter. */
  *#texts(): IterableIterator<readonly [group: Group<T>, row: number, filter: string]> {
    for (const group of this.#groups())
      for (const row of group.rows.rows()) {
        const filter = this.#textAt(group, row);
        if (filter !== undefined) yield [group, row, filter];
      }
  }

  #textAt({ entries, rows, shape }: Group<T>, row: number): string | undefined {
    const entry = entries[row];
    if (typeof entry !== "number") return entry?.filter;
    for (const filter of this.#rests?.filtersOf(entry) ?? []) {
      const own = shapeOf(filter);
      const isAlike = shape ? isSameShape(shape, own) : own === undefined;
      if (isAlike && this.#hashOf(filter, own) === rows.hashOf(row)) return filter;
    }
    return undefined;
  }

  #isAt(group: Group<T>, row: number, filter: string): boolean {
    const [its, at] = this.#placeOf(filter);
    return its === group && at === row;
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
