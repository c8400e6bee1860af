/** Puts records together that belong to one session, in whatever order they come. */
import type { Change, QueuedRecord, ReceivedRecord, SessionRecord, StoredState, UplinkRecord } from "../core/record.ts";

interface Entry {
  session: SessionRecord | undefined;
  readonly queued: Map<number, QueuedRecord>;
  readonly uplink: Map<number, UplinkRecord>;
  readonly received: Map<number, ReceivedRecord>;
}

export class StateTable {
  readonly #entries = new Map<string, Entry>();

  apply(change: Change): void {
    const entry = this.#entry(change.clientId);
    switch (change.of) {
      case "session":
        entry.session = change.record;
        break;
      case "queued":
        if (change.record) entry.queued.set(change.id, change.record);
        else entry.queued.delete(change.id);
        break;
      case "uplink":
        if (change.record) entry.uplink.set(change.id, change.record);
        else entry.uplink.delete(change.id);
        break;
      case "received":
        if (change.record) entry.received.set(change.id, change.record);
        else entry.received.delete(change.id);
        break;
    }
    const isEmpty = entry.queued.size + entry.uplink.size + entry.received.size === 0;
    if (!entry.session && isEmpty) this.#entries.delete(change.clientId);
  }

  *states(): Generator<StoredState> {
    for (const { session, queued, uplink, received } of this.#entries.values()) {
      if (!session) continue;
      const bySeq = [...queued].sort(([a], [b]) => a - b);
      yield { session, queued: bySeq, uplink: [...uplink], received: [...received] };
    }
  }

  /** Records that belong to no session: what is left when damage took the session's own. */
  *orphans(): Generator<{ readonly clientId: string; readonly records: number }> {
    for (const [clientId, { session, queued, uplink, received }] of this.#entries) {
      if (!session) yield { clientId, records: queued.size + uplink.size + received.size };
    }
  }

  #entry(clientId: string): Entry {
    let entry = this.#entries.get(clientId);
    if (!entry) {
      entry = { session: undefined, queued: new Map(), uplink: new Map(), received: new Map() };
      this.#entries.set(clientId, entry);
    }
    return entry;
  }
}
