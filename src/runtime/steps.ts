/**
 * Measures for how long the gateway does one piece of work: the datagrams of one wake-up, another input with its
 * consequences, or the due deadlines. During such a step no device is answered, so `/metrics` has a histogram of each
 * kind.
 */
import type { Instant } from "../core/types.ts";
import { Durations } from "../durations.ts";

/**
 * `input`: what one wake-up has brought over the brokers' connections that are read together; or one input from a
 * broker, the store or a person, or a single datagram.
 */
export const stepKinds = ["datagrams", "input", "deadlines"] as const;
export type StepKind = (typeof stepKinds)[number];

export class Steps {
  readonly durations: Readonly<Record<StepKind, Durations>> = {
    datagrams: new Durations(),
    input: new Durations(),
    deadlines: new Durations(),
  };
  readonly #now: () => Instant;
  #isInside = false;

  /** `now`: monotonic milliseconds. */
  constructor(now: () => Instant) {
    this.#now = now;
  }

  /** Begins a step. The result must be passed to `end`. Undefined: the step is a part of one that has begun before. */
  begin(): Instant | undefined {
    if (this.#isInside) return undefined;
    this.#isInside = true;
    return this.#now();
  }

  end(kind: StepKind, began: Instant | undefined): void {
    if (began === undefined) return;
    this.#isInside = false;
    this.durations[kind].add((this.#now() - began) / 1_000);
  }

  /** Measures a whole step. */
  measure(kind: StepKind, work: () => void): void {
    const began = this.begin();
    try {
      work();
    } finally {
      this.end(kind, began);
    }
  }
}
