/**
 * Numbers (rows) that are found by a hash. The owner has tables with the data of a row, by its number. Several rows may
 * have the same hash, so the owner compares the data.
 *
 * A row takes 8 octets, and 4 to 8 more for the table of buckets, without an object for the garbage collector. Each
 * new row adds one bucket, which is made by dividing an existing one (linear hashing). Therefore adding a row never
 * moves all others.
 */
import { assert, type Found } from "./assert.ts";
import { Numbers } from "./numbers.ts";

/** Stands for: there is no row. */
export const noRow = -1;

/** Rows whose numbers are the owner's. */
export class RowHashes {
  /** For each bucket: its first row, counted from 1; 0 = empty. */
  readonly #heads = new Numbers(Int32Array);
  /** For each row: the next row in its bucket, counted from 1. */
  protected readonly next = new Numbers(Int32Array);
  readonly #hashes = new Numbers(Int32Array);
  /** The number of buckets in use. */
  #buckets = 1;
  #size = 0;

  /** The number of rows. */
  get size(): number {
    return this.#size;
  }

  /** Adds this row, which must not be here. */
  put(row: number, hash: number): void {
    this.#hashes.set(row, hash);
    this.#size++;
    this.#link(row, this.#bucketOf(hash));
    if (this.#size > this.#buckets) this.#divide();
  }

  /** Removes a row, which must exist. */
  remove(row: number): void {
    const bucket = this.#bucketOf(this.#hashes.get(row));
    const after = this.next.get(row);
    let at = this.#heads.get(bucket);
    if (at === row + 1) this.#heads.set(bucket, after);
    else {
      while (at !== 0 && this.next.get(at - 1) !== row + 1) at = this.next.get(at - 1);
      assert(at !== 0, "a row that is removed is there");
      this.next.set(at - 1, after);
    }
    this.#size--;
  }

  /** The first row with this hash, or `noRow`. */
  first(hash: number): number {
    return this.#from(this.#heads.get(this.#bucketOf(hash)), hash | 0);
  }

  /** The next row with the same hash, or `noRow`. */
  after(row: number): number {
    return this.#from(this.next.get(row), this.#hashes.get(row));
  }

  /** The hash of this row, which must be here. */
  hashOf(row: number): number {
    return this.#hashes.get(row);
  }

  /** All rows. They must not be changed during the iteration. */
  *rows(): IterableIterator<number> {
    for (let bucket = 0; bucket < this.#buckets; bucket++)
      for (let at = this.#heads.get(bucket); at !== 0; at = this.next.get(at - 1)) yield at - 1;
  }

  /** Checks that each row is in the bucket of its hash, and that all rows are counted. For tests. */
  check(found: Found): void {
    let rows = 0;
    for (let bucket = 0; bucket < this.#buckets; bucket++)
      for (let at = this.#heads.get(bucket); at !== 0 && rows <= this.#size; at = this.next.get(at - 1)) {
        rows++;
        if (this.#bucketOf(this.#hashes.get(at - 1)) !== bucket)
          found(`row ${at - 1} is in the bucket of another hash`);
      }
    if (rows !== this.#size) found(`${rows} rows are in buckets, ${this.#size} are counted`);
  }

  #from(start: number, hash: number): number {
    let at = start;
    while (at !== 0 && this.#hashes.get(at - 1) !== hash) at = this.next.get(at - 1);
    return at - 1;
  }

  #link(row: number, bucket: number): void {
    this.next.set(row, this.#heads.get(bucket));
    this.#heads.set(bucket, row + 1);
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
    const divided = added - (1 << (31 - Math.clz32(added)));
    let at = this.#heads.get(divided);
    this.#heads.set(divided, 0);
    this.#heads.set(added, 0);
    this.#buckets++;
    while (at !== 0) {
      const next = this.next.get(at - 1);
      this.#link(at - 1, this.#bucketOf(this.#hashes.get(at - 1)));
      at = next;
    }
  }
}

/** Rows that get their numbers here. Numbers of removed rows are used again. */
export class HashRows extends RowHashes {
  /** Rows that were ever in use. */
  #end = 0;
  /** The first of the free rows, counted from 1; `next` has those behind it. */
  #free = 0;

  /** All rows are below this number. */
  get end(): number {
    return this.#end;
  }

  /** Adds a row with this hash, and returns its number. */
  add(hash: number): number {
    const row = this.#free > 0 ? this.#free - 1 : this.#end++;
    if (this.#free > 0) this.#free = this.next.get(row);
    this.put(row, hash);
    return row;
  }

  override remove(row: number): void {
    super.remove(row);
    this.next.set(row, this.#free);
    this.#free = row + 1;
  }

  override check(found: Found): void {
    super.check(found);
    let free = 0;
    for (let at = this.#free; at !== 0 && free <= this.#end; at = this.next.get(at - 1)) free++;
    if (free + this.size !== this.#end) found(`of ${this.#end} rows ${this.size} are in use and ${free} are free`);
  }
}

/** Makes each bit of a hash depend on all of them (the last step of MurmurHash3). */
export function mixed(hash: number): number {
  let mix = hash;
  mix = Math.imul(mix ^ (mix >>> 16), 0x85ebca6b);
  mix = Math.imul(mix ^ (mix >>> 13), 0xc2b2ae35);
  return mix ^ (mix >>> 16);
}
