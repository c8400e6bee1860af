/**
 * The publications of one client that were acknowledged while the broker was away. They are on disk, ordered by number.
 * Only their count and size are in memory, and the next few publications, which were read ahead.
 */
import type { Tally } from "../counters.ts";
import { backlogBytes, backlogShare } from "../record.ts";
import type { Publication } from "../types.ts";

export interface BacklogEntry {
  readonly id: number;
  readonly publication: Publication;
  /** Wall clock at which it was accepted; 0 = unknown. */
  readonly at: number;
}

export class Backlog {
  #count = 0;
  #bytes = 0;
  /** The sum of all backlogs. */
  readonly #total: Tally;
  /** The number of the next publication. */
  next = 1;
  /** Publications that were read from disk and are sent next. `shift` removes them. */
  readonly head: BacklogEntry[] = [];
  /**
   * Publications that were not accepted after all, because their commit failed, and that were not read yet. The disk
   * may still have them.
   */
  readonly withdrawn = new Set<number>();
  /** All publications up to this number were read. */
  readUpTo = 0;
  /** A read of publications up to this number is in progress; undefined = none. */
  readingUpTo: number | undefined = undefined;

  /** `total`: the sum of all backlogs. Each backlog adds its own publications to it. */
  constructor(total: Tally) {
    this.#total = total;
  }

  /** The number of publications, including those in `head`. */
  get count(): number {
    return this.#count;
  }

  /** The size of all publications, see `backlogBytes`. */
  get bytes(): number {
    return this.#bytes;
  }

  get unread(): number {
    return this.#count - this.head.length;
  }

  /** Adds a publication at the end, on disk. Returns its number. */
  add(publication: Publication): number {
    this.#add(1, backlogBytes(publication));
    return this.next++;
  }

  /** Removes a publication that was not accepted after all. It may still be on disk for a moment. */
  withdraw(id: number, publication: Publication): void {
    this.withdrawn.add(id);
    this.#add(-1, -backlogBytes(publication));
  }

  /** Gives up a publication, on disk or in `head`. False: it was sent meanwhile. */
  giveUp(id: number, publication: Publication): boolean {
    const at = this.head.findIndex((entry) => entry.id === id);
    if (at >= 0) this.head.splice(at, 1);
    else if (id <= this.readUpTo || this.withdrawn.has(id)) return false;
    else this.withdrawn.add(id);
    this.#add(-1, -backlogBytes(publication));
    return true;
  }

  /** Removes the first publication of `head`, because it is sent or dropped. */
  shift(): BacklogEntry | undefined {
    const entry = this.head.shift();
    if (entry) this.#add(-1, -backlogBytes(entry.publication));
    return entry;
  }

  /** Everything was read, and some records were damaged: only the publications in `head` are left. */
  recount(): void {
    const bytes = this.head.reduce((sum, { publication }) => sum + backlogBytes(publication), 0);
    this.#add(this.head.length - this.#count, bytes - this.#bytes);
  }

  /**
   * Restores what an earlier run of the gateway left on disk: so many publications, with so many octets, with the
   * numbers `first` to `last`.
   */
  restore(stored: {
    readonly count: number;
    readonly octets: number;
    readonly first: number;
    readonly last: number;
  }): void {
    const { count, octets, first, last } = stored;
    this.#add(count, octets + count * backlogShare);
    this.next = last + 1;
    this.readUpTo = first - 1;
  }

  #add(messages: number, bytes: number): void {
    this.#count += messages;
    this.#bytes += bytes;
    this.#total.messages += messages;
    this.#total.bytes += bytes;
  }
}
