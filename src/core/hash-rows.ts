/**
 * Numbers (rows) that are found by a hash. What a row stands for is in tables of the owner, by its number. Several rows
 * may have the same hash: the owner compares what they stand for.
 *
 * A row takes 12 octets, and 4 to 8 more for the table of buckets, without an object for the garbage collector. There is
 * one bucket more with each row, made by dividing one that is there (linear hashing). Therefore no row is ever added that
 * has to move all others.
 */
import { assert, type Found } from "./assert.ts";

const least = 16;

/** No row. */
export const noRow = -1;

export class HashRows {
  /** By bucket: its first row, counted from 1; 0 = empty. */
  #heads = new Int32Array(least);
  /** By row: the next one of its bucket, or of those that are free, counted from 1. */
  #next = new Int32Array(least);
  #hashes = new Int32Array(least);
  /** Buckets in use: a power of two, and those that were divided since. */
  #buckets = 1;
  /** Rows in use, and rows that were ever in use. */
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

  /** A new row with this hash. Numbers of removed rows are used again. */
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

  /** The row must be there. */
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

  /** All rows; to be looked at, not changed meanwhile. */
  *rows(): IterableIterator<number> {
    for (let bucket = 0; bucket < this.#buckets; bucket++)
      for (let at = this.#heads[bucket] ?? 0; at !== 0; at = this.#next[at - 1] ?? 0) yield at - 1;
  }

  /** Is each row in the bucket of its hash, and counted? For tests. */
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
    // The power of two at or below the number of buckets: those from there on were divided off.
    const half = 1 << (31 - Math.clz32(this.#buckets));
    const bucket = hash & (2 * half - 1);
    return bucket < this.#buckets ? bucket : bucket & (half - 1);
  }

  /** One bucket more: half of the rows of another one. */
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

/** The same numbers, with room for half as many again. */
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
