/** Looks for floods of ClientHellos, and lets the kernel drop most of one; see hello-thinning.ts. */
import type { SecureServer } from "../../secure/server.ts";
import type { Timers } from "../timers.ts";
import { type Hellos, HelloThinning } from "./hello-thinning.ts";

/** Milliseconds between two looks, while some ClientHellos exceed the limit. */
const lookMs = 250;
const saidEveryMs = 3_600_000;

export interface HelloFloodParts {
  readonly perSecondMax: number;
  readonly timers: Timers;
  readonly server: Pick<SecureServer, "hellos" | "counters">;
  /** Shares of ClientHellos to pass, without a cookie and with one, 0 to 1. False: the kernel cannot drop any. */
  readonly thin: (first: number, second: number) => boolean;
  readonly said: (say: string) => void;
}

export class HelloFlood {
  readonly #parts: HelloFloodParts;
  readonly #thinning: HelloThinning;
  /** The number of ClientHellos beyond the limit, at the last look. */
  #beyondBefore = 0;
  #endLooking: (() => void) | undefined;
  #saidAt = Number.NEGATIVE_INFINITY;
  #isClosed = false;

  constructor(parts: HelloFloodParts) {
    this.#parts = parts;
    this.#thinning = new HelloThinning(parts.perSecondMax);
  }

  /** ClientHellos beyond the limit: those that were counted, and an estimate of those that the kernel dropped. */
  get beyond(): number {
    return this.#parts.server.counters.hellosBeyond + this.#thinning.dropped;
  }

  /** Called after each datagram. Looks repeatedly from then on, until no ClientHello exceeds the limit any more. */
  look(): void {
    const { server, timers } = this.#parts;
    if (this.#endLooking || this.#isClosed || server.counters.hellosBeyond <= this.#beyondBefore) return;
    let [before, at] = [server.hellos, timers.now()];
    this.#endLooking = timers.every(lookMs, () => {
      const [hellos, now] = [server.hellos, timers.now()];
      const came = { first: hellos.first - before.first, second: hellos.second - before.second };
      const isOver = server.counters.hellosBeyond === this.#beyondBefore && !this.#thinning.isOn;
      this.#beyondBefore = server.counters.hellosBeyond;
      this.#thin(came, Math.max(1, now - at));
      [before, at] = [hellos, now];
      if (!isOver || this.#thinning.isOn) return;
      this.#endLooking?.();
      this.#endLooking = undefined;
    });
  }

  close(): void {
    this.#isClosed = true;
    this.#endLooking?.();
  }

  #thin(came: Hellos, ms: number): void {
    const { thin, timers, said } = this.#parts;
    const wasOn = this.#thinning.isOn;
    const { first, second } = this.#thinning.judge(came, ms);
    if (!wasOn && !this.#thinning.isOn) return;
    if (!thin(first, second)) return this.#thinning.cannot();
    const now = timers.now();
    if (wasOn || now - this.#saidAt < saidEveryMs) return;
    this.#saidAt = now;
    const perSecond = Math.round((1_000 * (came.first + came.second)) / ms);
    said(`a flood of ${perSecond} ClientHellos a second or more: the kernel drops most of them`);
  }
}
