/** Limits per second, with bounded memory: the counts of a second are forgotten after it. */
import type { Instant } from "./types.ts";

/** Counts events per second, in total and per key. */
export class RatePerSecond {
  readonly #totalMax: number;
  readonly #perKeyMax: number;
  #second = -1;
  #total = 0;
  readonly #byKey = new Map<string, number>();

  /** 0 = no limit. */
  constructor(limits: { totalMax: number; perKeyMax: number }) {
    this.#totalMax = limits.totalMax;
    this.#perKeyMax = limits.perKeyMax;
  }

  /** Counts one event and returns true, or returns false without counting it. */
  allows(key: string, now: Instant, perKeyMax = this.#perKeyMax): boolean {
    const second = Math.floor(now / 1000);
    if (second !== this.#second) {
      this.#second = second;
      this.#total = 0;
      this.#byKey.clear();
    }
    if (this.#totalMax > 0 && this.#total >= this.#totalMax) return false;
    if (perKeyMax > 0) {
      const count = this.#byKey.get(key) ?? 0;
      if (count >= perKeyMax) return false;
      this.#byKey.set(key, count + 1);
    }
    this.#total++;
    return true;
  }
}

/**
 * Once per second and key, and a limit per second in total: for answers to unknown senders, whose addresses may be forged. There are two
 * generations of keys, each at most a second old, so that there is always a second between two answers.
 */
export class OncePerSecond {
  readonly #perSecondMax: number;
  #turn = 0;
  #count = 0;
  #young = new Map<string, Instant>();
  #old = new Map<string, Instant>();

  constructor(perSecondMax: number) {
    this.#perSecondMax = perSecondMax;
  }

  /** True if `key` may be answered now. The answer is remembered. */
  allows(key: string, now: Instant): boolean {
    this.#rotate(now);
    const last = this.#young.get(key) ?? this.#old.get(key);
    if (last !== undefined && now - last < 1000) return false;
    if (this.#count >= this.#perSecondMax) return false;
    this.#count++;
    this.#young.set(key, now);
    return true;
  }

  /** Remembers something sent for another reason, which counts for the pause of a second but not for the total. */
  note(key: string, now: Instant): void {
    this.#rotate(now);
    if (this.#young.size < 10 * this.#perSecondMax) this.#young.set(key, now);
  }

  #rotate(now: Instant): void {
    if (now - this.#turn < 1000) return;
    this.#old = now - this.#turn < 2000 ? this.#young : new Map();
    this.#young = new Map();
    this.#turn = now;
    this.#count = 0;
  }
}
