/**
 * Sessions on disk, by LevelDB: its log is only appended to, which wears SD cards little. Commits that come while
 * another one is written are written together, with one flush of the disk (group commit).
 *
 * Damage is always reported. Each record has a checksum. Each commit leaves a mark with its number, and a gap in the
 * numbers at the start means that commits are missing. If a store cannot be opened, its folder is copied aside,
 * repaired and opened again; if this fails too, a new store is begun beside it.
 */
import { dirname, join, resolve } from "node:path";
import type { BacklogRecord, BacklogSummary, Change, StoredState } from "../core/record.ts";
import { GatewayError } from "../errors.ts";
import {
  ailmentOf,
  closeQuietly,
  codeOf,
  type Database,
  FolderSync,
  makeFolder,
  messageOf,
  openDatabase,
  openOrRepair,
  syncFolder,
} from "./database.ts";
import { decodeRecord, decodeValue, encodeRecord, encodeValue } from "./encoding.ts";
import { commitMax, epochKey, type Kind, keyOf, markKey, openKey, rangeOf, rangeOfClient } from "./keys.ts";
import { bootOfSystem, checkFormat, checkRecords, storedEpoch } from "./opening.ts";
import type { StoreOptions } from "./options.ts";
import { Place, putInPlace, saveCopy, type Whereabouts } from "./place.ts";
import {
  readDue,
  readForBackup,
  readKnown,
  readLetters,
  readNeeded,
  readSecure,
  readSession,
  readSessions,
} from "./reading.ts";
import {
  activeMax,
  type CommitOptions,
  type Fetched,
  type Foremost,
  type Store,
  type StoredDue,
  type StoredLetter,
  type StoredSecure,
  type StoreReport,
  type Waiting,
} from "./store.ts";

/** Marks of commits that are kept. A log of LevelDB holds fewer commits. */
const marksKept = 20_000;
const reopenPauseMs = 1_000;
/** Time between two checks of the folder while nothing is written. */
const watchMs = 5_000;

export class DiskStore implements Store {
  readonly #options: StoreOptions;
  readonly #folder: string;
  #database: Database | undefined;
  #commit = 0;
  /** The highest epoch of all commits so far. */
  #epoch = 0;
  #storedEpoch = 0;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  /** Changes of commits that failed, the latest one for each key. They are written with the next commit. */
  readonly #owed = new Map<string, Change>();
  #closed = false;
  #reopenAt = 0;
  /** Kinds of which there are or were records. Other kinds are not read. */
  #kinds = new Set<Kind>();
  /** Sums of backlogs, until all sessions were read once. */
  #sums: Map<string, BacklogSummary | false> | undefined;
  /** Clients that were active when the store was opened, until all sessions were read once. */
  #active: readonly string[] = [];
  readonly #names: FolderSync;
  readonly #place: Place;
  #watch: NodeJS.Timeout | undefined;
  /** The last state of the folder that was reported, so that each state is reported once. */
  #toldOfPlace: Whereabouts = "there";
  readonly #told: (notice: string) => void;
  readonly #boot: string;
  readonly #progress: (records: number) => void;

  /**
   * `told` is called with findings while the gateway runs, in plain sentences. `boot` identifies this start of the
   * system. `progress` is called with the number of records that were read while the store is opened.
   */
  constructor(
    options: StoreOptions,
    told: (notice: string) => void = () => {},
    boot = bootOfSystem(),
    progress: (records: number) => void = () => {},
  ) {
    this.#progress = progress;
    this.#options = options;
    this.#folder = join(options.folder, "sessions");
    this.#names = new FolderSync(this.#folder);
    this.#place = new Place(this.#folder);
    this.#told = told;
    this.#boot = boot;
  }

