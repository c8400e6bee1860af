/** Collects the records of each session, in any order. */
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
  TopicRecord,
  UplinkRecord,
} from "../core/record.ts";
import type { PublicationMeta } from "../core/types.ts";

interface Entry {
  session: SessionRecord | undefined;
  readonly topics: Map<number, TopicRecord>;
  readonly queued: Map<number, QueuedRecord>;
  readonly uplink: Map<number, UplinkRecord>;
  readonly received: Map<number, ReceivedRecord>;
  readonly taken: Map<number, TakenRecord>;
  readonly suspects: Map<number, SuspectRecord>;
  readonly kinds: Map<number, KindRecord>;
  /** The records of the backlog, if they are kept here. */
  readonly backlog: Map<number, BacklogRecord>;
  /** The sum of the backlog, if its records are not kept here. */
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
    if (change.of === "secure") return; // not part of a session
    const entry = this.#entry(change.clientId);
    switch (change.of) {
      case "session":
        entry.session = change.record;
        break;
      case "topic":
        if (change.record) entry.topics.set(change.id, change.record);
        else entry.topics.delete(change.id);
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
    if (!entry.session && size(entry) + entry.topics.size + entry.suspects.size + entry.kinds.size === 0)
      this.#entries.delete(change.clientId);
  }

  /** Counts a backlog record that is not kept here. */
  count(clientId: string, id: number, record: BacklogRecord): void {
    this.#add(clientId, id, 1, octetsOf(record));
  }

  /** Tells that a number is in use by a backlog record that this version cannot read. */
  skip(clientId: string, id: number): void {
    this.#add(clientId, id, 0, 0);
  }

  /** Sets the sum of a backlog that was counted elsewhere and is not kept here. */
  counted(clientId: string, sum: BacklogSummary): void {
    this.#entry(clientId).sum = sum;
  }

  #add(clientId: string, id: number, records: 0 | 1, bytes: number): void {
    const entry = this.#entry(clientId);
    const { count, octets, first, last } = entry.sum ?? { count: 0, octets: 0, first: id, last: id };
    entry.sum = {
      count: count + records,
      octets: octets + bytes,
      first: Math.min(first, id),
      last: Math.max(last, id),
    };
  }

  *states(): Generator<StoredState> {
    for (const clientId of this.#entries.keys()) {
      const state = this.state(clientId);
      if (state) yield state;
    }
  }

  state(clientId: string): StoredState | undefined {
    const entry = this.#entries.get(clientId);
    if (!entry || (!entry.session && size(entry) === 0)) return undefined;
    const { session, queued, uplink, received, taken } = entry;
    const byNumber = <Record>(records: ReadonlyMap<number, Record>) => [...records].sort(([a], [b]) => a - b);
    const state = {
      topics: byNumber(entry.topics),
      queued: byNumber(queued),
      uplink: byNumber(uplink),
      received: byNumber(received),
      taken: byNumber(taken),
      backlog: entry.sum ?? summaryOf(entry.backlog),
      suspects: byNumber(entry.suspects),
      kinds: byNumber(entry.kinds),
    };
    return { session: session ?? standIn(clientId, queued.size > 0), ...state };
  }

  /** Up to `limit` sessions behind `after`, in the order of their names. */
  slice(after: string | undefined, limit: number): StoredState[] {
    return behind(this.#entries.keys(), after, limit).flatMap((clientId) => this.state(clientId) ?? []);
  }

  /** Backlog records that are kept here, in order. */
  read(clientId: string, from: number, limit: number): (readonly [number, BacklogRecord])[] {
    const all = [...(this.#entries.get(clientId)?.backlog ?? [])].filter(([id]) => id >= from);
    return all.sort(([a], [b]) => a - b).slice(0, limit);
  }

  #entry(clientId: string): Entry {
    let entry = this.#entries.get(clientId);
    if (!entry) {
      entry = {
        session: undefined,
        topics: new Map(),
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

/**
 * The number of records that need the session. Topic ids and what was learnt about packets (suspects, kinds) do not
 * count: without the session they are not needed.
 */
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

/** As the core's `backlogBytes`, without the fixed share of each record. A test compares the two. */
export function octetsOf({ publication: { topicName, payload, meta } }: BacklogRecord): number {
  return payload.byteLength + topicName.length + (meta ? metaOctets(meta) : 0);
}

function metaOctets(meta: PublicationMeta): number {
  const { originAt, userProperties = [], contentType, responseTopic, correlationData } = meta;
  const sizes = [0, 0, ...userProperties.map(([name, value]) => name.length + value.length)];
  if (originAt !== undefined) sizes.push("accepted2026-01-01T00:00:00.000Z".length);
  if (contentType !== undefined) sizes.push(contentType.length);
  if (responseTopic !== undefined) sizes.push(responseTopic.length);
  if (correlationData !== undefined) sizes.push(correlationData.byteLength);
  return sizes.reduce((sum, size) => sum + size + 5, 0);
}

/** Up to `limit` of these names that follow `after`, in order. */
export function behind(names: Iterable<string>, after: string | undefined, limit: number): string[] {
  const rest = after === undefined ? [...names] : [...names].filter((name) => name > after);
  return rest.sort((a, b) => (a < b ? -1 : 1)).slice(0, limit);
}

/**
 * Replaces a session whose record is missing: publications for the broker are sent, and messages for the client (`isAwaited`) are delivered
 * when it returns and asks for its old session.
 */
export function standIn(clientId: string, isAwaited: boolean): SessionRecord {
  return {
    clientId,
    peer: undefined,
    state: "disconnected",
    clean: !isAwaited,
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
