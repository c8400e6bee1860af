/**
 * Whether the time of day can be trusted. A Raspberry Pi has no battery for its clock: until a time server answers, its clock begins at the
 * time of its last stop, or in 1970. A time before this program was written is certainly wrong. If systemd-timesyncd runs, it says whether
 * it has heard from a server. Any other time is treated as right. The system does not tell a process when the clock is set, so it is
 * compared with the monotonic clock.
 */
import { existsSync } from "node:fs";
import { performance } from "node:perf_hooks";

/** The clock cannot be right if it is before this time, because the program is newer: 2026-11-01. */
export const oldestPlausible = Date.UTC(2026, 10, 1);

const lookEveryMs = 1_000;
/** A clock that differs by this much between two looks was set. An adjusted clock differs by less. */
const stepMs = 1_000;
const timesyncFolder = "/run/systemd/timesync";

export interface WallClockSources {
  /** Milliseconds since 1970, right or wrong. */
  readonly now: () => number;
  /** Milliseconds of a clock that cannot be set. */
  readonly monotonic: () => number;
  /** False: the clock has not been set yet. */
  readonly isSynchronised: () => boolean;
}

export class WallClock {
  readonly #sources: WallClockSources;
  #synchronised = false;
  #askedAt = Number.NEGATIVE_INFINITY;
  #ahead: number;
  #wasTrusted: boolean;
  #timer: NodeJS.Timeout | undefined;

  constructor(sources: Partial<WallClockSources> = {}) {
    this.#sources = { now: Date.now, monotonic: () => performance.now(), isSynchronised: timesyncHeard, ...sources };
    this.#ahead = this.#sources.now() - this.#sources.monotonic();
    this.#wasTrusted = this.trusted() !== undefined;
  }

  /** The time of the clock in milliseconds since 1970, whether it is right or wrong. */
  now(): number {
    return this.#sources.now();
  }

  /** Milliseconds since 1970; undefined while the clock cannot be trusted. */
  trusted(): number | undefined {
    const now = this.#sources.now();
    return now >= oldestPlausible && this.#isSynchronised() ? now : undefined;
  }

  /** Calls `onSet` within a second after the clock was set, or became one that can be trusted; until `stop`. */
  start(onSet: () => void): void {
    this.#timer ??= setInterval(() => this.look(onSet), lookEveryMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Looked up once a second until the clock is synchronised. After that it counts as synchronised for good. */
  look(onSet: () => void): void {
    const ahead = this.#sources.now() - this.#sources.monotonic();
    const isTrusted = this.trusted() !== undefined;
    const isSet = Math.abs(ahead - this.#ahead) >= stepMs || (isTrusted && !this.#wasTrusted);
    this.#ahead = ahead;
    this.#wasTrusted = isTrusted;
    if (isSet) onSet();
  }

  /** Asks once a second until the clock is synchronised, and then never again. */
  #isSynchronised(): boolean {
    const at = this.#sources.monotonic();
    if (this.#synchronised || at - this.#askedAt < lookEveryMs) return this.#synchronised;
    this.#askedAt = at;
    this.#synchronised = this.#sources.isSynchronised();
    return this.#synchronised;
  }
}

/** True if systemd-timesyncd is not running, or has got an answer of a time server since the start of the system. */
function timesyncHeard(): boolean {
  return !existsSync(timesyncFolder) || existsSync(`${timesyncFolder}/synchronized`);
}
