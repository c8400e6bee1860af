/**
 * Limits how many ClientHellos are processed. A cookie costs two or three times as much as decrypting a record, and anybody can ask for
 * one. Without a limit, a flood of ClientHellos takes the time of devices that have a context. Those with a cookie are counted separately,
 * so that a flood without cookies does not keep out clients that have returned one. A ClientHello beyond the limit costs one comparison,
 * and its client repeats it after one, two, four seconds. [RFC 6347 4.2.4]
 */
import type { Instant } from "./messages.ts";

/** So many milliseconds' share of the limit may arrive at the same moment. */
const burstMs = 100;

export class HelloBudget {
  readonly #perMs: number;
  readonly #most: number;
  #left: number;
  #at: Instant;
  /** The number of ClientHellos, including those beyond the limit. */
  asked = 0;

  constructor(perSecond: number, now: Instant) {
    this.#perMs = perSecond / 1_000;
    this.#most = Math.max(1, this.#perMs * burstMs);
    this.#left = this.#most;
    this.#at = now;
  }

  /** Counts a ClientHello; false: it is beyond the limit. */
  take(now: Instant): boolean {
    this.asked++;
    if (now > this.#at) {
      this.#left = Math.min(this.#most, this.#left + (now - this.#at) * this.#perMs);
      this.#at = now;
    }
    if (this.#left < 1) return false;
    this.#left--;
    return true;
  }
}
