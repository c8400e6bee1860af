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

/** Records by their numbers. Undefined: there were none. Most sessions that sleep have none of most kinds. */
type Records<Of> = Map<number, Of> | undefined;

interface Entry {
  session: SessionRecord | undefined;
  topics: Records<TopicRecord>;
  queued: Records<QueuedRecord>;
  uplink: Records<UplinkRecord>;
  received: Records<ReceivedRecord>;
  taken: Records<TakenRecord>;
  suspects: Records<SuspectRecord>;
  kinds: Records<KindRecord>;
  /** The records of the backlog, if they are kept here. */
  backlog: Records<BacklogRecord>;
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
        entry.topics = changed(entry.topics, change.id, change.record);
        break;
      case "queued":
        entry.queued = changed(entry.queued, change.id, change.record);
        break;
      case "uplink":
        entry.uplink = changed(entry.uplink, change.id, change.record);
        break;
      case "received":
        entry.received = changed(entry.received, change.id, change.record);
        break;
      case "taken":
        entry.taken = changed(entry.taken, change.id, change.record);
        break;
      case "suspect":
        entry.suspects = changed(entry.suspects, change.id, change.record);
        break;
      case "kind":
        entry.kinds = changed(entry.kinds, change.id, change.record);
        break;
      case "backlog":
        entry.backlog = changed(entry.backlog, change.id, change.record);
        break;
    }
    const { topics, suspects, kinds } = entry;
    if (!entry.session && size(entry) + (topics?.size ?? 0) + (suspects?.size ?? 0) + (kinds?.size ?? 0) === 0)
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
    return { session: session ?? standIn(clientId, (queued?.size ?? 0) > 0), ...state };
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
        topics: undefined,
        queued: undefined,
        uplink: undefined,
        received: undefined,
        taken: undefined,
        suspects: undefined,
        kinds: undefined,
        backlog: undefined,
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
  let count = sum?.count ?? 0;
  for (const records of [queued, uplink, received, taken, backlog]) count += records?.size ?? 0;
  return count;
}

function changed<Of>(records: Records<Of>, id: number, record: Of | undefined): Records<Of> {
  if (record) return (records ?? new Map<number, Of>()).set(id, record);
  records?.delete(id);
  return records;
}

function byNumber<Of>(records: Records<Of>): (readonly [number, Of])[] {
  return records ? [...records].sort(([a], [b]) => a - b) : [];
}

function summaryOf(backlog: Records<BacklogRecord>): BacklogSummary | undefined {
  if (!backlog || backlog.size === 0) return undefined;
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
