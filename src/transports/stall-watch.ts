/**
 * Detects that this process stood still: stopped, swapped out, or busy for too long. The kernel may have received more
 * than it can keep, and then octets of a stream are missing without any sign.
 */
import type { Instant } from "../core/types.ts";

/** How often `note` has to be called while nothing happens, in milliseconds. */
export const stallCheckMs = 200;
/** A pause of this length is a stall. Shorter ones are normal, and a kernel keeps a few hundred packets. */
const stallMs = 500;

export class StallWatch {
  #notedAt: Instant;

  constructor(now: Instant) {
    this.#notedAt = now;
  }

  /**
   * Must be called before received data are used. Returns the milliseconds for which the process stood still; 0 = it
   * did not.
   */
  note(now: Instant): number {
    const pause = now - this.#notedAt;
    this.#notedAt = now;
    return pause >= stallMs ? pause : 0;
  }
}
