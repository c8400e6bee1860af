/**
 * Sessions at a Redis or Valkey server. Commits that come while another one is written are written together, by one
 * script: all of them or none. `redis-scripts.ts` describes the records and their keys.
 *
 * The server may be unreachable, or come back with older data. Therefore each commit has a number, and names the last
 * one that was acknowledged. If the server has a lower one, nothing is written, and the operator is told. A commit
 * whose answer was lost is written again with the next number. If the server finds a late copy of a commit, from a
 * connection that was given up, it ignores this copy.
 */
import { randomBytes } from "node:crypto";
import type { BacklogRecord, Change, StoredState } from "../core/record.ts";
import { GatewayError } from "../errors.ts";
import { decodeRecord, encodeRecord } from "./encoding.ts";
import { decodedName, isForBackup, keyOf, nameOf } from "./keys.ts";
import type { RedisOptions } from "./options.ts";
import { behindName, listOf, numberOf, sayOlder, textOf } from "./redis-answers.ts";
import { type Answer, messageOf, type RedisConnection } from "./redis-connection.ts";
import { Meanwhile, recordsAt } from "./redis-export.ts";
import {
  backlogScript,
  commitScript,
  dueScript,
  foremostScript,
  indexedScript,
  knownScript,
  lettersScript,
  loadScript,
  openScript,
  type Script,
  secureScript,
  sessionsScript,
} from "./redis-scripts.ts";
import { OwnRedis, type RedisSource } from "./redis-source.ts";
import { StateTable } from "./state-table.ts";
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

/** A server that does not answer for this time is regarded as unreachable. */
const answerMsUsual = 5_000;
/** Limit of damaged records that are reported. Each is reported once. */
const toldMax = 1_000;

/** The lease of a gateway that belongs to a pair or a fleet. */
export interface PairMember {
  /** The run that claims the lease. */
  readonly run: string;
  /** The epoch with which this run has claimed the lease. */
  epoch(): number;
  /** Called when another run has claimed the lease since. */
  fenced(): void;
}

interface Operation {
  readonly change: Change;
  /** The epoch of the commit with this change. */
  readonly epoch: number | undefined;
}

export class RedisStore implements Store {
  readonly #options: RedisOptions;
  readonly #told: (notice: string) => void;
  readonly #place: string;
  readonly #meta: string;
  /** The id of this run. The server knows the run that opened the store last. */
  readonly #run: string;
  readonly #member: PairMember | undefined;
  readonly #source: RedisSource;
  #connection: RedisConnection | undefined;
  /** Numbers of commits: the last one that is as durable as configured, and the last one that was sent. */
  #acknowledged = 0;
  #sent = 0;
  /** The highest epoch of all commits so far. */
  #epoch = 0;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;
  /** Changes of commits that failed, the latest one for each key. They are written with the next commit. */
  readonly #owed = new Map<string, Operation>();
  readonly #damaged = new Set<string>();
  /** The server knows all clients with publications under way to a broker. */
  #isIndexed = false;
  /** The last client of the slices that were read in their order, from the first one. */
  #readUpTo: string | undefined;
  /** Backups that are being read now. */
  readonly #noting = new Set<Meanwhile>();

  /**
   * `password` is called at each opening. `told` is called with findings while the gateway runs, in plain sentences.
   * `member`: the gateway belongs to a pair, or is a shard's; the store is opened when the lease is claimed, and each
   * commit has the epoch of the lease. `source`: connections that are shared with other stores; absent: the store has
   * its own connection.
   */
  constructor(
    options: RedisOptions,
    password: () => string | undefined = () => undefined,
    told: (notice: string) => void = () => {},
    answerMsMax = answerMsUsual,
    member?: PairMember,
    source?: RedisSource,
  ) {
    this.#options = options;
    this.#told = told;
    this.#place = `${options.url}, prefix ${options.prefix}`;
    this.#meta = `{${options.prefix}}:meta`;
    this.#member = member;
    this.#source = source ?? new OwnRedis(options, password, answerMsMax);
    this.#run = member?.run ?? newRun();
  }

