/** Puts records together that belong to one session, in whatever order they come. */
import type {
  BacklogRecord,
  BacklogSummary,
  Change,
  KindRecord,
  LetterRecord,
  QueuedRecord,
  ReceivedRecord,
  SessionRecord,
  StoredState,
  SuspectRecord,
  TakenRecord,
  UplinkRecord,
} from "../core/record.ts";

interface Entry {
  session: SessionRecord | undefined;
  readonly queued: Map<number, QueuedRecord>;
  readonly uplink: Map<number, UplinkRecord>;
  readonly received: Map<number, ReceivedRecord>;
  readonly taken: Map<number, TakenRecord>;
  readonly suspects: Map<number, SuspectRecord>;
  readonly kinds: Map<number, KindRecord>;
  /** Where the records themselves are kept here. */
  readonly backlog: Map<number, BacklogRecord>;
  /** Where only their sum is. */
  sum: BacklogSummary | undefined;
}

export class StateTable {
  readonly #entries = new Map<string, Entry>();
  /** Clients that the broker has accepted. */
  readonly known = new Set<string>();

  readonly letters = new Map<number, readonly [clientId: string, record: LetterRecord]>();

  apply(change: Change): void {
    if (change.of === "known") {
      if (change.record) this.known.add(change.clientId);
      else this.known.delete(change.clientId);
      return;
    }
    if (change.of === "letter") {
      if (change.record) this.letters.set(change.id, [change.clientId, change.record]);
      else this.letters.delete(change.id);
      return;
    }
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
      case "taken":
        if (change.record) entry.taken.set(change.id, change.record);
        else entry.taken.delete(change.id);
        break;
      case "suspect":
        if (change.record) entry.suspects.set(change.id, change.record);
        else entry.suspects.delete(change.id);
        break;
      case "kind":
        if (change.record) entry.kinds.set(change.id, change.record);
        else entry.kinds.delete(change.id);
        break;
      case "backlog":
        if (change.record) entry.backlog.set(change.id, change.record);
        else entry.backlog.delete(change.id);
        break;
    }
    if (!entry.session && size(entry) + entry.suspects.size + entry.kinds.size === 0)
      this.#entries.delete(change.clientId);
  }

  /** Counts a backlog record that stays where it is. */
  count(clientId: string, id: number, record: BacklogRecord): void {
    const entry = this.#entry(clientId);
    const { count, octets, first, last } = entry.sum ?? { count: 0, octets: 0, first: id, last: id };
    entry.sum = {
      count: count + 1,
      octets: octets + octetsOf(record),
      first: Math.min(first, id),
      last: Math.max(last, id),
    };
  }

  *states(): Generator<StoredState> {
    for (const [clientId, entry] of this.#entries) {
      const { session, queued, uplink, received, taken } = entry;
      const backlog = entry.sum ?? summaryOf(entry.backlog);
      // What was accepted goes to the broker, also where damage took the session.
      const isOwed = backlog !== undefined || uplink.size > 0;
      if (!session && !isOwed) continue;
      const bySeq = [...queued].sort(([a], [b]) => a - b);
      yield {
        session: session ?? nobody(clientId),
        queued: bySeq,
        uplink: [...uplink],
        received: [...received],
        taken: [...taken],
        backlog,
        suspects: [...entry.suspects],
        kinds: [...entry.kinds],
      };
    }
  }

  /** Backlog records kept here, in order. */
  read(clientId: string, from: number, limit: number): (readonly [number, BacklogRecord])[] {
    const all = [...(this.#entries.get(clientId)?.backlog ?? [])].filter(([id]) => id >= from);
    return all.sort(([a], [b]) => a - b).slice(0, limit);
  }

  /** Records that belong to no session: what is left when damage took the session's own. */
  *orphans(): Generator<{ readonly clientId: string; readonly records: number }> {
    for (const [clientId, entry] of this.#entries) {
      if (!entry.session && size(entry) > 0) yield { clientId, records: size(entry) };
    }
  }

  #entry(clientId: string): Entry {
    let entry = this.#entries.get(clientId);
    if (!entry) {
      entry = {
        session: undefined,
        queued: new Map(),
        uplink: new Map(),
        received: new Map(),
        taken: new Map(),
        suspects: new Map(),
        kinds: new Map(),
        backlog: new Map(),
        sum: undefined,
      };
      this.#entries.set(clientId, entry);
    }
    return entry;
  }
}

/** What belongs to a session; what was learnt of packets (suspects, kinds) is no loss without one. */
function size({ queued, uplink, received, taken, backlog, sum }: Entry): number {
  return queued.size + uplink.size + received.size + taken.size + backlog.size + (sum?.count ?? 0);
}

function summaryOf(backlog: ReadonlyMap<number, BacklogRecord>): BacklogSummary | undefined {
  if (backlog.size === 0) return undefined;
  let octets = 0;
  let first = Number.POSITIVE_INFINITY;
  let last = 0;
  for (const [id, record] of backlog) {
    octets += octetsOf(record);
    first = Math.min(first, id);
    last = Math.max(last, id);
  }
  return { count: backlog.size, octets, first, last };
}

function octetsOf({ publication }: BacklogRecord): number {
  return publication.payload.byteLength + publication.topicName.length;
}

/** Stands in for a session whose record is gone. */
function nobody(clientId: string): SessionRecord {
  return {
    v: 1,
    clientId,
    peer: undefined,
    state: "disconnected",
    clean: true,
    keepAliveSeconds: 0,
    sleepSeconds: 0,
    farewell: false,
    will: undefined,
    brokerWill: undefined,
    topics: [],
    nextTopicId: 1,
    subscriptions: [],
  };
}
