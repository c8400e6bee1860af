/**
 * Tells copies from messages by counting, on a shared connection of a broker for which the gateway could not find out
 * how often it sends a message that several filters match (see broker/lanes.ts). As many messages in a row as there are
 * such filters, with the same topic and payload, count as one message. A broker that sends one copy is soon recognized:
 * several copies could have come and only one came, again and again.
 *
 * This is the second choice, because two equal messages within a second may be treated as one.
 */
import type { Instant } from "../types.ts";

/** Copies of one message come together. */
const togetherMs = 1_000;

/** So many messages without a second copy, and none with one: this broker sends one. */
const singlesEnough = 3;

/** Messages whose copies are waited for. Beyond, the oldest is forgotten: a copy of it would be taken for a message. */
const waitingMax = 1_000;

interface Waited {
  left: number;
  hasCome: boolean;
  readonly until: Instant;
}

export class CopyCount {
  /** By a hash of topic and payload, the oldest first. */
  readonly #waited = new Map<number, Waited>();
  #singles = 0;
  #hasCopies = false;

  /** Is this one more copy of what has come? `filters`: how many match it. */
  isCopy(hash: number, filters: number, now: Instant): boolean {
    this.#forgetOld(now);
    const waited = this.#waited.get(hash);
    if (waited && waited.left > 0) {
      waited.left--;
      waited.hasCome = true;
      this.#hasCopies = true;
      return true;
    }
    this.#waited.delete(hash);
    if (filters > 1) this.#waited.set(hash, { left: filters - 1, hasCome: false, until: now + togetherMs });
    return false;
  }

  /** What has come shows that this broker sends one copy. */
  get isOne(): boolean {
    return !this.#hasCopies && this.#singles >= singlesEnough;
  }

  #forgetOld(now: Instant): void {
    for (const [hash, { until, hasCome }] of this.#waited) {
      if (until > now && this.#waited.size <= waitingMax) return;
      this.#waited.delete(hash);
      if (!hasCome && until <= now) this.#singles++;
    }
  }
}