  async open(): Promise<StoreReport> {
    try {
      this.#connection = await this.#source.open();
      return await this.#begin(this.#connection);
    } catch (error) {
      this.#dropConnection();
      throw error instanceof GatewayError ? error : this.#openError(error);
    }
  }

  async #begin(connection: RedisConnection): Promise<StoreReport> {
    const notices: string[] = [];
    const facts = await connection.facts();
    if (!facts)
      notices.push(
        `${this.#place}: this user has no right to INFO, so the gateway cannot check how durably the server stores data`,
      );
    if (facts?.isReplica) throw new Error("it is a replica, and accepts no writes");
    if (facts?.whenFull.startsWith("allkeys-")) {
      const say = `the store at ${this.#place} cannot be used: the server removes keys when its memory is full (maxmemory-policy ${facts.whenFull}); set it to noeviction`;
      throw new GatewayError("ERR_STORE_OPEN", { place: this.#place }, { say });
    }
    if (facts && !facts.hasLog)
      notices.push(
        `${this.#place}: the server writes no append-only file (appendonly), so acknowledged messages are lost when it ends`,
      );
    const [is, commit, ...numbers] = await connection.run(openScript, this.#meta, [
      this.#run,
      facts?.server ?? this.#run,
      this.#member ? String(this.#member.epoch()) : "",
    ]);
    if (textOf(is) === "held") {
      const say = `the store at ${this.#place} is that of a pair, of which ${textOf(commit)} is active: set store.pair.enabled here too, or stop the pair`;
      throw new GatewayError("ERR_STORE_OPEN", { place: this.#place, ailment: "disk" }, { say });
    }
    if (textOf(is) === "other") throw this.#taken();
    if (textOf(is) === "later") {
      const say = `the store at ${this.#place} was written by a later version (format ${textOf(commit)}); this one reads up to 1`;
      throw new GatewayError("ERR_STORE_OPEN", { place: this.#place }, { say });
    }
    const [epoch = 0, queued = 0, letter = 0, isComplete = 0] = numbers.map((each) => Number(textOf(each)));
    this.#acknowledged = this.#sent = Number(textOf(commit));
    this.#epoch = epoch;
    this.#isIndexed = isComplete === 1;
    return { notices, highest: { queued, letter } };
  }

  commit(
    changes: readonly Change[],
    done: (error: GatewayError | undefined) => void,
    { epoch = this.#member?.epoch() }: CommitOptions = {},
  ): void {
    this.#waiting.push({ changes, epoch, done });
    this.#writing ??= this.#writeAll();
  }

  async sessions(after: string | undefined, limit: number): Promise<readonly StoredState[]> {
    const states: StoredState[] = [];
    if (after === undefined) this.#readUpTo = "";
    const isNext = this.#readUpTo === (after ?? "");
    let from = behindName(after);
    // A client may have records but no session. The slice is filled up with the next clients.
    while (states.length < limit) {
      const wanted = limit - states.length;
      const found = await this.#read(sessionsScript, [from, String(wanted), this.#isIndexed ? "" : this.#run]);
      for (const each of found) states.push(...this.#stateOf(each));
      if (found.length < wanted) {
        if (isNext && !this.#isIndexed) await this.#noteIndexed();
        break;
      }
      from = `(${textOf(listOf(found.at(-1))[0])}`;
    }
    if (isNext) this.#readUpTo = states.at(-1)?.session.clientId;
    return states;
  }

  /**
   * All sessions were read once, so the server knows now all clients with publications under way. If it cannot be told so, the sessions
   * were read all the same, and the next run reads them all again.
   */
  async #noteIndexed(): Promise<void> {
    try {
      await this.#connection?.run(indexedScript, this.#meta, [this.#run]);
    } catch {
      return;
    }
    this.#isIndexed = true;
  }

  async foremost(): Promise<Foremost | undefined> {
    if (!this.#isIndexed) return undefined;
    const [shared, underWay, active] = await this.#read(foremostScript, [String(activeMax)]);
    const names = (answer: Answer | undefined) => listOf(answer).map((name) => decodedName(textOf(name)));
    return { needed: [...new Set([...names(shared), ...names(underWay)])], active: names(active) };
  }

  async load(clientId: string): Promise<StoredState | undefined> {
    const [found] = await this.#read(loadScript, [encodeURIComponent(clientId)]);
    return this.#stateOf(found)[0];
  }

  async due(before: number, limit: number): Promise<readonly StoredDue[]> {
    const [found] = await this.#read(dueScript, [String(before), String(limit)]);
    const words = listOf(found).map(textOf);
    const all: StoredDue[] = [];
    for (let i = 0; i + 1 < words.length; i += 2) {
      const name = nameOf(words[i] ?? "");
      if (typeof name !== "string") all.push({ clientId: name.clientId, seq: name.id, due: Number(words[i + 1]) });
    }
    return all;
  }

  async known(after: string | undefined, limit: number): Promise<readonly string[]> {
    const [found] = await this.#read(knownScript, [behindName(after), String(limit)]);
    return listOf(found).map((name) => decodeURIComponent(textOf(name)));
  }

  async letters(after: number, limit: number): Promise<readonly StoredLetter[]> {
    const letters: StoredLetter[] = [];
    for (let from = after; letters.length < limit; ) {
      const wanted = limit - letters.length;
      const found = await this.#read(lettersScript, [String(from), String(wanted)]);
      for (const each of found) {
        const [key, stored] = listOf(each);
        const name = nameOf(textOf(key));
        if (typeof name !== "string") from = Math.max(from, name.id);
        const change = this.#changeOf(textOf(key), stored);
        if (change?.of === "letter" && change.record)
          letters.push({ id: change.id, clientId: change.clientId, record: change.record });
      }
      if (found.length < wanted) break;
    }
    return letters;
  }

  async secure(after: string | undefined, limit: number): Promise<readonly StoredSecure[]> {
    const found = await this.#read(secureScript, [behindName(after), String(limit)]);
    return found.map((each) => {
      const [encoded, stored] = listOf(each);
      const name = decodeURIComponent(textOf(encoded));
      const change = this.#changeOf(`m${textOf(encoded)}`, stored);
      return { name, state: change?.of === "secure" && change.record ? change.record.state : new Uint8Array(0) };
    });
  }

  async *snapshot(): AsyncGenerator<readonly [key: string, value: Uint8Array]> {
    const meanwhile = new Meanwhile();
    this.#noting.add(meanwhile);
    try {
      yield* recordsAt((script, words) => this.#read(script, words));
      await new Promise<void>((done) => this.#behindAll(() => done(this.#noted(meanwhile))));
      for (const each of meanwhile.entries()) if (isForBackup(each[0])) yield each;
    } finally {
      this.#noted(meanwhile);
    }
  }

  #noted(meanwhile: Meanwhile): void {
    this.#noting.delete(meanwhile);
  }

  fetch(clientId: string, from: number, limit: number, done: Fetched): void {
    this.#behindAll((error) => {
      if (error) return done([], error);
      this.#backlog(clientId, from, limit).then(
        (entries) => done(entries, undefined),
        (failure: unknown) => done([], failure instanceof GatewayError ? failure : this.#openError(failure)),
      );
    });
  }

  /** Calls `done` when all commits before this call have their answer. */
  #behindAll(done: (error: GatewayError | undefined) => void): void {
    this.#waiting.push({ changes: undefined, epoch: undefined, done });
    this.#writing ??= this.#writeAll();
  }

  async #backlog(clientId: string, from: number, limit: number): Promise<[number, BacklogRecord][]> {
    const name = encodeURIComponent(clientId);
    const start = `[${Math.max(0, from).toString(16).padStart(12, "0")}`;
    const found = await this.#read(backlogScript, [name, start, String(limit)]);
    const entries: [number, BacklogRecord][] = [];
    for (const each of found) {
      const [id, stored] = listOf(each);
      const change = this.#changeOf(`b${name}/${textOf(id)}`, stored);
      if (change?.of === "backlog" && change.record) entries.push([change.id, change.record]);
    }
    return entries;
  }

  async close(): Promise<void> {
    while (this.#writing) await this.#writing;
    this.#dropConnection();
  }

  abandon(): void {
    this.#dropConnection();
  }

  #dropConnection(): void {
    if (this.#connection) this.#source.done(this.#connection);
    this.#connection = undefined;
  }

  async #writeAll(): Promise<void> {
    // Waits for the other commits of this turn of the event loop.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0);
      const { refused, error } = await this.#write(batch);
      for (const each of batch) each.done(refused.get(each) ?? error);
    }
    this.#writing = undefined;
  }

  async #write(
    batch: readonly Waiting[],
  ): Promise<{ readonly refused: ReadonlyMap<Waiting, GatewayError>; readonly error: GatewayError | undefined }> {
    for (;;) {
      const { refused, epoch } = this.#refuse(batch);
      const taken = batch.filter((each) => each.changes && !refused.has(each));
      if (taken.length === 0) return { refused, error: undefined };
      const operations = new Map(this.#owed);
      for (const each of taken)
        for (const change of each.changes ?? []) operations.set(keyOf(change), { change, epoch: each.epoch });
      const epochs = [...taken, ...operations.values()].flatMap((each) => each.epoch ?? []);
      const lowest = epochs.reduce((min, each) => Math.min(min, each), Number.POSITIVE_INFINITY);
      const outcome = await this.#send(operations, epochs.length > 0 ? { lowest, highest: epoch } : undefined);
      if (typeof outcome === "number") {
        this.#member?.fenced();
        // Another run wrote with this epoch. Changes with a lower one are dropped, and the rest is tried again.
        this.#epoch = outcome;
        for (const [key, { epoch: of }] of this.#owed) if (of !== undefined && of < outcome) this.#owed.delete(key);
        continue;
      }
      this.#epoch = epoch;
      if (outcome?.code === "ERR_STORE_WRITE") for (const [key, each] of operations) this.#owed.set(key, each);
      else {
        this.#owed.clear();
        for (const each of this.#noting) for (const [key, { change }] of operations) each.note(key, change);
      }
      return { refused, error: outcome };
    }
  }

  /**
   * Returns the commits that have a lower epoch than one before, because another process has taken over since; and the
   * highest epoch of the others.
   */
  #refuse(batch: readonly Waiting[]): { readonly refused: Map<Waiting, GatewayError>; readonly epoch: number } {
    const refused = new Map<Waiting, GatewayError>();
    let now = this.#epoch;
    for (const each of batch) {
      const { epoch } = each;
      if (epoch === undefined) continue;
      if (epoch < now) refused.set(each, new GatewayError("ERR_STORE_EPOCH", { place: this.#place, epoch, now }));
      else now = epoch;
    }
    return { refused, epoch: now };
  }

  /** Sends changes to the server. A number as result is the later epoch of another run; then nothing was written. */
  async #send(
    operations: ReadonlyMap<string, Operation>,
    epochs: { readonly lowest: number; readonly highest: number } | undefined,
  ): Promise<number | GatewayError | undefined> {
    const number = ++this.#sent;
    const highest = { queued: 0, letter: 0 };
    const words: (string | Uint8Array)[] = [];
    for (const [key, { change }] of operations) {
      const { of, id, record } = change;
      if (record && (of === "queued" || of === "letter")) highest[of] = Math.max(highest[of], id);
      words.push(key, record ? encodeRecord(change, number) : "", numberOf(change));
    }
    const head = [this.#run, this.#acknowledged, number, epochs?.lowest ?? "", epochs?.highest ?? ""];
    const all = [...head, highest.queued, highest.letter].map(String);
    const { waitReplicas, waitMilliseconds } = this.#options;
    try {
      if (!this.#connection) throw new Error("the store is closed");
      const { answer, replicas } = await this.#connection.runAndWait(commitScript, this.#meta, [...all, ...words], {
        replicas: waitReplicas,
        milliseconds: waitMilliseconds,
      });
      const is = textOf(answer[0]);
      if (is === "epoch") return Number(textOf(answer[1]));
      if (is === "other") return this.#taken();
      if (is === "older") throw new Error(sayOlder(this.#acknowledged, textOf(answer[1])));
      if (is !== "done") throw new Error(`the server has a later commit than ${number}`);
      if (replicas < waitReplicas)
        throw new Error(`${replicas} of ${waitReplicas} replicas had the commit within ${waitMilliseconds} ms`);
      this.#acknowledged = number;
      return undefined;
    } catch (cause) {
      const say = `the store at ${this.#place} could not be written: ${messageOf(cause)}; nothing of this commit is acknowledged`;
      return new GatewayError("ERR_STORE_WRITE", { place: this.#place }, { cause, say });
    }
  }

  #taken(): GatewayError {
    this.#member?.fenced();
    const say =
      `another gateway has opened the store at ${this.#place} since: this gateway writes nothing there any more; ` +
      "stop the gateway that should not run, or give each gateway its own store.redis.prefix";
    return new GatewayError("ERR_STORE_EPOCH", { place: this.#place }, { say });
  }

  /** Runs a script that reads, and returns its results without the word for success. */
  async #read(script: Script, words: readonly string[]): Promise<readonly Answer[]> {
    try {
      if (!this.#connection) throw new Error("it is closed");
      const [is, ...found] = await this.#connection.run(script, this.#meta, [String(this.#acknowledged), ...words]);
      if (textOf(is) === "older") throw new Error(sayOlder(this.#acknowledged, textOf(found[0])));
      return found;
    } catch (error) {
      throw this.#openError(error);
    }
  }

  /** Returns no session if none of the client's records needs one. */
  #stateOf(answer: Answer | undefined): StoredState[] {
    const [encoded, count, first, last, octets, fields] = listOf(answer);
    const name = textOf(encoded);
    const clientId = decodedName(name);
    const table = new StateTable();
    const words = listOf(fields);
    for (let i = 0; i + 1 < words.length; i += 2) {
      const field = textOf(words[i]);
      const id = field.slice(1);
      const change = this.#changeOf(`${field.charAt(0)}${name}${id === "" ? "" : `/${id}`}`, words[i + 1]);
      if (change) table.apply(change);
    }
    if (typeof count === "number" && count > 0)
      table.counted(clientId, {
        count,
        octets: Number(textOf(octets)),
        first: Number.parseInt(textOf(first), 16),
        last: Number.parseInt(textOf(last), 16),
      });
    const state = table.state(clientId);
    return state ? [state] : [];
  }

  #changeOf(key: string, stored: Answer | undefined): Change | undefined {
    const decoded = decodeRecord(key, Buffer.isBuffer(stored) ? stored : new Uint8Array(0));
    if (decoded.is === "record") return decoded.change;
    if (decoded.is === "wrong" && !this.#damaged.has(key) && this.#damaged.size < toldMax) {
      this.#damaged.add(key);
      this.#told(`the record ${key} is damaged and is ignored: ${decoded.why}`);
    }
    return undefined;
  }

  #openError(cause: unknown): GatewayError {
    if (cause instanceof GatewayError) return cause;
    const why = messageOf(cause);
    const isRefused =
      /^(WRONGPASS|NOAUTH|NOPERM|ERR Client sent AUTH|MOVED|ERR invalid DB)|the server's certificate is/i.test(why);
    const say = `the store at ${this.#place} cannot be opened: ${why}`;
    // An error that may be temporary has the same ailment as a full disk, so that the gateway waits.
    const details = { place: this.#place, ailment: isRefused ? "rights" : "disk" };
    return new GatewayError("ERR_STORE_OPEN", details, { cause, say });
  }
}

/** Makes an id for this run. The server knows the run that opened the store last. */
export function newRun(): string {
  return randomBytes(12).toString("hex");
}
