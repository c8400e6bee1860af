/** A store that forgets at the end of the process. For tests, and where nothing has to survive. */
import type { Change, QueuedRecord, SessionRecord, StoredState } from "../core/record.ts";
import type { GatewayError } from "../errors.ts";
import type { Store } from "./store.ts";

interface Entry {
  session: SessionRecord | undefined;
  readonly queued: Map<number, QueuedRecord>;
}

export class MemoryStore implements Store {
  readonly #entries = new Map<string, Entry>();

  async open(): Promise<void> {}

  commit(changes: readonly Change[], done: (error: GatewayError | undefined) => void): void {
    for (const change of changes) this.#apply(change);
    done(undefined);
  }

  async *all(): AsyncIterable<StoredState> {
    for (const entry of this.#entries.values()) if (entry.session) yield stored(entry, entry.session);
  }

  async close(): Promise<void> {}

  #apply(change: Change): void {
    let entry = this.#entries.get(change.clientId);
    if (!entry) {
      if (!change.record) return;
      entry = { session: undefined, queued: new Map() };
      this.#entries.set(change.clientId, entry);
    }
    if (change.of === "session") entry.session = change.record;
    else if (change.record) entry.queued.set(change.seq, change.record);
    else entry.queued.delete(change.seq);
    if (!entry.session && entry.queued.size === 0) this.#entries.delete(change.clientId);
  }
}

function stored(entry: Entry, session: SessionRecord): StoredState {
  const queued = [...entry.queued].sort(([a], [b]) => a - b).map(([seq, record]) => ({ ...record, seq }));
  return { session, queued };
}
