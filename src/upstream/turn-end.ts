/**
 * Calls back at the end of this turn of the event loop, after everything that one wake-up brought has been handled. All callers share one
 * immediate; there is none within `around`, which marks the end of the turn itself.
 */
export class TurnEnd {
  #waiting: (() => void)[] = [];
  #spare: (() => void)[] = [];
  #held = false;
  readonly #last: (() => void)[] = [];
  /** Also called by code that writes at another time than the end of a turn. */
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

  /** `mayLeave` is called at each end; if it returns false, nothing is called. */
  constructor(mayLeave: () => boolean = () => true) {
    this.mayLeave = mayLeave;
  }

  /** `call` is called after all other functions of a turn's end. */
  last(call: () => void): void {
    this.#last.push(call);
  }

  /** A function that was registered twice is called twice. */
  add(call: () => void): void {
    if (this.#waiting.push(call) === 1 && !this.#held) setImmediate(this.#run);
  }

  /** Calls `work`, which is the whole work of this turn. Functions that are registered meanwhile are called after it. */
  around(work: () => void): void {
    // Functions that were registered before wait for an immediate, which then also calls those that are registered now.
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
