/** A store that forgets at the end of the process. For tests, and where nothing has to survive. */
import type { Change, StoredState } from "../core/record.ts";
import type { GatewayError } from "../errors.ts";
import { StateTable } from "./state-table.ts";
import type { Fetched, Store, StoredLetter, StoreReport } from "./store.ts";

export class MemoryStore implements Store {
  readonly #table = new StateTable();

  async open(): Promise<StoreReport> {
    return { notices: [] };
  }

  commit(changes: readonly Change[], done: (error: GatewayError | undefined) => void): void {
    for (const change of changes) this.#table.apply(change);
    done(undefined);
  }

  async *all(): AsyncIterable<StoredState> {
    yield* this.#table.states();
  }

  async known(): Promise<readonly string[]> {
    return [...this.#table.known];
  }

  async letters(): Promise<readonly StoredLetter[]> {
    return [...this.#table.letters].map(([id, [clientId, record]]) => ({ id, clientId, record }));
  }

  snapshot(): undefined {
    return undefined;
  }

  fetch(clientId: string, from: number, limit: number, done: Fetched): void {
    done(this.#table.read(clientId, from, limit), undefined);
  }

  async close(): Promise<void> {}
}
