/**
 * Reads sessions, and the records that belong to them, from LevelDB in slices.
 *
 * Keys of one kind are together, ordered by client. A slice needs one iterator for each kind: it reads the slice's
 * clients in order, and seeks past the records of other clients.
 */
import type { BacklogSummary, StoredState } from "../core/record.ts";
import type { Database } from "./database.ts";
import { decodeRecord } from "./encoding.ts";
import { isForBackup, type Kind, keyOf, nameOf, rangeOf, rangeOfClient } from "./keys.ts";
import { StateTable } from "./state-table.ts";
import type { StoredDue, StoredLetter, StoredSecure } from "./store.ts";

type Snapshot = ReturnType<Database["snapshot"]>;

const belongings = [
  "topic",
  "queued",
  "uplink",
  "received",
  "taken",
  "backlog",
  "suspect",
  "kind",
] as const satisfies readonly Kind[];
/** Octets that an iterator reads ahead. */
const readAhead = { highWaterMarkBytes: 262_144 };
const atOnce = 200;

/** What is known, so that it need not be read. */
export interface Known {
  /** Kinds of which there may be records. */
  readonly kinds: ReadonlySet<Kind>;
  /**
   * For each client: the sum of its backlog when the store was opened; false: the backlog has changed since, and has to
   * be read. Without this map all backlogs are read.
   */
  readonly sums: ReadonlyMap<string, BacklogSummary | false> | undefined;
}

export async function readSessions(
  database: Database,
  after: string | undefined,
  limit: number,
  known: Known,
): Promise<readonly StoredState[]> {
  const { gt, lt } = rangeOf("session");
  const start = after === undefined ? gt : keyOf({ of: "session", clientId: after, id: 0 });
  return withSnapshot(database, async (snapshot) => {
    const table = new StateTable();
    const clientIds: string[] = [];
    const iterator = database.iterator({ gt: start, lt, snapshot, ...readAhead });
    try {
      while (clientIds.length < limit) {
        const entries = await iterator.nextv(limit - clientIds.length);
        if (entries.length === 0) break;
        for (const [key, stored] of entries) {
          const decoded = decodeRecord(key, stored);
          if (decoded.is !== "record") continue;
          table.apply(decoded.change);
          clientIds.push(decoded.change.clientId);
        }
      }
    } finally {
      await iterator.close();
    }
    return readBelongings(database, snapshot, table, { clientIds, known });
  });
}

export async function readSession(
  database: Database,
  clientId: string,
  kinds: ReadonlySet<Kind>,
): Promise<StoredState | undefined> {
  const key = keyOf({ of: "session", clientId, id: 0 });
  return withSnapshot(database, async (snapshot) => {
    const table = new StateTable();
    const stored = await database.get(key, { snapshot });
    const decoded = stored && decodeRecord(key, stored);
    if (decoded && decoded.is !== "record") return undefined;
    if (decoded) table.apply(decoded.change);
    const [state] = await readBelongings(database, snapshot, table, {
      clientIds: [clientId],
      known: { kinds, sums: undefined },
    });
    return state;
  });
}

/** Keys of the records of shared connections, and all clients with publications under way to a broker. */
export async function readNeeded(database: Database): Promise<readonly string[]> {
  const needed = new Set<string>();
  const { gte, lt } = {
    gte: keyOf({ of: "session", clientId: "\0", id: 0 }),
    lt: keyOf({ of: "session", clientId: "\u0001", id: 0 }),
  };
  for (const range of [{ gte, lt }, rangeOf("uplink")])
    for await (const key of database.keys(range)) {
      const name = nameOf(key);
      if (typeof name !== "string") needed.add(name.clientId);
    }
  return [...needed];
}

async function withSnapshot<T>(database: Database, use: (snapshot: Snapshot) => Promise<T>): Promise<T> {
  const snapshot = database.snapshot();
  try {
    return await use(snapshot);
  } finally {
    await snapshot.close();
  }
}

async function readBelongings(
  database: Database,
  snapshot: Snapshot,
  table: StateTable,
  { clientIds, known }: { readonly clientIds: readonly string[]; readonly known: Known },
): Promise<readonly StoredState[]> {
  const { kinds, sums } = known;
  const unsummed: string[] = [];
  for (const clientId of clientIds) {
    const sum = sums ? sums.get(clientId) : false;
    if (sum) table.counted(clientId, sum);
    else if (sum === false) unsummed.push(clientId);
  }
  for (const of of belongings) {
    if (!kinds.has(of)) continue;
    const ranges = (of === "backlog" ? unsummed : clientIds).map((clientId) => rangeOfClient(of, clientId));
    ranges.sort((a, b) => (a.gte < b.gte ? -1 : 1));
    await readRanges(database, snapshot, ranges, (key, stored) => take(table, key, stored));
  }
  return clientIds.flatMap((clientId) => table.state(clientId) ?? []);
}

