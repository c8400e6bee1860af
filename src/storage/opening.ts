/** Opening a database: checks if this version may read it, checks its records, and repairs what is wrong. */
import { readFileSync } from "node:fs";
import { GatewayError } from "../errors.ts";
import type { Database } from "./database.ts";
import { decodeRecord, decodeValue, encodeRecord, encodeValue, type Form, isPacked } from "./encoding.ts";
import { commitMax, epochKey, formatKey, keyOf, markKey } from "./keys.ts";
import { type Findings, lookThrough, noticesOf } from "./look-through.ts";
import { standIn } from "./state-table.ts";
import type { StoreReport } from "./store.ts";

/**
 * The form of the records in the database. 1: none is packed, and all releases can read it. 2: some may be packed. The
 * versions of records are independent of it (records.ts).
 */
const formats = { plain: 1, packed: 2 } as const;
/** Repairs that are written at once. */
const repairsAtOnce = 1_000;

export type Operation =
  | { readonly type: "put"; readonly key: string; readonly value: Uint8Array }
  | { readonly type: "del"; readonly key: string };

/**
 * Stores the format before any record is written in it. Packed records are made plain if `store.records` says so.
 * @throws {GatewayError} ERR_STORE_OPEN if a later version wrote the store, which is then left unchanged.
 */
export async function checkFormat(database: Database, folder: string, form: Form): Promise<void> {
  const stored = await database.get(formatKey);
  const found = stored && decodeValue(stored)?.value;
  const wanted = formats[form];
  if (found === wanted) return;
  if (typeof found !== "number" || found <= formats.packed) {
    if (form === "plain") await makePlain(database);
    return database.put(formatKey, encodeValue(wanted, 0), { sync: true });
  }
  const say = `the store at ${folder} was written by a later version (format ${found}); this one reads up to ${formats.packed}`;
  throw new GatewayError("ERR_STORE_OPEN", { folder, format: found }, { say });
}

/**
 * If this is interrupted, the next start continues: until all records are plain, the stored format says that some are
 * packed.
 */
async function makePlain(database: Database): Promise<void> {
  let batch: Operation[] = [];
  for await (const [key, stored] of database.iterator({ highWaterMarkBytes: 262_144 })) {
    if (!isPacked(stored)) continue;
    const decoded = decodeRecord(key, stored);
    if (decoded.is !== "record") continue;
    batch.push({ type: "put", key, value: encodeRecord(decoded.change, decoded.commit) });
    if (batch.length < repairsAtOnce) continue;
    await database.batch(batch);
    batch = [];
  }
  await database.batch(batch, { sync: true });
}

export async function storedEpoch(database: Database): Promise<number> {
  const stored = await database.get(epochKey);
  const epoch = stored && decodeValue(stored)?.value;
  return typeof epoch === "number" ? epoch : 0;
}

export interface Checked extends StoreReport, Pick<Findings, "kinds" | "backlogs" | "active"> {
  /** The number of the last commit. */
  readonly commit: number;
}

const readAtOnce = 1_000;

/** All records, in batches. The event loop does its other work between two batches. */
async function* inBatches(database: Database): AsyncGenerator<[string, Buffer][]> {
  const iterator = database.iterator<string, Buffer>({
    valueEncoding: "buffer",
    highWaterMarkBytes: 262_144,
    fillCache: false,
  });
  try {
    for (;;) {
      const some = await iterator.nextv(readAtOnce);
      if (some.length === 0) return;
      yield some;
    }
  } finally {
    await iterator.close();
  }
}

/**
 * Checks every record once: removes invalid ones, finds missing commits, and gives a new session to records whose
 * session is missing.
 */
export async function checkRecords(
  database: Database,
  form: Form,
  progress: (records: number) => void = () => {},
): Promise<Checked> {
  const findings = await lookThrough(inBatches(database), progress);
  const { wrong, withoutSession, marks, latest, highest, kinds, backlogs, active } = findings;
  const last = marks.at(-1) ?? 0;
  let missing = Math.max(0, latest - last);
  for (const [i, mark] of marks.entries()) if (i > 0) missing += mark - (marks[i - 1] ?? mark) - 1;
  let commit = Math.max(last, latest);
  const repairs: Operation[] = wrong.map(({ key }) => ({ type: "del", key }));
  for (const [clientId, { isAwaited }] of withoutSession) {
    const change = { of: "session", clientId, id: 0, record: standIn(clientId, isAwaited) } as const;
    repairs.push({ type: "put", key: keyOf(change), value: encodeRecord(change, commit, form) });
  }
  if (missing > 0) {
    // The gap is reported once: the numbers of the marks begin again after it.
    for (const mark of marks) repairs.push({ type: "del", key: markKey(mark) });
    commit = Math.min(commit + 1, commitMax);
    repairs.push({ type: "put", key: markKey(commit), value: encodeValue(null, commit) });
  }
  for (let at = 0; at < repairs.length; at += repairsAtOnce)
    await database.batch(repairs.slice(at, at + repairsAtOnce), { sync: true });
  return { notices: noticesOf(findings, missing), highest, commit, kinds, backlogs, active };
}

/**
 * An identifier that changes at each start of the system. If the system does not tell it, it changes at each start of
 * this process.
 */
export function bootOfSystem(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return `${process.pid} at ${Date.now()}`;
  }
}
