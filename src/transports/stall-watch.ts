/**
 * Notices that this process stood still: stopped, swapped out, or busy for too long. What a kernel held for it in that
 * time may have been more than it holds, and then octets of a stream are missing without a word.
 */
import type { Instant } from "../core/types.ts";

/** How often `note` has to be called while nothing happens, in milliseconds. */
export const stallCheckMs = 200;
/** From then on it is a stall. Shorter ones happen, and a kernel holds a few hundred packets. */
const stallMs = 500;

export class StallWatch {
  #notedAt: Instant;

  constructor(now: Instant) {
    this.#notedAt = now;
  }

  /** To be called before anything that was read is used. Answers how long it stood still, in ms; 0 = it did not. */
  note(now: Instant): number {
    const pause = now - this.#notedAt;
    this.#notedAt = now;
    return pause >= stallMs ? pause : 0;
  }
}
