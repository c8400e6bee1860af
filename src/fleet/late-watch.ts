/**
 * Detects that a datagram may have waited in a socket while this process stood still, because its container was frozen
 * or the machine swapped. Meanwhile the device may have got a repetition from another gateway, or may have sent one. So
 * an old answer must not be sent to it any more, and an old message of it must not be passed on. The first copy of a
 * QoS 2 message has no DUP, and would be a new message after the end of its exchange.
 */
import type { Instant } from "../core/types.ts";
import type { Timers } from "../transports/timers.ts";

/** Milliseconds between two ticks. Each tick records that the process runs. */
const tickMs = 100;
/**
 * Everything that waited is read when nothing came during so many ticks. A transport may put off reading by a few
 * milliseconds, and the first turn may take long.
 */
const quietTicks = 2;
/** Without this limit, a socket that is never empty would stay late without end. */
const ticksMax = 6;

export interface LateWatchParts {
  readonly timers: Pick<Timers, "now" | "every">;
  /** A datagram that has waited for less than this may still be sent. Milliseconds. */
  readonly limitMs: number;
}

export class LateWatch {
  readonly #parts: LateWatchParts;
  #ranAt: Instant;
  /** True while the datagrams that are read may have waited. */
  #drains = false;
  /** Ticks since the process stood still, and since the last such datagram. */
  #ticks = 0;
  #quiet = 0;
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
    if (!this.#drains && (!this.#end || !this.#stoodStill(now))) return false;
    this.#quiet = 0;
    return true;
  }

  #tick(): void {
    const now = this.#parts.timers.now();
    if (!this.#stoodStill(now) && this.#drains) {
      this.#ticks++;
      this.#quiet++;
      if (this.#quiet > quietTicks || this.#ticks >= ticksMax) this.#drains = false;
    }
    this.#ranAt = now;
  }

  #stoodStill(now: Instant): boolean {
    if (now - this.#ranAt < this.#parts.limitMs) return false;
    this.#drains = true;
    this.#ticks = 0;
    this.#quiet = 0;
    this.#ranAt = now;
    return true;
  }
}
