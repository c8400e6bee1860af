/** Views that are made from all sessions, and kept for a while. */

/**
 * Browsers that ask within this time get the same view. With many sessions it is longer: reading them all again and again takes at most a
 * tenth of the gateway's time.
 */
const viewMs = 1_000;
const shareOfTime = 10;
/** Views that are remembered, because several browsers usually show the same. */
const viewsMax = 16;
interface Remembered {
  /** Monotonic milliseconds; the view is valid until then. Infinity: it is being made. */
  until: number;
  readonly at: number;
  readonly view: Promise<unknown>;
}

export class RememberedViews {
  readonly #now: () => number;
  readonly #views = new Map<string, Remembered>();
  #last: Promise<unknown> = Promise.resolve();

  /** `now`: monotonic milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  /** The view of this name, which `make` makes from all sessions. One view is made at a time. */
  named<T>(name: string, make: (at: number) => Promise<{ view: T; workedMs: number }>): Promise<T> {
    const now = this.#now();
    const known = this.#views.get(name);
    if (known && now >= known.at && now < known.until) return known.view as Promise<T>;
    const made = this.#last.then(() => make(this.#now()));
    const entry: Remembered = { until: Number.POSITIVE_INFINITY, at: now, view: made.then(({ view }) => view) };
    this.#last = made.then(
      ({ workedMs }) => {
        entry.until = this.#now() + Math.max(viewMs, workedMs * shareOfTime);
      },
      () => {
        entry.until = entry.at;
      },
    );
    this.#keep(name, entry);
    return entry.view as Promise<T>;
  }

  #keep(name: string, entry: Remembered): void {
    this.#views.delete(name);
    this.#views.set(name, entry);
    for (const oldest of this.#views.keys()) {
      if (this.#views.size <= viewsMax) break;
      this.#views.delete(oldest);
    }
  }
}