  async open(): Promise<StoreReport> {
    const notices: string[] = [];
    let highest: StoreReport["highest"];
    try {
      makeFolder(dirname(resolve(this.#folder)));
      if (await putInPlace(this.#folder))
        notices.push("the store was removed in an earlier run; its saved copy is used");
      makeFolder(resolve(this.#folder));
      highest = await this.#openDatabase(notices);
      for (const folder of [this.#options.folder, dirname(resolve(this.#options.folder))]) await syncFolder(folder);
    } catch (error) {
      await this.#shut();
      throw error instanceof GatewayError ? error : this.#openError(error);
    }
    return { notices, highest };
  }

  /** Opens the database, repairs it if necessary, and checks its records. */
  async #openDatabase(notices: string[]): Promise<StoreReport["highest"]> {
    const found = await openOrRepair(this.#folder, notices, async (database) => {
      this.#database = database;
      await checkFormat(database, this.#folder, this.#options.records);
      this.#epoch = this.#storedEpoch = await storedEpoch(database);
      const checked = await checkRecords(database, this.#options.records, this.#progress);
      this.#commit = checked.commit;
      this.#sums = new Map(checked.backlogs);
      this.#kinds = new Set(checked.kinds);
      this.#active = checked.active.slice(0, activeMax);
      return { highest: checked.highest, notices: [...checked.notices, ...(await this.#beginLife(database))] };
    });
    notices.push(...found.notices);
    await this.#names.sync();
    this.#place.note();
    this.#watch = setInterval(() => this.#lookAfter(), watchMs).unref();
    return found.highest;
  }

  /**
   * Without flushing, a power cut removes the last commits and leaves no gap in their numbers. Therefore the store
   * records that it is open, and in which start of the system.
   */
  async #beginLife(database: Database): Promise<string[]> {
    const stored = await database.get(openKey);
    const before = stored === undefined ? undefined : decodeValue(stored)?.value;
    if (this.#options.durability !== "none") {
      if (stored !== undefined) await database.del(openKey, { sync: true });
    } else await database.put(openKey, encodeValue(this.#boot, 0), { sync: true });
    if (before === undefined || before === this.#boot) return [];
    // Devices may have used sequence numbers that are not stored, so they have to make a new handshake.
    await database.clear({ ...rangeOf("secure") });
    return [
      "the system stopped while the store was open with durability none: " +
        "messages that were acknowledged in the last half minute before may be lost",
    ];
  }

  commit(
    changes: readonly Change[],
    done: (error: GatewayError | undefined) => void,
    { epoch }: CommitOptions = {},
  ): void {
    for (const { of, clientId } of changes) {
      this.#kinds.add(of);
      if (of === "backlog") this.#sums?.set(clientId, false);
    }
    this.#waiting.push({ changes, epoch, done });
    this.#writing ??= this.#writeAll();
  }

  async sessions(after: string | undefined, limit: number): Promise<readonly StoredState[]> {
    const known = { kinds: this.#kinds, sums: this.#sums };
    const slice = await this.#read((database) => readSessions(database, after, limit, known));
    if (slice.length < limit) {
      this.#sums = undefined;
      this.#active = [];
    }
    return slice;
  }

  async foremost(): Promise<Foremost> {
    return { needed: await this.#read(readNeeded), active: this.#active };
  }

  load(clientId: string): Promise<StoredState | undefined> {
    return this.#read((database) => readSession(database, clientId, this.#kinds));
  }

  due(before: number, limit: number): Promise<readonly StoredDue[]> {
    return this.#read((database) => readDue(database, before, limit));
  }

  known(after: string | undefined, limit: number): Promise<readonly string[]> {
    return this.#read((database) => readKnown(database, after, limit));
  }

  letters(after: number, limit: number): Promise<readonly StoredLetter[]> {
    return this.#read((database) => readLetters(database, after, limit));
  }

  secure(after: string | undefined, limit: number): Promise<readonly StoredSecure[]> {
    return this.#read((database) => readSecure(database, after, limit));
  }

  async #read<T>(read: (database: Database) => Promise<T>): Promise<T> {
    const database = this.#open();
    try {
      return await read(database);
    } catch (cause) {
      throw new GatewayError("ERR_STORE_OPEN", { folder: this.#folder }, { cause });
    }
  }

  /** An iterator of LevelDB sees the database as it was when the iterator was made: each commit whole or not at all. */
  snapshot(): AsyncIterable<readonly [key: string, value: Uint8Array]> {
    return readForBackup(this.#open());
  }

  fetch(clientId: string, from: number, limit: number, done: Fetched): void {
    this.#waiting.push({
      changes: undefined,
      epoch: undefined,
      done: (error) => {
        if (error) done([], error);
        else void this.#fetch(clientId, from, limit, done);
      },
    });
    this.#writing ??= this.#writeAll();
  }

  async #fetch(clientId: string, from: number, limit: number, done: Fetched): Promise<void> {
    const range = rangeOfClient("backlog", clientId, from);
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
      const decoded = decodeRecord(key, stored);
      if (decoded.is !== "record" || decoded.change.of !== "backlog" || !decoded.change.record) continue;
      entries.push([decoded.change.id, decoded.change.record]);
    }
    done(entries, undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearInterval(this.#watch);
    while (this.#writing) await this.#writing;
    if (this.#options.durability === "none") await this.#database?.del(openKey, { sync: true }).catch(() => {});
    await this.#database?.close();
    this.#database = undefined;
  }

  async #writeAll(): Promise<void> {
    // Waits for the other commits of this turn of the event loop. With `groupMilliseconds`, for slow cards, it waits a
    // little longer.
    await new Promise((resolve) =>
      this.#options.durability === "group" && this.#options.groupMilliseconds > 0
        ? setTimeout(resolve, this.#options.groupMilliseconds)
        : setImmediate(resolve),
    );
    while (this.#waiting.length > 0) {
      const batch = this.#options.durability === "each" ? this.#waiting.splice(0, 1) : this.#waiting.splice(0);
      const refused = this.#refuse(batch);
      const taken = batch.filter((each) => each.changes && !refused.has(each));
      const error = taken.length > 0 ? await this.#write(taken) : undefined;
      for (const each of batch) each.done(refused.get(each) ?? error);
    }
    this.#writing = undefined;
  }

  /** Returns the commits that have a lower epoch than one before: another process has taken over since. */
  #refuse(batch: readonly Waiting[]): ReadonlyMap<Waiting, GatewayError> {
    const refused = new Map<Waiting, GatewayError>();
    for (const each of batch) {
      const { epoch } = each;
      if (epoch === undefined) continue;
      const about = { folder: this.#folder, epoch, now: this.#epoch };
      if (epoch < this.#epoch) refused.set(each, new GatewayError("ERR_STORE_EPOCH", about));
      else this.#epoch = epoch;
    }
    return refused;
  }

  async #write(batch: readonly Waiting[]): Promise<GatewayError | undefined> {
    const before = this.#commit;
    const number = Math.min(before + 1, commitMax);
    this.#commit = number;
    // Of several changes to a record, only the last one is written.
    const latest = new Map(this.#owed);
    for (const { changes = [] } of batch) for (const change of changes) latest.set(keyOf(change), change);
    try {
      await this.#keepPlace();
      const database = await this.#writable();
      const sync = this.#options.durability !== "none";
      // Operations are added one by one. LevelDB would copy, check and read an array of them twice, at ten times the
      // cost.
      const all = database.batch();
      for (const [key, change] of latest) {
        if (change.record === undefined) all.del(key);
        else all.put(key, encodeRecord(change, number, this.#options.records));
      }
      const epoch = this.#epoch;
      if (epoch !== this.#storedEpoch) all.put(epochKey, encodeValue(epoch, number));
      all.put(markKey(number), encodeValue(null, number));
      if (number > marksKept) all.del(markKey(number - marksKept));
      await all.write({ sync });
      await this.#keepPlace();
      if (sync) await this.#names.sync();
      this.#owed.clear();
      this.#storedEpoch = epoch;
      return undefined;
    } catch (error) {
      this.#commit = before;
      for (const [key, change] of latest) this.#owed.set(key, change);
      // LevelDB accepts no writes after a failed one until it is opened again. If its files were removed, only the open database still has
      // the data.
      if (this.#place.look() === "there") await this.#shut();
      return new GatewayError("ERR_STORE_WRITE", { folder: this.#folder }, { cause: error, say: sayWrite(error) });
    }
  }

  /**
   * The store may write nothing for hours. This check replaces a removed file before the process is killed the next
   * time.
   */
  #lookAfter(): void {
    const found = this.#place.look();
    if (found === "there" || found === this.#toldOfPlace) return;
    this.commit([], (error) => {
      if (error) this.#told(error.message);
    });
    this.#toldOfPlace = found;
  }

  /**
   * Makes sure that the next run finds everything that was acknowledged. If the folder was removed while the database
   * is open, all records are written again. If this is not possible, the commit fails, and the operator is told.
   */
  async #keepPlace(): Promise<void> {
    const found = this.#place.look();
    if (found === "there") {
      this.#toldOfPlace = found;
      return;
    }
    if (found !== "gone")
      throw new Error(`${sayPlace[found]}: stop the gateway, correct the folder, and start the gateway again`);
    if (!this.#database) {
      if (!(await putInPlace(this.#folder))) throw new Error(sayPlace.gone);
      this.#place.note();
    } else {
      const records = await saveCopy(this.#database, this.#folder);
      await this.#shut();
      await putInPlace(this.#folder);
      this.#place.note();
      this.#told(`the folder of the store was removed while it was in use: its ${records} records were written again`);
    }
    this.#database = await openDatabase(this.#folder);
    await this.#names.sync();
  }

  async #writable(): Promise<Database> {
    if (this.#database) return this.#database;
    if (Date.now() < this.#reopenAt)
      throw new Error("the store is closed after a failed write; the gateway opens it again soon");
    this.#reopenAt = Date.now() + reopenPauseMs;
    const notices: string[] = [];
    this.#database = await openOrRepair(this.#folder, notices, async (database) => database);
    for (const notice of notices) this.#told(notice);
    this.#place.note();
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

  #openError(cause: unknown): GatewayError {
    const ailment = ailmentOf(cause);
    const isLocked = ailment === "locked";
    const say = isLocked
      ? `another process uses the store at ${this.#folder}; each gateway needs a store.folder of its own`
      : `the store at ${this.#folder} cannot be opened: ${messageOf(cause)}`;
    return new GatewayError("ERR_STORE_OPEN", { folder: this.#folder, code: codeOf(cause), ailment }, { cause, say });
  }
}

const sayPlace = {
  gone: "its folder was removed, and there is no copy from which to write it again",
  replaced: "another store is in the place of the one that is in use",
  elsewhere: "its folder is on another file system than when it was opened",
} as const;

function sayWrite(error: unknown): string {
  return `the store could not be written: ${messageOf(error)}; nothing of this commit is acknowledged`;
}
