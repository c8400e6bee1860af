/**
 * Numbers (rows) that are found by a hash. The owner has tables with the data of a row, by its number. Several rows may
 * have the same hash, so the owner compares the data.
 *
 * A row takes 12 octets, and 4 to 8 more for the table of buckets, without an object for the garbage collector. Each
 * new row adds one bucket, which is made by dividing an existing one (linear hashing). Therefore adding a row never
 * moves all others.
 */
import { assert, type Found } from "./assert.ts";

const least = 16;

/** Stands for: there is no row. */
export const noRow = -1;

export class HashRows {
  /** For each bucket: its first row, counted from 1; 0 = empty. */
  #heads = new Int32Array(least);
  /** For each row: the next row in its bucket or in the list of free rows, counted from 1. */
  #next = new Int32Array(least);
  #hashes = new Int32Array(least);
  /** The number of buckets in use. */
  #buckets = 1;
  /** The number of rows in use. `#end`: rows that were ever in use. */
  #size = 0;
  #end = 0;
  #free = 0;

  get size(): number {
    return this.#size;
  }

  /** All rows are below this number. */
  get end(): number {
    return this.#end;
  }

  /** Adds a row with this hash, and returns its number. Numbers of removed rows are used again. */
  add(hash: number): number {
    let row = this.#free - 1;
    if (row >= 0) this.#free = this.#next[row] ?? 0;
    else {
      row = this.#end++;
      if (row === this.#next.length) this.#next = grown(this.#next);
      if (row === this.#hashes.length) this.#hashes = grown(this.#hashes);
    }
    this.#hashes[row] = hash;
    this.#size++;
    this.#link(row, this.#bucketOf(hash));
    if (this.#size > this.#buckets) this.#divide();
    return row;
  }

  /** Removes a row, which must exist. */
  remove(row: number): void {
    const bucket = this.#bucketOf(this.#hashes[row] ?? 0);
    const after = this.#next[row] ?? 0;
    let at = this.#heads[bucket] ?? 0;
    if (at === row + 1) this.#heads[bucket] = after;
    else {
      while (at !== 0 && this.#next[at - 1] !== row + 1) at = this.#next[at - 1] ?? 0;
      assert(at !== 0, "a row that is removed is there");
      this.#next[at - 1] = after;
    }
    this.#next[row] = this.#free;
    this.#free = row + 1;
    this.#size--;
  }

  /** The first row with this hash, or `noRow`. */
  first(hash: number): number {
    return this.#from(this.#heads[this.#bucketOf(hash)] ?? 0, hash | 0);
  }

  /** The next row with the same hash, or `noRow`. */
  after(row: number): number {
    return this.#from(this.#next[row] ?? 0, this.#hashes[row] ?? 0);
  }

  /** All rows. They must not be changed during the iteration. */
  *rows(): IterableIterator<number> {
    for (let bucket = 0; bucket < this.#buckets; bucket++)
      for (let at = this.#heads[bucket] ?? 0; at !== 0; at = this.#next[at - 1] ?? 0) yield at - 1;
  }

  /** Checks that each row is in the bucket of its hash, and that all rows are counted. For tests. */
  check(found: Found): void {
    let rows = 0;
    for (let bucket = 0; bucket < this.#buckets; bucket++)
      for (let at = this.#heads[bucket] ?? 0; at !== 0 && rows <= this.#size; at = this.#next[at - 1] ?? 0) {
        rows++;
        if (this.#bucketOf(this.#hashes[at - 1] ?? 0) !== bucket)
          found(`row ${at - 1} is in the bucket of another hash`);
      }
    if (rows !== this.#size) found(`${rows} rows are in buckets, ${this.#size} are counted`);
    let free = 0;
    for (let at = this.#free; at !== 0 && free <= this.#end; at = this.#next[at - 1] ?? 0) free++;
    if (free + this.#size !== this.#end) found(`of ${this.#end} rows ${this.#size} are in use and ${free} are free`);
  }

  #from(start: number, hash: number): number {
    let at = start;
    while (at !== 0 && this.#hashes[at - 1] !== hash) at = this.#next[at - 1] ?? 0;
    return at - 1;
  }

  #link(row: number, bucket: number): void {
    this.#next[row] = this.#heads[bucket] ?? 0;
    this.#heads[bucket] = row + 1;
  }

  #bucketOf(hash: number): number {
    // The largest power of two that is not above the number of buckets. Buckets from this number on were made by
    // dividing others.
    const half = 1 << (31 - Math.clz32(this.#buckets));
    const bucket = hash & (2 * half - 1);
    return bucket < this.#buckets ? bucket : bucket & (half - 1);
  }

  /** Adds one bucket, and moves about half of the rows of another one to it. */
  #divide(): void {
    const added = this.#buckets;
    if (added === this.#heads.length) this.#heads = grown(this.#heads);
    const divided = added - (1 << (31 - Math.clz32(added)));
    let at = this.#heads[divided] ?? 0;
    this.#heads[divided] = 0;
    this.#heads[added] = 0;
    this.#buckets++;
    while (at !== 0) {
      const next = this.#next[at - 1] ?? 0;
      this.#link(at - 1, this.#bucketOf(this.#hashes[at - 1] ?? 0));
      at = next;
    }
  }
}

/** A copy of the numbers, with room for half as many again. */
export function grown<Numbers extends Int32Array | Uint8Array | Float64Array>(numbers: Numbers): Numbers {
  const room = numbers.length + (numbers.length >> 1);
  const more = new (numbers.constructor as new (length: number) => Numbers)(room);
  more.set(numbers);
  return more;
}

/** Makes each bit of a hash depend on all of them (the last step of MurmurHash3). */
export function mixed(hash: number): number {
  let mix = hash;
  mix = Math.imul(mix ^ (mix >>> 16), 0x85ebca6b);
  mix = Math.imul(mix ^ (mix >>> 13), 0xc2b2ae35);
  return mix ^ (mix >>> 16);
}
