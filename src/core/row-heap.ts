/**
 * Rows, ordered by a number (the key) that each has, as a binary heap. Several heaps share the tables of keys and
 * positions, because a row is in one heap at most. This takes 4 octets for each row of a heap, and 12 for each row of
 * the tables.
 */
import { assert, type Found } from "./assert.ts";
import { grown } from "./hash-rows.ts";

const least = 16;
const nowhere = -1;

/** For each row: its key, and its position in the heap that it is in. */
export class RowOrder {
  keys = new Float64Array(least);
  places = new Int32Array(least).fill(nowhere);

  /** Makes room for this row in the tables. */
  reach(row: number): void {
    while (row >= this.keys.length) this.keys = grown(this.keys);
    const before = this.places.length;
    while (row >= this.places.length) this.places = grown(this.places);
    if (this.places.length > before) this.places.fill(nowhere, before);
  }
}

export class RowHeap {
  readonly #order: RowOrder;
  #rows = new Int32Array(least);
  #size = 0;

  constructor(order: RowOrder) {
    this.#order = order;
  }

  get size(): number {
    return this.#size;
  }

  /** The row with the lowest key; undefined: the heap is empty. */
  get first(): number | undefined {
    return this.#size > 0 ? this.#rows[0] : undefined;
  }

  /** The lowest key; Infinity: the heap is empty. */
  get lowest(): number {
    return this.#size > 0 ? this.#keyAt(0) : Number.POSITIVE_INFINITY;
  }

  /** The row must be in no heap. */
  add(row: number, key: number): void {
    this.#order.reach(row);
    assert(this.#order.places[row] === nowhere, "a row is in one heap");
    this.#order.keys[row] = key;
    if (this.#size === this.#rows.length) this.#rows = grown(this.#rows);
    this.#rise(this.#size++, row, key);
  }

  /** The row must be in this heap. */
  remove(row: number): void {
    const place = this.#order.places[row] ?? nowhere;
    assert(place < this.#size && this.#rows[place] === row, "a row that is removed is there");
    this.#order.places[row] = nowhere;
    const last = this.#rows[--this.#size] ?? 0;
    if (last === row) return;
    const key = this.#order.keys[last] ?? 0;
    if (place > 0 && key < this.#keyAt((place - 1) >> 1)) this.#rise(place, last, key);
    else this.#sink(place, last, key);
  }

  /** Checks that each row is where the tables say, and that the order is correct. For tests. */
  check(found: Found): void {
    for (let place = 0; place < this.#size; place++) {
      const row = this.#rows[place] ?? nowhere;
      if (this.#order.places[row] !== place) found(`row ${row} stands at ${place} of its heap, and says otherwise`);
      if (place > 0 && this.#keyAt(place) < this.#keyAt((place - 1) >> 1)) found(`row ${row} is out of order`);
    }
  }

  /** All rows, in no particular order. The heap must not be changed meanwhile. */
  *rows(): IterableIterator<number> {
    for (let place = 0; place < this.#size; place++) yield this.#rows[place] ?? nowhere;
  }

  #keyAt(place: number): number {
    return this.#order.keys[this.#rows[place] ?? 0] ?? 0;
  }

  #put(place: number, row: number): void {
    this.#rows[place] = row;
    this.#order.places[row] = place;
  }

  #rise(from: number, row: number, key: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (this.#keyAt(parent) <= key) break;
      this.#put(place, this.#rows[parent] ?? 0);
      place = parent;
    }
    this.#put(place, row);
  }

  #sink(from: number, row: number, key: number): void {
    let place = from;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= this.#size) break;
      if (child + 1 < this.#size && this.#keyAt(child + 1) < this.#keyAt(child)) child++;
      if (this.#keyAt(child) >= key) break;
      this.#put(place, this.#rows[child] ?? 0);
      place = child;
    }
    this.#put(place, row);
  }
}
