/**
 * Distinguishes copies from new messages by counting. It is used on a shared connection if the gateway could not find
 * out how often the broker sends a message that several filters match (see broker/lanes.ts). Messages in a row with the
 * same topic and payload, up to the number of matching filters, count as one message. A broker that sends one copy is
 * soon recognized, because several copies were possible, and again and again only one came.
 *
 * This is the second choice, because two equal messages within a second may be treated as one.
 */
import type { Instant } from "../types.ts";

/** The copies of one message come within this time. */
const togetherMs = 1_000;

/** After so many messages without a second copy, and none with one, the broker is known to send one copy. */
const singlesEnough = 3;

/**
 * Limit of messages whose copies are expected. Beyond it the oldest is forgotten, and a copy of it would count as a new
 * message.
 */
const waitingMax = 1_000;

interface Waited {
  left: number;
  hasCome: boolean;
  readonly until: Instant;
}

export class CopyCount {
  /** By the hash of topic and payload, the oldest first. */
  readonly #waited = new Map<number, Waited>();
  #singles = 0;
  #hasCopies = false;

  /** Whether this is another copy of a message that has come already. `filters`: the number of matching filters. */
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

  /** Whether the messages so far show that this broker sends one copy. */
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
