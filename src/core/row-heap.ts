/**
 * Rows, ordered by a number (the key) that each has, as a binary heap. Several heaps share the tables of keys and
 * positions, because a row is in one heap at most. This takes 4 octets for each row of a heap, and 12 for each row of
 * the tables.
 */
import { assert, type Found } from "./assert.ts";
import { Numbers } from "./numbers.ts";

/** For each row: its key, and its position in the heap that it is in, counted from 1; 0: the row is in no heap. */
export class RowOrder {
  readonly keys = new Numbers(Float64Array);
  readonly places = new Numbers(Int32Array);
}

export class RowHeap {
  readonly #order: RowOrder;
  readonly #rows = new Numbers(Int32Array);
  #size = 0;

  constructor(order: RowOrder) {
    this.#order = order;
  }

  get size(): number {
    return this.#size;
  }

  /** The row with the lowest key; undefined: the heap is empty. */
  get first(): number | undefined {
    return this.#size > 0 ? this.#rows.get(0) : undefined;
  }

  /** The lowest key; Infinity: the heap is empty. */
  get lowest(): number {
    return this.#size > 0 ? this.#keyAt(0) : Number.POSITIVE_INFINITY;
  }

  /** The row must be in no heap. */
  add(row: number, key: number): void {
    assert(this.#order.places.get(row) === 0, "a row is in one heap");
    this.#order.keys.set(row, key);
    this.#rise(this.#size++, row, key);
  }

  /** The row must be in this heap. */
  remove(row: number): void {
    const place = this.#order.places.get(row) - 1;
    assert(place >= 0 && place < this.#size && this.#rows.get(place) === row, "a row that is removed is there");
    this.#order.places.set(row, 0);
    const last = this.#rows.get(--this.#size);
    if (last === row) return;
    const key = this.#order.keys.get(last);
    if (place > 0 && key < this.#keyAt((place - 1) >> 1)) this.#rise(place, last, key);
    else this.#sink(place, last, key);
  }

  /** Checks that each row is where the tables say, and that the order is correct. For tests. */
  check(found: Found): void {
    for (let place = 0; place < this.#size; place++) {
      const row = this.#rows.get(place);
      if (this.#order.places.get(row) !== place + 1)
        found(`row ${row} stands at ${place} of its heap, and says otherwise`);
      if (place > 0 && this.#keyAt(place) < this.#keyAt((place - 1) >> 1)) found(`row ${row} is out of order`);
    }
  }

  /** All rows, in no particular order. The heap must not be changed meanwhile. */
  *rows(): IterableIterator<number> {
    for (let place = 0; place < this.#size; place++) yield this.#rows.get(place);
  }

  #keyAt(place: number): number {
    return this.#order.keys.get(this.#rows.get(place));
  }

  #put(place: number, row: number): void {
    this.#rows.set(place, row);
    this.#order.places.set(row, place + 1);
  }

  #rise(from: number, row: number, key: number): void {
    let place = from;
    while (place > 0) {
      const parent = (place - 1) >> 1;
      if (this.#keyAt(parent) <= key) break;
      this.#put(place, this.#rows.get(parent));
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
      this.#put(place, this.#rows.get(child));
      place = child;
    }
    this.#put(place, row);
  }
}
