/**
 * What one client was answered for while the broker was away: on disk, in the order of its numbers. In memory there is
 * only how much it is, and the next few, read ahead.
 */
import type { Publication } from "../types.ts";

export interface BacklogEntry {
  readonly id: number;
  readonly publication: Publication;
  /** Wall clock when it was accepted; 0 = unknown. */
  readonly at: number;
}

export class Backlog {
  /** Messages, those in `head` included. */
  count = 0;
  bytes = 0;
  /** Number of the next one. */
  next = 1;
  /** Read from disk, next to be sent. */
  readonly head: BacklogEntry[] = [];
  /** Not accepted after all, since their commit failed, and not read yet: the disk may still have them. */
  readonly withdrawn = new Set<number>();
  /** All up to this number were read. */
  readUpTo = 0;
  /** A read is under way, of what had been accepted up to this number; undefined = none. */
  readingUpTo: number | undefined = undefined;

  get unread(): number {
    return this.count - this.head.length;
  }
}
