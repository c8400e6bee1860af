/**
 * Calls back at the end of this turn of the event loop: after everything that one wake-up brought has been handled.
 * One immediate for all who ask, however many they are; none where somebody says when it is over.
 */
export class TurnEnd {
  #waiting: (() => void)[] = [];
  #spare: (() => void)[] = [];
  #held = false;
  readonly #last: (() => void)[] = [];
  /** Asked by whoever writes at another time than a turn's end, too. */
  readonly mayLeave: () => boolean;
  readonly #run = (): void => {
    const now = this.#waiting;
    this.#waiting = this.#spare;
    if (!this.mayLeave()) {
      now.length = 0;
      this.#spare = now;
      return;
    }
    for (const call of now) call();
    now.length = 0;
    this.#spare = now;
    for (const call of this.#last) call();
  };

  /** `mayLeave` is asked at each end: where it says no, nobody is called. */
  constructor(mayLeave: () => boolean = () => true) {
    this.mayLeave = mayLeave;
  }

  /** Called whenever all who asked have been called. */
  last(call: () => void): void {
    this.#last.push(call);
  }

  /** Who asks twice is called twice. */
  add(call: () => void): void {
    if (this.#waiting.push(call) === 1 && !this.#held) setImmediate(this.#run);
  }

  /** Calls `work`. It is all that this turn brings, as far as its caller knows: who asks meanwhile is called after it. */
  around(work: () => void): void {
    // Who asked before waits for an immediate, which then also serves who asks now.
    if (this.#held || this.#waiting.length > 0) return work();
    this.#held = true;
    try {
      work();
    } finally {
      this.#held = false;
      if (this.#waiting.length > 0) this.#run();
    }
  }
}
