/** Measures how long the store needs for a commit, and whether it still answers. */
import { Durations } from "../durations.ts";
import type { Store } from "../storage/store.ts";
import type { DrivenStore } from "./perform.ts";

export class CommitWatch {
  readonly durations = new Durations();
  /** The times of the commits without an answer; the store answers them in their order. */
  readonly #pending: number[] = [];
  readonly #now: () => number;

  /** `now` in milliseconds. */
  constructor(now: () => number) {
    this.#now = now;
  }

  watched(store: Pick<Store, "commit" | "fetch" | "load">): DrivenStore {
    return {
      commit: (changes, done, options) => {
        const from = this.#now();
        this.#pending.push(from);
        store.commit(
          changes,
          (error) => {
            this.#pending.shift();
            this.durations.add((this.#now() - from) / 1_000);
            done(error);
          },
          options,
        );
      },
      fetch: (...words) => store.fetch(...words),
      load: (clientId, done) => {
        store.load(clientId).then(
          (state) => done(state, undefined),
          (error: unknown) => done(undefined, error instanceof Error ? error : new Error(String(error))),
        );
      },
    };
  }

  /** Seconds for which the oldest of them has waited; 0: none waits. */
  get waitingSeconds(): number {
    const [oldest] = this.#pending;
    return oldest === undefined ? 0 : (this.#now() - oldest) / 1_000;
  }
}
