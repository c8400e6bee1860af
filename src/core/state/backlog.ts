/**
 * The publications of one client that were acknowledged while the broker was away. They are on disk, in the order of
 * their numbers. In memory there are only their number and size, and the next few, which were read ahead.
 */
import type { Tally } from "../counters.ts";
import { backlogBytes, backlogShare } from "../record.ts";
import type { Publication } from "../types.ts";

export interface BacklogEntry {
  readonly id: number;
  readonly publication: Publication;
  /** Wall clock when it was accepted; 0 = unknown. */
  readonly at: number;
}

export class Backlog {
  #count = 0;
  #bytes = 0;
  /** Of all backlogs together. */
  readonly #total: Tally;
  /** Number of the next one. */
  next = 1;
  /** Read from disk, next to be sent. Taken off by `shift`. */
  readonly head: BacklogEntry[] = [];
  /** Not accepted after all, since their commit failed, and not read yet: the disk may still have them. */
  readonly withdrawn = new Set<number>();
  /** All up to this number were read. */
  readUpTo = 0;
  /** A read is in progress, of publications up to this number; undefined = none. */
  readingUpTo: number | undefined = undefined;

  /** `total`: what waits in all backlogs together; each counts its own in there. */
  constructor(total: Tally) {
    this.#total = total;
  }

  /** Messages, those in `head` included. */
  get count(): number {
    return this.#count;
  }

  /** Their size, see `backlogBytes`. */
  get bytes(): number {
    return this.#bytes;
  }

  get unread(): number {
    return this.#count - this.head.length;
  }

  /** One more goes behind the others, onto disk. Answers its number. */
  add(publication: Publication): number {
    this.#add(1, backlogBytes(publication));
    return this.next++;
  }

  /** It was not accepted after all. On disk it may be yet, for a moment. */
  withdraw(id: number, publication: Publication): void {
    this.withdrawn.add(id);
    this.#add(-1, -backlogBytes(publication));
  }

  /** It is given up, wherever it is. False: it was sent meanwhile. */
  giveUp(id: number, publication: Publication): boolean {
    const at = this.head.findIndex((entry) => entry.id === id);
    if (at >= 0) this.head.splice(at, 1);
    else if (id <= this.readUpTo || this.withdrawn.has(id)) return false;
    else this.withdrawn.add(id);
    this.#add(-1, -backlogBytes(publication));
    return true;
  }

  /** Takes the first of `head` off: it is sent, or dropped. */
  shift(): BacklogEntry | undefined {
    const entry = this.head.shift();
    if (entry) this.#add(-1, -backlogBytes(entry.publication));
    return entry;
  }

  /** All was read, and some of it was damaged: what is in `head` is all there is. */
  recount(): void {
    const bytes = this.head.reduce((sum, { publication }) => sum + backlogBytes(publication), 0);
    this.#add(this.head.length - this.#count, bytes - this.#bytes);
  }

  /** What an earlier run of the gateway left on disk: so many, with so many octets, under the numbers `first` to `last`. */
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
