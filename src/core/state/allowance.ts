/**
 * How many messages and octets a device may still send and receive. The limits are buckets that fill with time. Also
 * what happens to a device that ignores its limit.
 */
import type { DeviceLimits } from "../access.ts";
import type { Instant } from "../types.ts";

const dayMs = 86_400_000;

export class Allowance {
  limits: DeviceLimits;
  /** What is left: messages, and octets of this day. */
  #up: number;
  #down: number;
  #octets: number;
  #at: Instant;
  /** Consecutive refusals, without a pause that is long enough to fill the bucket. */
  refused = 0;
  /** Until this time, every message of the device is ignored. */
  quarantinedUntil: Instant = 0;

  constructor(limits: DeviceLimits, now: Instant) {
    this.limits = limits;
    this.#up = limits.upBurst;
    this.#down = limits.downBurst;
    this.#octets = limits.octetsPerDay;
    this.#at = now;
  }

  /** What is left in the buckets. `restore` takes these values. */
  get levels(): readonly number[] {
    return [this.#up, this.#down, this.#octets, this.#at, this.refused, this.quarantinedUntil];
  }

  restore(levels: readonly number[]): void {
    const [up = 0, down = 0, octets = 0, at = 0, refused = 0, quarantinedUntil = 0] = levels;
    this.#up = up;
    this.#down = down;
    this.#octets = octets;
    this.#at = at;
    this.refused = refused;
    this.quarantinedUntil = quarantinedUntil;
  }

  /** Takes one message of this many octets from the device. Returns false if it is beyond the limit. */
  takeUp(octets: number, now: Instant): boolean {
    this.#fill(now);
    if (this.#up < 1 || this.#octets < octets) return false;
    this.#up--;
    this.#octets -= octets;
    return true;
  }

  /** Takes one message to the device. Returns 0, or the time until the next try, in milliseconds. */
  takeDown(octets: number, now: Instant): number {
    this.#fill(now);
    const { downPerSecond, octetsPerDay } = this.limits;
    if (this.#down < 1) return Math.ceil(((1 - this.#down) * 1_000) / downPerSecond);
    // A message larger than the octets of a whole day needs a full bucket. Otherwise it would wait for ever.
    const wanted = Math.min(octets, octetsPerDay);
    if (this.#octets < wanted) return Math.ceil(((wanted - this.#octets) * dayMs) / octetsPerDay);
    this.#down--;
    this.#octets = Math.max(0, this.#octets - octets);
    return 0;
  }

  #fill(now: Instant): void {
    const { upPerSecond, upBurst, downPerSecond, downBurst, octetsPerDay } = this.limits;
    const ms = now - this.#at;
    this.#at = now;
    this.#up = filled(this.#up, upBurst, (ms * upPerSecond) / 1_000);
    this.#down = filled(this.#down, downBurst, (ms * downPerSecond) / 1_000);
    this.#octets = filled(this.#octets, octetsPerDay, (ms * octetsPerDay) / dayMs);
    if (this.#up === upBurst) this.refused = 0;
  }
}

/** Infinity means that there is no limit. */
function filled(level: number, most: number, more: number): number {
  return most === Number.POSITIVE_INFINITY ? most : Math.min(most, level + more);
}
