/**
 * A store in memory: everything is lost at the end of the process. For tests, and for gateways whose sessions need not
 * survive.
 */
import type { Change, StoredState } from "../core/record.ts";
import { GatewayError } from "../errors.ts";
import { behind, StateTable } from "./state-table.ts";
import type {
  CommitOptions,
  Fetched,
  Foremost,
  Store,
  StoredDue,
  StoredLetter,
  StoredSecure,
  StoreReport,
} from "./store.ts";

export class MemoryStore implements Store {
  readonly #table = new StateTable();
  #epoch = 0;

  async open(): Promise<StoreReport> {
    return { notices: [], highest: { queued: 0, letter: 0 } };
  }

  commit(
    changes: readonly Change[],
    done: (error: GatewayError | undefined) => void,
    { epoch = this.#epoch }: CommitOptions = {},
  ): void {
    if (epoch < this.#epoch) return done(new GatewayError("ERR_STORE_EPOCH", { epoch, now: this.#epoch }));
    this.#epoch = epoch;
    for (const change of changes) this.#table.apply(change);
    done(undefined);
  }

  async sessions(after: string | undefined, limit: number): Promise<readonly StoredState[]> {
    return this.#table.slice(after, limit);
  }

  async foremost(): Promise<Foremost | undefined> {
    const states = [...this.#table.states()];
    const isNeeded = ({ session, uplink }: StoredState) => session.clientId.startsWith("\0") || uplink.length > 0;
    const namesOf = (some: readonly StoredState[]) => some.map(({ session }) => session.clientId);
    return {
      needed: namesOf(states.filter(isNeeded)),
      active: namesOf(states.filter(({ session }) => session.state === "active")),
    };
  }

  async load(clientId: string): Promise<StoredState | undefined> {
    return this.#table.state(clientId);
  }

  async due(before: number, limit: number): Promise<readonly StoredDue[]> {
    const found: StoredDue[] = [];
    for (const { session, queued } of this.#table.states())
      for (const [seq, { due }] of queued)
        if (due !== undefined && due < before) found.push({ clientId: session.clientId, seq, due });
    return found.sort((a, b) => a.due - b.due).slice(0, limit);
  }

  async known(after: string | undefined, limit: number): Promise<readonly string[]> {
    return behind(this.#table.known, after, limit);
  }

  async letters(after: number, limit: number): Promise<readonly StoredLetter[]> {
    const letters = [...this.#table.letters].filter(([id]) => id > after).sort(([a], [b]) => a - b);
    return letters.slice(0, limit).map(([id, [clientId, record]]) => ({ id, clientId, record }));
  }

  /** A store in memory has no records of an earlier run. */
  async secure(): Promise<readonly StoredSecure[]> {
    return [];
  }

  snapshot(): undefined {
    return undefined;
  }

  fetch(clientId: string, from: number, limit: number, done: Fetched): void {
    done(this.#table.read(clientId, from, limit), undefined);
  }

  async close(): Promise<void> {}
}
