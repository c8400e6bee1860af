/**
 * Writes everything in a store to one file, and reads it back.
 *
 * The file begins with a line of JSON that describes it. For each record follow the lengths of its key (2 octets) and
 * value (4), the key and the value. A record without a key is the last one; SHA-256 over everything before it follows.
 * Nothing is restored from an incomplete file. An empty value removes the earlier record with the same key, which was
 * deleted while the backup was made (`redis-export.ts`).
 */
import { createHash } from "node:crypto";
import { createReadStream, existsSync, mkdirSync, renameSync } from "node:fs";
import { open, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";
import { ClassicLevel } from "classic-level";
import type { Change } from "../core/record.ts";
import { GatewayError } from "../errors.ts";
import { type Decoded, decodeRecord } from "./encoding.ts";
import { isForBackup, isOfStoreItself, nameOf, type RecordName } from "./keys.ts";
import type { Operation } from "./opening.ts";
import { dropCopy } from "./place.ts";
import type { Store } from "./store.ts";

const kind = "mqtt-sn-gateway backup";
const digestBytes = 32;
/** Octets that are sent at once. Between two such pieces, the event loop does its other work. */
const pieceBytes = 16_384;
const recordBytesMax = 64 * 1_048_576;

type Snapshot = AsyncIterable<readonly [key: string, value: Uint8Array]>;

/** The octets of the file. `writeBackup` and the control socket send them on. */
export async function* backupOctets(snapshot: Snapshot): AsyncGenerator<Uint8Array> {
  const hash = createHash("sha256");
  const head = Buffer.from(`${JSON.stringify({ kind, format: 1 })}\n`);
  hash.update(head);
  yield head;
  let records: Buffer[] = [];
  let bytes = 0;
  for await (const [key, value] of snapshot) {
    const record = recordOf(key, value);
    records.push(record);
    bytes += record.length;
    if (bytes < pieceBytes) continue;
    const piece = Buffer.concat(records);
    [records, bytes] = [[], 0];
    hash.update(piece);
    yield piece;
    await nextTurn(); // without it, everything that was read ahead would be sent in one turn of the event loop
  }
  if (records.length > 0) {
    const rest = Buffer.concat(records);
    hash.update(rest);
    yield rest;
  }
  const end = Buffer.alloc(6);
  hash.update(end);
  yield end;
  yield hash.digest();
}

function recordOf(key: string, value: Uint8Array): Buffer {
  const name = Buffer.from(key, "utf8");
  const record = Buffer.allocUnsafe(6 + name.length + value.byteLength);
  record.writeUInt16BE(name.length, 0);
  record.writeUInt32BE(value.byteLength, 2);
  name.copy(record, 6);
  record.set(value, 6 + name.length);
  return record;
}

/**
 * Writes the backup. The octets go to another file first, which is renamed at the end: an incomplete backup never has
 * the name `file`.
 */
export async function writeBackup(file: string, octets: AsyncIterable<Uint8Array>): Promise<number> {
  const unfinished = `${file}.unfinished`;
  let bytes = 0;
  try {
    const handle = await open(unfinished, "w", 0o600);
    try {
      for await (const part of octets) bytes += (await handle.writev([part])).bytesWritten;
      await handle.sync();
    } finally {
      await handle.close();
    }
    // Octets that came over a socket may be incomplete. Reading them again checks the digest.
    for await (const _ of backupRecords(unfinished));
    await rename(unfinished, file);
  } catch (error) {
    await unlink(unfinished).catch(() => undefined);
    throw error;
  }
  return bytes;
}

/**
 * Replaces a store that is not in use with a backup. The old store is moved aside.
 * @returns where the old store was moved, and the number of records
 * @throws {GatewayError} ERR_BACKUP if the file is not a complete backup, ERR_STORE_OPEN if a gateway uses the store.
 */
export async function restoreBackup(
  file: string,
  folder: string,
  /**
   * Called with the number of records so far, and their total. All records are checked first, without a total; then
   * they are written.
   */
  progress: (done: number, total?: number) => void = () => {},
): Promise<{ records: number; aside: string | undefined }> {
  let records = 0;
  for await (const _ of backupRecords(file)) progress(++records);
  let written = 0;
  const place = join(folder, "sessions");
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (existsSync(place)) await closeToOthers(place);
  const fresh = `${place}.restored-${process.pid}`;
  const database = new ClassicLevel<string, Uint8Array>(fresh, { valueEncoding: "view", errorIfExists: true });
  let batch: Operation[] = [];
  for await (const [key, value] of backupRecords(file)) {
    if (!isForBackup(key)) continue;
    batch.push(value.byteLength === 0 ? { type: "del", key } : { type: "put", key, value });
    progress(++written, records);
    if (batch.length < 1_000) continue;
    await database.batch(batch);
    batch = [];
  }
  await database.batch(batch, { sync: true });
  await database.close();
  const aside = existsSync(place) ? `${place}.before-${new Date().toISOString().replaceAll(/[:.]/g, "-")}` : undefined;
  if (aside !== undefined) renameSync(place, aside);
  renameSync(fresh, place);
  dropCopy(place);
  return { records, aside };
}

const inOneCommit = 500;

/**
 * What a record of a backup is: a change, a record of a later version, or one that concerns only the store from which
 * it came.
 */
export type Content =
  | { readonly is: "change"; readonly change: Change }
  | { readonly is: "later"; readonly what: string }
  | { readonly is: "own" };

/**
 * Checks all records of a backup, and returns their number.
 * @throws {GatewayError} ERR_BACKUP if the file is not a complete backup, or a record is invalid.
 */
export async function checkBackup(file: string, progress: (done: number) => void = () => {}): Promise<number> {
  let total = 0;
  for await (const [key, value] of backupRecords(file)) {
    const found = decodedFor(key, value);
    if (found?.is === "wrong")
      throw new GatewayError("ERR_BACKUP", { file }, { say: `${file}: the record ${key} is invalid: ${found.why}` });
    progress(++total);
  }
  return total;
}

/**
 * Each record of a file that `checkBackup` has checked, in the order of the file. If two records have the same name,
 * the later one is valid.
 */
export async function* backupContents(file: string): AsyncGenerator<Content> {
  for await (const [key, value] of backupRecords(file)) {
    const found = decodedFor(key, value);
    if (found?.is === "record") yield { is: "change", change: found.change };
    else if (found?.is === "gone") yield { is: "change", change: { ...found.name, record: undefined } as Change };
    else yield found?.is === "later" ? { is: "later", what: found.what } : { is: "own" };
  }
}

/**
 * Puts a backup into an empty store of any kind, for example to move a gateway from a disk to Redis. Returns how many
 * records the store has now, and which kinds of a later version were left out, because only a disk keeps records that
 * it cannot read.
 * @throws {GatewayError} ERR_BACKUP if the file is not a complete backup, or the store is not empty; ERR_STORE_OPEN,
 * ERR_STORE_WRITE
 */
export async function restoreInto(
  file: string,
  store: Store,
  progress: (done: number, total?: number) => void = () => {},
): Promise<{ records: number; leftOut: readonly string[] }> {
  const total = await checkBackup(file, progress);
  await store.open();
  try {
    if (!(await isEmpty(store)))
      throw new GatewayError(
        "ERR_BACKUP",
        { file },
        { say: "there are sessions in the store; give store.redis.prefix another name, or delete what is there" },
      );
    const leftOut = new Set<string>();
    let [records, read] = [0, 0];
    let changes: Change[] = [];
    for await (const content of backupContents(file)) {
      progress(++read, total);
      if (content.is === "later") leftOut.add(content.what);
      if (content.is !== "change") continue;
      if (content.change.record) records++;
      changes.push(content.change);
      if (changes.length < inOneCommit) continue;
      await committed(store, changes);
      changes = [];
    }
    await committed(store, changes);
    return { records, leftOut: [...leftOut] };
  } finally {
    await store.close();
  }
}

/** @throws {GatewayError} ERR_STORE_WRITE, ERR_STORE_EPOCH */
export function committed(store: Pick<Store, "commit">, changes: readonly Change[]): Promise<void> {
  return new Promise((done, failed) => {
    store.commit(changes, (error) => (error ? failed(error) : done()));
  });
}

/** Decodes a record of a backup; undefined: it concerns only the store from which it came. */
function decodedFor(
  key: string,
  value: Uint8Array,
): Decoded | { readonly is: "gone"; readonly name: RecordName } | undefined {
  if (!isForBackup(key) || isOfStoreItself(key)) return undefined;
  const name = nameOf(key);
  return value.byteLength === 0 && typeof name !== "string" ? { is: "gone", name } : decodeRecord(key, value);
}

async function isEmpty(store: Store): Promise<boolean> {
  const some = await Promise.all([store.sessions(undefined, 1), store.known(undefined, 1), store.letters(0, 1)]);
  return some.every(({ length }) => length === 0);
}

/** Throws if a gateway uses the store. */
async function closeToOthers(place: string): Promise<void> {
  const database = new ClassicLevel(place);
  try {
    await database.open();
    await database.close();
  } catch (cause) {
    const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : cause;
    if (!(inner instanceof Error && "code" in inner && inner.code === "LEVEL_LOCKED")) return; // damaged: moved aside
    const say = `a gateway uses ${place}: stop this gateway before you restore`;
    throw new GatewayError("ERR_STORE_OPEN", { folder: place }, { cause, say });
  }
}

/** The records of a backup file. The digest is checked at the end. */
async function* backupRecords(file: string): AsyncGenerator<readonly [key: string, value: Uint8Array]> {
  const wrong = (why: string) =>
    new GatewayError("ERR_BACKUP", { file }, { say: `${file} is not a complete backup: ${why}` });
  const hash = createHash("sha256");
  const source: AsyncIterator<Buffer> = createReadStream(file)[Symbol.asyncIterator]() as AsyncIterator<Buffer>;
  let buffered: Buffer = Buffer.alloc(0);
  const need = async (bytes: number): Promise<Buffer> => {
    const parts = [buffered];
    let have = buffered.length;
    while (have < bytes) {
      const next = await source.next();
      if (next.done) throw wrong("it ends too early");
      parts.push(next.value);
      have += next.value.length;
    }
    buffered = parts.length > 1 ? Buffer.concat(parts) : buffered;
    const taken = buffered.subarray(0, bytes);
    buffered = buffered.subarray(bytes);
    return taken;
  };
  let head = "";
  while (!head.endsWith("\n")) {
    const octet = await need(1);
    hash.update(octet);
    head += octet.toString("latin1");
    if (head.length > 1_000) throw wrong("it does not say what it is");
  }
  if (!isHead(head)) throw wrong("it does not say what it is");
  for (;;) {
    const lengths = await need(6);
    hash.update(lengths);
    const keyBytes = lengths.readUInt16BE(0);
    const valueBytes = lengths.readUInt32BE(2);
    if (keyBytes === 0) break;
    if (valueBytes > recordBytesMax) throw wrong("a record is too large");
    const body = await need(keyBytes + valueBytes);
    hash.update(body);
    yield [body.toString("utf8", 0, keyBytes), new Uint8Array(body.subarray(keyBytes))];
  }
  if (!(await need(digestBytes)).equals(hash.digest())) throw wrong("its checksum does not match");
}

function isHead(line: string): boolean {
  try {
    const head: unknown = JSON.parse(line);
    return (
      typeof head === "object" &&
      head !== null &&
      "kind" in head &&
      head.kind === kind &&
      "format" in head &&
      head.format === 1
    );
  } catch {
    return false;
  }
}
