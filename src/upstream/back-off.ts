import type { KnownPause } from "../core/types.ts";

/** The longest pause before a connection while the core searches for suspects. */
const boundedMs = 15_000;

/**
 * The pauses between attempts. They double, and the upper half is random, so that a thousand clients do not return at
 * once.
 *
 * Refused attempts and accepted connections without use are counted separately. So when a long outage is over and the
 * broker ends the first connection, the next pause is short again.
 */
export class BackOff {
  readonly #minMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  /** Consecutive attempts that no CONNACK accepted. */
  #refused = 0;
  /** Consecutive connections that were accepted, and ended before anything was answered. */
  #useless = 0;

  constructor(options: { minSeconds: number; maxSeconds: number }, random: () => number) {
    this.#minMs = options.minSeconds * 1_000;
    this.#maxMs = options.maxSeconds * 1_000;
    this.#random = random;
  }

  /** The next pause in milliseconds, after an attempt that failed, or after a connection that had been accepted. */
  next(wasAccepted: boolean): number {
    if (!wasAccepted) return this.#grown(this.#refused++);
    this.#refused = 0;
    return this.#grown(this.#useless++);
  }

  /** Replaces the pause that has just begun. */
  again(pause: KnownPause): number {
    if (pause === "bounded") return this.#grown(this.#useless - 1, boundedMs);
    if (pause === "first") {
      this.reset();
      return this.next(true);
    }
    this.#useless = Math.max(0, this.#useless - 1);
    return this.shortest();
  }

  /** Returns the first pause again, after any kind of failure. */
  shortest(): number {
    return this.#grown(0);
  }

  /** The connection was of use: the pauses begin again with the shortest. */
  reset(): void {
    this.#refused = 0;
    this.#useless = 0;
  }

  #grown(times: number, longestMs = this.#maxMs): number {
    const full = Math.min(this.#maxMs, longestMs, this.#minMs * 2 ** Math.min(times, 30));
    return full * (0.5 + this.#random() / 2);
  }
}
