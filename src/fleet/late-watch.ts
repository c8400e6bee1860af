/**
 * Detects that a datagram may have waited in a socket while this process stood still, because its container was frozen
 * or the machine swapped. Meanwhile a device may have got a repetition by another gateway, or sent one, so an old
 * answer must not be sent to it any more, and what it said then must not be passed on. The first copy of a QoS 2 message
 * has no DUP, and would be a new message after the end of its exchange.
 */
import type { Instant } from "../core/types.ts";
import type { Timers } from "../transports/timers.ts";

/** Milliseconds between two notes that the process runs. */
const tickMs = 100;
/**
 * The waiting datagrams are read in this time and this number of turns, whichever lasts longer. Without a limit, a socket
 * that is never empty would stay late without end. One turn reads some dozens of a socket's datagrams, and the first
 * turn may take long.
 */
const drainMs = 500;
const drainTurns = 16;

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
  /** Turns since then. */
  #turns = 0;
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
   * True if a datagram that was read in this turn may be older than the limit at `now`. Also correct if sockets are
   * read before late timers, and if the process stood still since the datagram was read.
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
    this.#turns = 0;
    this.#ranAt = now;
    return true;
  }

  /** Sockets are read once in each turn. If none had a datagram, nothing waits any more. */
  readonly #look = (): void => {
    const { timers, later } = this.#parts;
    const isLong = ++this.#turns >= drainTurns && timers.now() - (this.#drainsSince ?? 0) >= drainMs;
    if (!this.#sawSome || isLong) this.#drainsSince = undefined;
    else later(this.#look);
    this.#sawSome = false;
  };
}
