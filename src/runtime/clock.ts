/** The functions of a clock that the runtime needs: the time, and one wake-up call. */
import { performance } from "node:perf_hooks";
import type { Instant } from "../core/types.ts";

export interface Clock {
  /** Monotonic milliseconds. */
  now(): Instant;
  /** Calls once at or after `at`; a new call replaces the last. `undefined` cancels. */
  wakeAt(at: Instant | undefined, call: () => void): void;
  /** Calls once, after at least a part of the data that can be read now was handed over. */
  afterReading(call: () => void): void;
}

/** Longest delay that setTimeout takes; later wake-ups are split. */
const longestDelayMs = 2 ** 31 - 1;

export class SystemClock implements Clock {
  #timer: NodeJS.Timeout | undefined;

  now(): Instant {
    return performance.now();
  }

  wakeAt(at: Instant | undefined, call: () => void): void {
    clearTimeout(this.#timer);
    if (at === undefined) return;
    const delay = Math.min(Math.max(Math.ceil(at - this.now()), 0), longestDelayMs);
    this.#timer = setTimeout(call, delay);
  }

  /** Node runs immediates after it has read sockets, and timers before. */
  afterReading(call: () => void): void {
    setImmediate(call);
  }
}

/** If the difference is more than this, the time of day was set meanwhile. */
const clockStepMs = 50;

/** Microseconds since 1970 by this machine's clock. They only increase, except when the clock is set. */
export function microsecondClock(): () => number {
  let origin = performance.timeOrigin;
  return () => {
    const sinceStart = performance.now();
    const off = Date.now() - (origin + sinceStart);
    if (Math.abs(off) > clockStepMs) origin += off;
    return Math.round((origin + sinceStart) * 1_000);
  };
}
