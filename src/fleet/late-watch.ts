/**
 * Detects that a datagram may have waited in a socket while this process stood still, because its container was frozen
 * or the machine swapped. Meanwhile a device may have got a repetition by another gateway, so an old answer must not be
 * sent to it any more. The first copy of a QoS 2 message has no DUP, and would be a new message after the end of its
 * exchange.
 */
import type { Instant } from "../core/types.ts";
import type { Timers } from "../transports/timers.ts";

/** Milliseconds between two notes that the process runs. */
const tickMs = 100;
/**
 * Milliseconds in which the waiting datagrams are read. Without this limit, a socket that is never empty would stay
 * late without end.
 */
const drainMsMax = 500;

export interface LateWatchParts {
  readonly timers: Pick<Timers, "now" | "every">;
  /** Calls at the end of this turn of the event loop. */
  readonly later: (call: () => void) => void;
  /** A datagram that has waited for less than this may still be sent. Milliseconds. */
  readonly limitMs: number;
}

export class LateWatch {
  readonly #parts: LateWatchParts;
  #ranAt: Instant;
  /** The time since which datagrams that waited are read; undefined: all of them are read. */
  #drainsSince: Instant | undefined;
  #sawSome = false;
  #end: (() => void) | undefined;

  constructor(parts: LateWatchParts) {
    this.#parts = parts;
    this.#ranAt = parts.timers.now();
  }

  start(): void {
    const { timers } = this.#parts;
    this.#ranAt = timers.now();
    this.#end = timers.every(tickMs, () => this.#tick());
  }

  close(): void {
    this.#end?.();
    this.#end = undefined;
  }

  /**
   * True if a datagram that is read at `now` may be older than the limit. Also correct if sockets are read before late
   * timers.
   */
  isLate(now: Instant): boolean {
    if (this.#drainsSince === undefined && (!this.#end || !this.#stoodStill(now))) return false;
    this.#sawSome = true;
    return true;
  }

  #tick(): void {
    const now = this.#parts.timers.now();
    this.#stoodStill(now);
    this.#ranAt = now;
  }

  #stoodStill(now: Instant): boolean {
    if (now - this.#ranAt < this.#parts.limitMs) return false;
    if (this.#drainsSince === undefined) this.#parts.later(this.#look);
    this.#drainsSince = now;
    this.#ranAt = now;
    return true;
  }

  /** Sockets are read once in each turn. If none had a datagram, nothing waits any more. */
  readonly #look = (): void => {
    const { timers, later } = this.#parts;
    const isLong = timers.now() - (this.#drainsSince ?? 0) >= drainMsMax;
    if (!this.#sawSome || isLong) this.#drainsSince = undefined;
    else later(this.#look);
    this.#sawSome = false;
  };
}
