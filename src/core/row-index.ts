/**
 * Finds rows by a text. Only hashes of the texts are here; the owner has the texts. A row takes 16 octets, and 4 to 8
 * for buckets.
 */
import { assert, type Found } from "./assert.ts";
import { grown, HashRows, mixed, noRow } from "./hash-rows.ts";

export class RowIndex {
  readonly #hashes = new HashRows();
  /** For each row in the table of hashes: the row of the owner. */
  #owners = new Int32Array(16);
  readonly #seed: number;

  /** `seed`: if possible a secret number, so that nobody can prepare texts with the same hash. */
  constructor(seed: number) {
    this.#seed = seed;
  }

  get size(): number {
    return this.#hashes.size;
  }

  /** The row for which `isIt` says that it has this text; `noRow`: there is none. */
  find(text: string, isIt: (row: number) => boolean): number {
    for (let at = this.#hashes.first(this.#hashOf(text)); at !== noRow; at = this.#hashes.after(at)) {
      const row = this.#owners[at] ?? noRow;
      if (isIt(row)) return row;
    }
    return noRow;
  }

  add(text: string, row: number): void {
    const at = this.#hashes.add(this.#hashOf(text));
    while (at >= this.#owners.length) this.#owners = grown(this.#owners);
    this.#owners[at] = row;
  }

  /** The row must be in the index with this text. */
  remove(text: string, row: number): void {
    let at = this.#hashes.first(this.#hashOf(text));
    while (at !== noRow && this.#owners[at] !== row) at = this.#hashes.after(at);
    assert(at !== noRow, "a row that is removed is there");
    this.#hashes.remove(at);
  }

  check(found: Found): void {
    this.#hashes.check(found);
  }

  /** FNV-1a, starting with the seed. */
  #hashOf(text: string): number {
    let hash = this.#seed;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    return mixed(hash);
  }
}
