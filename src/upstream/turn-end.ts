/**
 * Calls back at the end of this turn of the event loop: after everything that one wake-up brought has been handled.
 * One immediate for all who ask, however many they are.
 */
export class TurnEnd {
  #waiting: (() => void)[] = [];
  #spare: (() => void)[] = [];
  readonly #run = (): void => {
    const now = this.#waiting;
    this.#waiting = this.#spare;
    for (const call of now) call();
    now.length = 0;
    this.#spare = now;
  };

  /** Who asks twice is called twice. */
  add(call: () => void): void {
    if (this.#waiting.push(call) === 1) setImmediate(this.#run);
  }
}