function take(table: StateTable, key: string, stored: Uint8Array): void {
  const decoded = decodeRecord(key, stored);
  if (decoded.is === "record") {
    const { change } = decoded;
    if (change.of === "backlog" && change.record) table.count(change.clientId, change.id, change.record);
    else table.apply(change);
    return;
  }
  const name = nameOf(key);
  if (typeof name !== "string" && name.of === "backlog") table.skip(name.clientId, name.id);
}

/** Calls `each` for all records in the ranges. `ranges` must be in the order of their keys, without overlap. */
async function readRanges(
  database: Database,
  snapshot: Snapshot,
  ranges: readonly { readonly gte: string; readonly lt: string }[],
  each: (key: string, stored: Uint8Array) => void,
): Promise<void> {
  const first = ranges[0];
  const last = ranges.at(-1);
  if (!first || !last) return;
  const iterator = database.iterator({ gte: first.gte, lt: last.lt, snapshot, ...readAhead });
  try {
    let at = 0;
    for (;;) {
      const entries = await iterator.nextv(atOnce);
      if (entries.length === 0) return;
      for (const [key, stored] of entries) {
        while (key >= (ranges[at]?.lt ?? key + key)) at++;
        const range = ranges[at];
        if (!range) return;
        if (key >= range.gte) each(key, stored);
        else {
          iterator.seek(range.gte);
          break;
        }
      }
    }
  } finally {
    await iterator.close();
  }
}

export async function readDue(database: Database, before: number, limit: number): Promise<readonly StoredDue[]> {
  let soonest: StoredDue[] = [];
  const cut = () => {
    soonest = soonest.sort((a, b) => a.due - b.due).slice(0, limit);
  };
  for await (const [key, stored] of database.iterator({ ...rangeOf("queued"), ...readAhead })) {
    const decoded = decodeRecord(key, stored);
    if (decoded.is !== "record" || decoded.change.of !== "queued") continue;
    const { clientId, id: seq, record } = decoded.change;
    if (record?.due === undefined || record.due >= before) continue;
    soonest.push({ clientId, seq, due: record.due });
    if (soonest.length > 2 * limit + 1_000) cut();
  }
  cut();
  return soonest;
}

export async function readKnown(
  database: Database,
  after: string | undefined,
  limit: number,
): Promise<readonly string[]> {
  const { gt, lt } = rangeOf("known");
  const start = after === undefined ? gt : keyOf({ of: "known", clientId: after, id: 0 });
  const keys = await database.keys({ gt: start, lt, limit }).all();
  return keys.map((key) => {
    const name = nameOf(key);
    return typeof name === "string" ? "" : name.clientId;
  });
}

/** Reads the records of transports about their devices' encryption. `after` is a complete name. */
export async function readSecure(
  database: Database,
  after: string | undefined,
  limit: number,
): Promise<readonly StoredSecure[]> {
  const { gt, lt } = rangeOf("secure");
  const start = after === undefined ? gt : keyOf({ of: "secure", clientId: after, id: 0 });
  const found: StoredSecure[] = [];
  for await (const [key, stored] of database.iterator({ gt: start, lt, limit, ...readAhead })) {
    const decoded = decodeRecord(key, stored);
    const name = nameOf(key);
    if (typeof name === "string") continue;
    const isRecord = decoded.is === "record" && decoded.change.of === "secure" && decoded.change.record;
    found.push({ name: name.clientId, state: isRecord ? isRecord.state : new Uint8Array(0) });
  }
  return found;
}

/**
 * Reads dead letters, ordered by number. Their keys are ordered by client, so all keys are read, but only the records
 * that are needed.
 */
export async function readLetters(database: Database, after: number, limit: number): Promise<readonly StoredLetter[]> {
  const wanted: { readonly id: number; readonly key: string }[] = [];
  for await (const key of database.keys(rangeOf("letter"))) {
    const name = nameOf(key);
    if (typeof name !== "string" && name.id > after) wanted.push({ id: name.id, key });
  }
  wanted.sort((a, b) => a.id - b.id);
  const letters: StoredLetter[] = [];
  for (const { id, key } of wanted) {
    if (letters.length >= limit) break;
    const stored = await database.get(key);
    const decoded = stored && decodeRecord(key, stored);
    if (decoded?.is !== "record" || decoded.change.of !== "letter" || !decoded.change.record) continue;
    letters.push({ id, clientId: decoded.change.clientId, record: decoded.change.record });
  }
  return letters;
}

/** Octets that a backup reads ahead. All of them become records in one turn of the event loop. */
const backupAhead = 32_768;

/** All records as they were at the call, ordered by key. */
export function readForBackup(database: Database): AsyncGenerator<[string, Uint8Array]> {
  return forBackup(database.iterator({ highWaterMarkBytes: backupAhead }));
}

async function* forBackup(entries: AsyncIterable<[string, Uint8Array]>): AsyncGenerator<[string, Uint8Array]> {
  for await (const entry of entries) if (isForBackup(entry[0])) yield entry;
}
