/**
 * Finds rows by a text. Only hashes of the texts are here; the owner has the texts and the rows. A row takes 8 octets, counted up to the
 * highest row, and 4 to 8 for buckets.
 */
import type { Found } from "./assert.ts";
import { mixed, noRow, RowHashes } from "./hash-rows.ts";

export class RowIndex {
  readonly #hashes = new RowHashes();
  readonly #seed: number;
  /** Often the same text is looked for and then added. */
  #lastText = "";
  #lastHash: number;

  /** `seed`: if possible a secret number, so that nobody can prepare texts with the same hash. */
  constructor(seed: number) {
    this.#seed = seed;
    this.#lastHash = mixed(seed);
  }

  get size(): number {
    return this.#hashes.size;
  }

  /** The row for which `isIt` says that it has this text; `noRow`: there is none. */
  find(text: string, isIt: (row: number) => boolean): number {
    for (let row = this.#hashes.first(this.#hashOf(text)); row !== noRow; row = this.#hashes.after(row))
      if (isIt(row)) return row;
    return noRow;
  }

  /** The row must not be here yet. */
  add(text: string, row: number): void {
    this.#hashes.put(row, this.#hashOf(text));
  }

  /** The row must be in the index. */
  remove(row: number): void {
    this.#hashes.remove(row);
  }

  check(found: Found): void {
    this.#hashes.check(found);
  }

  /** FNV-1a, starting with the seed. */
  #hashOf(text: string): number {
    if (text === this.#lastText) return this.#lastHash;
    let hash = this.#seed;
    for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
    this.#lastText = text;
    this.#lastHash = mixed(hash);
    return this.#lastHash;
  }
}
