/**
 * Counts the sessions of each host: of clients whose present or last address belongs to the host.
 *
 * There may be as many hosts as sessions. So if there are more than a thousand, a host is represented by two hashes of
 * its name, of 32 bits each, and takes no object. Two hosts with the same two hashes would be counted as one. Nobody
 * can prepare such hosts, because the hashes start with secret numbers.
 */
import type { Found } from "../assert.ts";
import { HashRows, mixed, noRow } from "../hash-rows.ts";
import { Numbers } from "../numbers.ts";

const fewMax = 1_000;

export class HostCounts {
  /** Used while there are few hosts. Undefined: at some time there were too many. */
  #few: Map<string, number> | undefined = new Map();
  #many: HashedCounts | undefined = undefined;
  readonly #random: () => number;

  /** `random`: 0 <= x < 1, which nobody can predict. */
  constructor(random: () => number) {
    this.#random = random;
  }

  of(host: string): number {
    return this.#many?.of(host) ?? this.#few?.get(host) ?? 0;
  }

  add(host: string): void {
    if (this.#few && this.#few.size < fewMax) this.#few.set(host, this.of(host) + 1);
    else this.#hashed().change(host, 1);
  }

  remove(host: string): void {
    const left = this.of(host) - 1;
    if (this.#many) this.#many.change(host, -1);
    else if (left > 0) this.#few?.set(host, left);
    else this.#few?.delete(host);
  }

  /** `hosts`: the host of each session. For tests. */
  check(hosts: Iterable<string>, found: Found): void {
    this.#many?.check(found);
    const counted = new Map<string, number>();
    for (const host of hosts) counted.set(host, (counted.get(host) ?? 0) + 1);
    for (const [host, count] of counted)
      if (this.of(host) !== count) found(`${host} has ${count} sessions, and ${this.of(host)} are counted`);
    const size = this.#many?.size ?? this.#few?.size;
    if (counted.size !== size) found(`${counted.size} hosts have sessions, and ${size} are counted`);
  }

  #hashed(): HashedCounts {
    if (!this.#many) {
      const seed = () => Math.floor(this.#random() * 2 ** 31);
      this.#many = new HashedCounts([seed(), seed()]);
      for (const [host, count] of this.#few ?? []) this.#many.change(host, count);
      this.#few = undefined;
    }
    return this.#many;
  }
}

/** A row for each host: the hash by which it is found, another hash, and its count. */
class HashedCounts {
  readonly #rows = new HashRows();
  readonly #others = new Numbers(Int32Array);
  readonly #counts = new Numbers(Int32Array);
  readonly #seeds: readonly [number, number];

  constructor(seeds: readonly [number, number]) {
    this.#seeds = seeds;
  }

  get size(): number {
    return this.#rows.size;
  }

  of(host: string): number {
    const row = this.#rowOf(this.#hashOf(host), this.#otherOf(host));
    return row === noRow ? 0 : this.#counts.get(row);
  }

  change(host: string, by: number): void {
    const hash = this.#hashOf(host);
    const other = this.#otherOf(host);
    let row = this.#rowOf(hash, other);
    if (row === noRow) {
      row = this.#rows.add(hash);
      this.#others.set(row, other);
      this.#counts.set(row, 0);
    }
    const count = this.#counts.get(row) + by;
    this.#counts.set(row, count);
    if (count === 0) this.#rows.remove(row);
  }

  check(found: Found): void {
    this.#rows.check(found);
  }

  #hashOf(host: string): number {
    return hashOf(host, this.#seeds[0], 0x01000193);
  }

  #otherOf(host: string): number {
    return hashOf(host, this.#seeds[1], 0x5bd1e995);
  }

  #rowOf(hash: number, other: number): number {
    let row = this.#rows.first(hash);
    while (row !== noRow && this.#others.get(row) !== other) row = this.#rows.after(row);
    return row;
  }
}

/** As FNV-1a, starting with the seed. */
function hashOf(text: string, seed: number, factor: number): number {
  let hash = seed;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), factor);
  return mixed(hash);
}
