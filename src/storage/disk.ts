/**
 * Sessions on disk, by LevelDB: a log that is only appended to, which is easy on SD cards. Commits that come while one
 * is being written are written together, with one flush of the disk (group commit).
 *
 * Damage is never silent. Every record carries a checksum; every commit leaves a numbered mark, and a gap in the numbers
 * at the start means that commits are missing. A store that does not open is copied aside, repaired and opened; if that
 * fails too, a new one is begun beside it.
 */
import { mkdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { BacklogRecord, Change, StoredState } from "../core/record.ts";
import { GatewayError } from "../errors.ts";
import {
  ailmentOf,
  closeQuietly,
  codeOf,
  type Database,
  FolderSync,
  messageOf,
  openOrRepair,
  syncFolder,
} from "./database.ts";
import { decodeRecord, encodeRecord } from "./encoding.ts";
import type { StoreOptions } from "./options.ts";
import { StateTable } from "./state-table.ts";
import type { Fetched, Store, StoredLetter, StoreReport } from "./store.ts";

/** Marks kept; a log of LevelDB holds fewer commits. */
const marksKept = 20_000;
const reopenPauseMs = 1_000;
const kinds = {
  session: "s",
  queued: "q",
  uplink: "u",
  received: "r",
  taken: "t",
  backlog: "b",
  known: "k",
  letter: "d",
  suspect: "v",
  kind: "w",
} as const;
/** All that belongs to sessions and is read at the start. */
const sessionKeys = { gte: "q", lt: "x" } as const;
const backlogKeys = { gte: "b", lt: "c" } as const;
const letterKeys = { gte: "d", lt: "e" } as const;
const knownKeys = { gte: "k", lt: "l" } as const;
const kindOf = new Map<string, Change["of"]>(Object.entries(kinds).map(([of, letter]) => [letter, of as Change["of"]]));
const format = 1;
/** There while a store without flushing is open. */
const openKey = "open";

/** A commit, or (without changes) a read that sees all commits before it. */
interface Waiting {
  readonly changes: readonly Change[] | undefined;
  readonly done: (error: GatewayError | undefined) => void;
}

type Operation = { type: "put"; key: string; value: Uint8Array } | { type: "del"; key: string };

export class DiskStore implements Store {
  readonly #options: StoreOptions;
  readonly #folder: string;
  #database: Database | undefined;
  #commit = 0;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  /** Changes of commits that failed, the latest per key: they go with the next one. */
  readonly #owed = new Map<string, Operation>();
  #closed = false;
  #reopenAt = 0;
  readonly #names: FolderSync;
  readonly #told: (notice: string) => void;
  readonly #boot: string;

  /** `told` hears what is found while running, in plain sentences; `boot` names this run of the system. */
  constructor(options: StoreOptions, told: (notice: string) => void = () => {}, boot = bootOfSystem()) {
    this.#options = options;
    this.#folder = join(options.folder, "sessions");
    this.#names = new FolderSync(this.#folder);
    this.#told = told;
    this.#boot = boot;
  }

  async open(): Promise<StoreReport> {
    const notices: string[] = [];
    try {
      makeFolder(resolve(this.#folder));
      await this.#openDatabase(notices);
      for (const folder of [this.#options.folder, dirname(resolve(this.#options.folder))]) await syncFolder(folder);
    } catch (error) {
      await this.#shut();
      throw error instanceof GatewayError ? error : this.#openError(error);
    }
    return { notices };
  }

  /** Opened, repaired if need be, and looked through. */
  async #openDatabase(notices: string[]): Promise<void> {
    const found = await openOrRepair(this.#folder, notices, async (database) => {
      this.#database = database;
      await this.#checkFormat();
      return [...(await this.#check()), ...(await this.#beginLife(database))];
    });
    notices.push(...found);
    await this.#names.sync();
  }

  /**
   * Without flushing, a power cut takes the last commits and leaves no gap. So it is noted that the store is open, and
   * during which run of the system.
   */
  async #beginLife(database: Database): Promise<string[]> {
    const stored = await database.get(openKey);
    const before = stored === undefined ? undefined : decodeRecord(stored)?.record;
    if (this.#options.durability !== "none") {
      if (stored !== undefined) await database.del(openKey, { sync: true });
    } else await database.put(openKey, encodeRecord(this.#boot, 0), { sync: true });
    if (before === undefined || before === this.#boot) return [];
    return [
      "the system went down while the store was open with durability none: " +
        "what was acknowledged in its last half minute may be lost",
    ];
  }

  commit(changes: readonly Change[], done: (error: GatewayError | undefined) => void): void {
    this.#waiting.push({ changes, done });
    this.#writing ??= this.#writeAll();
  }

  async *all(): AsyncIterable<StoredState> {
    const { table } = await this.#read();
    yield* table.states();
  }

  async known(): Promise<readonly string[]> {
    const keys = await this.#open().keys(knownKeys).all();
    return keys.map((key) => decodeURIComponent(key.slice(1)));
  }

  async letters(): Promise<readonly StoredLetter[]> {
    const letters: StoredLetter[] = [];
    for await (const [key, stored] of this.#open().iterator(letterKeys)) {
      const change = changeOf(key, decodeRecord(stored)?.record);
      if (change?.of === "letter" && change.record)
        letters.push({ id: change.id, clientId: change.clientId, record: change.record });
    }
    return letters.sort((a, b) => a.id - b.id);
  }

  /** LevelDB's iterators see the moment they were made, and a commit is all there or not at all. */
  snapshot(): AsyncIterable<readonly [key: string, value: Uint8Array]> {
    return this.#open().iterator({ highWaterMarkBytes: 262_144 });
  }

  fetch(clientId: string, from: number, limit: number, done: Fetched): void {
    this.#waiting.push({
      changes: undefined,
      done: (error) => {
        if (error) done([], error);
        else void this.#fetch(clientId, from, limit, done);
      },
    });
    this.#writing ??= this.#writeAll();
  }

  async #fetch(clientId: string, from: number, limit: number, done: Fetched): Promise<void> {
    const range = {
      gte: keyOf({ of: "backlog", clientId, id: from }),
      lt: `${kinds.backlog}${encodeURIComponent(clientId)}0`,
    };
    let found: [string, Uint8Array][];
    try {
      found = await this.#open()
        .iterator({ ...range, limit })
        .all();
    } catch (error) {
      return done([], new GatewayError("ERR_STORE_OPEN", { folder: this.#folder }, { cause: error }));
    }
    const entries: [number, BacklogRecord][] = [];
    for (const [key, stored] of found) {
      const change = changeOf(key, decodeRecord(stored)?.record);
      if (change?.of === "backlog" && change.record) entries.push([change.id, change.record]);
    }
    done(entries, undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
    while (this.#writing) await this.#writing;
    if (this.#options.durability === "none") await this.#database?.del(openKey, { sync: true }).catch(() => {});
    await this.#database?.close();
    this.#database = undefined;
  }

  async #writeAll(): Promise<void> {
    // What else this turn of the event loop has to commit goes along; on a slow card a little more.
    await new Promise((resolve) =>
      this.#options.durability === "group" && this.#options.groupMilliseconds > 0
        ? setTimeout(resolve, this.#options.groupMilliseconds)
        : setImmediate(resolve),
    );
    while (this.#waiting.length > 0) {
      const batch = this.#options.durability === "each" ? this.#waiting.splice(0, 1) : this.#waiting.splice(0);
      const error = batch.some(({ changes }) => changes) ? await this.#write(batch) : undefined;
      for (const { done } of batch) done(error);
    }
    this.#writing = undefined;
  }

  async #write(batch: readonly Waiting[]): Promise<GatewayError | undefined> {
    const number = ++this.#commit;
    const operations = new Map(this.#owed);
    for (const { changes } of batch) {
      for (const change of changes ?? []) {
        const key = keyOf(change);
        if (change.record === undefined) operations.set(key, { type: "del", key });
        else operations.set(key, { type: "put", key, value: encodeRecord(change.record, number) });
      }
    }
    try {
      const database = await this.#writable();
      const sync = this.#options.durability !== "none";
      // One operation after the other: an array of them would be copied, checked and read twice, at ten times the cost.
      const all = database.batch();
      for (const operation of operations.values()) {
        if (operation.type === "put") all.put(operation.key, operation.value);
        else all.del(operation.key);
      }
      all.put(markKey(number), encodeRecord(null, number));
      if (number > marksKept) all.del(markKey(number - marksKept));
      await all.write({ sync });
      if (sync) await this.#names.sync();
      this.#owed.clear();
      return undefined;
    } catch (error) {
      this.#commit--;
      for (const [key, operation] of operations) this.#owed.set(key, operation);
      await this.#shut(); // LevelDB takes no writes after a failed one, until it is opened again
      return new GatewayError("ERR_STORE_WRITE", { folder: this.#folder }, { cause: error, say: sayWrite(error) });
    }
  }

  async #writable(): Promise<Database> {
    if (this.#database) return this.#database;
    if (Date.now() < this.#reopenAt)
      throw new Error("the store is closed after a failed write; it is tried again soon");
    this.#reopenAt = Date.now() + reopenPauseMs;
    const notices: string[] = [];
    this.#database = await openOrRepair(this.#folder, notices, async (database) => database);
    for (const notice of notices) this.#told(notice);
    return this.#database;
  }

  async #shut(): Promise<void> {
    const database = this.#database;
    this.#database = undefined;
    await closeQuietly(database);
  }

  #open(): Database {
    if (!this.#database || this.#closed) throw new GatewayError("ERR_STORE_OPEN", { folder: this.#folder });
    return this.#database;
  }

  async #checkFormat(): Promise<void> {
    const database = this.#open();
    const stored = await database.get("format");
    if (stored === undefined) return database.put("format", encodeRecord(format, 0), { sync: true });
    const found = decodeRecord(stored)?.record;
    if (typeof found !== "number" || found <= format) return;
    throw new GatewayError(
      "ERR_STORE_OPEN",
      { folder: this.#folder, format: found },
      {
        say: `the store at ${this.#folder} was written by a later version (format ${found}); this one reads up to ${format}`,
      },
    );
  }

  /** Looks at every record once: drops damaged ones, finds missing commits. */
  async #check(): Promise<string[]> {
    const database = this.#open();
    const { table, damaged, latest } = await this.#read();
    const marks: number[] = [];
    for await (const key of database.keys({ gte: "c", lt: "d" })) marks.push(Number(key.slice(1)));
    const last = marks.at(-1) ?? 0;
    let missing = Math.max(0, latest - last);
    for (const [i, mark] of marks.entries()) if (i > 0) missing += mark - (marks[i - 1] ?? mark) - 1;
    this.#commit = Math.max(last, latest);
    const orphans = [...table.orphans()];
    const repairs: Operation[] = damaged.map((key) => ({ type: "del", key }));
    if (missing > 0) {
      // The gap is told once: the marks begin anew.
      for (const mark of marks) repairs.push({ type: "del", key: markKey(mark) });
      this.#commit++;
      repairs.push({ type: "put", key: markKey(this.#commit), value: encodeRecord(null, this.#commit) });
    }
    if (repairs.length > 0) await database.batch(repairs, { sync: true });
    const notices: string[] = [];
    if (damaged.length > 0) notices.push(`${damaged.length} records were damaged and are gone`);
    if (missing > 0) notices.push(`${missing} commits are missing: messages or sessions of that time may be lost`);
    for (const { clientId, records } of orphans) {
      notices.push(`the session of ${clientId} is gone, with ${records} records that belonged to it`);
    }
    return notices;
  }

  /** Every record once; of backlogs only the sums stay. */
  async #read(): Promise<{ table: StateTable; damaged: string[]; latest: number }> {
    const table = new StateTable();
    const damaged: string[] = [];
    let latest = 0;
    for (const range of [sessionKeys, backlogKeys]) {
      for await (const [key, stored] of this.#open().iterator({ ...range, highWaterMarkBytes: 262_144 })) {
        const decoded = decodeRecord(stored);
        const change = decoded && changeOf(key, decoded.record);
        if (!decoded || !change) {
          damaged.push(key);
          continue;
        }
        latest = Math.max(latest, decoded.commit);
        if (change.of === "backlog" && change.record) table.count(change.clientId, change.id, change.record);
        else table.apply(change);
      }
    }
    return { table, damaged, latest };
  }

  #openError(cause: unknown): GatewayError {
    const ailment = ailmentOf(cause);
    const isLocked = ailment === "locked";
    const say = isLocked
      ? `another process uses the store at ${this.#folder}; each gateway needs a store.folder of its own`
      : `the store at ${this.#folder} cannot be opened: ${messageOf(cause)}`;
    return new GatewayError("ERR_STORE_OPEN", { folder: this.#folder, code: codeOf(cause), ailment }, { cause, say });
  }
}

function keyOf(change: Pick<Change, "of" | "clientId" | "id">): string {
  const id = change.of === "session" || change.of === "known" ? "" : `/${change.id.toString(16).padStart(12, "0")}`;
  return `${kinds[change.of]}${encodeURIComponent(change.clientId)}${id}`;
}

/** Back from key and record; undefined where they make no sense. */
function changeOf(key: string, record: unknown): Change | undefined {
  const of = kindOf.get(key.charAt(0));
  if (!of || typeof record !== "object" || record === null || !("v" in record)) return undefined;
  const [name = "", id = "0"] = key.slice(1).split("/");
  return { of, clientId: decodeURIComponent(name), id: Number.parseInt(id, 16), record } as Change;
}

function markKey(commit: number): string {
  return `c${commit.toString().padStart(16, "0")}`;
}

/** Changes with every start of the system; where that is not told, with every start of ours. */
function bootOfSystem(): string {
  try {
    return readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim();
  } catch {
    return `${process.pid} at ${Date.now()}`;
  }
}

function sayWrite(error: unknown): string {
  return `the store could not be written: ${messageOf(error)}; what it promised is not promised`;
}

/** With what is missing above it. Node's own `recursive` says ENOENT where a file system is read-only. */
function makeFolder(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const code = codeOf(error);
    if (code === "EEXIST" && statSync(path).isDirectory()) return;
    if (code !== "ENOENT" || dirname(path) === path) throw error;
    makeFolder(dirname(path));
    mkdirSync(path, { mode: 0o700 });
  }
}
