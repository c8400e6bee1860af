/** The time and timers of a transport: the machine's, or a test's. */
import { performance } from "node:perf_hooks";
import type { Instant } from "../core/types.ts";

export interface Timers {
  /** Monotonic milliseconds. */
  now(): Instant;
  /** Calls once; the returned function cancels the call. */
  after(ms: number, call: () => void): () => void;
  /** Calls repeatedly; the returned function ends this. */
  every(ms: number, call: () => void): () => void;
}

export const systemTimers: Timers = {
  now: () => performance.now(),
  after(ms, call) {
    const timer = setTimeout(call, ms);
    return () => clearTimeout(timer);
  },
  every(ms, call) {
    const timer = setInterval(call, ms);
    return () => clearInterval(timer);
  },
};
