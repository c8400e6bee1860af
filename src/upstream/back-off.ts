/** Pauses between attempts: doubling, jittered over the upper half, so that a thousand clients do not return at once. */
export class BackOff {
  readonly #minMs: number;
  readonly #maxMs: number;
  readonly #random: () => number;
  #failures = 0;

  constructor(options: { minSeconds: number; maxSeconds: number }, random: () => number) {
    this.#minMs = options.minSeconds * 1_000;
    this.#maxMs = options.maxSeconds * 1_000;
    this.#random = random;
  }

  /** The next pause in milliseconds. */
  next(): number {
    const full = Math.min(this.#maxMs, this.#minMs * 2 ** Math.min(this.#failures++, 30));
    return full * (0.5 + this.#random() / 2);
  }

  /** Instead of the pause that was just begun: from the beginning, or the shortest, as if there had been none. */
  again(pause: "first" | "least"): number {
    if (pause === "first") {
      this.reset();
      return this.next();
    }
    this.#failures = Math.max(0, this.#failures - 1);
    return this.shortest();
  }

  /** The first pause, whatever has failed. */
  shortest(): number {
    return this.#minMs * (0.5 + this.#random() / 2);
  }

  /** It worked: the next failure starts from the beginning. */
  reset(): void {
    this.#failures = 0;
  }
}
