/**
 * Checks every record when a store is opened: finds invalid records, records that this version cannot judge, and
 * missing commits. Only names are kept in memory, because the store may be larger than the memory.
 */
import type { BacklogSummary } from "../core/record.ts";
import { BacklogGlance } from "./backlog-form.ts";
import { decodeRecord, decodeValue } from "./encoding.ts";
import { commitOf, epochKey, formatKey, nameOf, openKey, type RecordName } from "./keys.ts";
import { octetsOf } from "./state-table.ts";

export interface Findings {
  /** Records that are damaged or invalid. */
  readonly wrong: readonly { readonly key: string; readonly why: string }[];
  /** For each kind of record of a later version: how many records there are. */
  readonly later: ReadonlyMap<string, number>;
  /** Clients that have records, but no session record. */
  readonly withoutSession: ReadonlyMap<string, Left>;
  /** Numbers of the commits of which there is a mark. */
  readonly marks: readonly number[];
  /** The highest number of a commit in any record. */
  readonly latest: number;
  readonly highest: { readonly queued: number; readonly letter: number };
  /** Kinds of which there is a record, even if this version cannot read it. */
  readonly kinds: ReadonlySet<RecordName["of"]>;
  /** Clients that were active. */
  readonly active: readonly string[];
  /** The sum of each client's backlog, as `readSessions` would compute it. */
  readonly backlogs: ReadonlyMap<string, BacklogSummary>;
}

/** What was found of a client. */
interface Left {
  /** How many records belong to the client's session. */
  readonly belonging: number;
  /** Whether a message waits for the client. */
  readonly isAwaited: boolean;
}

/** Entries come several at a time: an asynchronous step for each would cost more than the check itself. */
type Entries = AsyncIterable<readonly (readonly [key: string, value: Buffer])[]>;

const others: ReadonlySet<string> = new Set([formatKey, openKey, epochKey]);

const toldEvery = 1_000;

/** `progress` is called from time to time with the number of records that were read. */
export async function lookThrough(entries: Entries, progress: (records: number) => void = () => {}): Promise<Findings> {
  const look = new Look();
  let looked = 0;
  for await (const some of entries)
    for (const [key, stored] of some) {
      if (++looked % toldEvery === 0) progress(looked);
      look.at(key, stored);
    }
  return look.findings();
}

class Look {
  readonly #wrong: { key: string; why: string }[] = [];
  readonly #later = new Map<string, number>();
  readonly #sessions = new Set<string>();
  readonly #active: string[] = [];
  readonly #left = new Map<string, { -readonly [Field in keyof Left]: Left[Field] }>();
  readonly #marks: number[] = [];
  readonly #kinds = new Set<RecordName["of"]>();
  readonly #highest = { queued: 0, letter: 0 };
  #latest = 0;
  readonly #glance = new BacklogGlance();
  readonly #backlogs = new Map<string, Sum>();
  /** The sum of the client whose record was the last one. */
  #sum: Sum | undefined;

  at(key: string, stored: Buffer): void {
    const glance = this.#glance;
    if (this.#sum && glance.look(key, stored)) {
      add(this.#sum, glance.id, 1, glance.octets);
      if (glance.commit > this.#latest) this.#latest = glance.commit;
      return;
    }
    const mark = commitOf(key);
    if (mark === undefined) {
      if (!others.has(key)) this.#record(key, stored);
    } else if (decodeValue(stored)) this.#marks.push(mark);
  }

  #record(key: string, stored: Buffer): void {
    const decoded = decodeRecord(key, stored);
    if (decoded.is === "wrong") {
      this.#wrong.push({ key, why: decoded.why });
      return;
    }
    this.#latest = Math.max(this.#latest, decoded.commit);
    if (decoded.is === "later") this.#later.set(decoded.what, (this.#later.get(decoded.what) ?? 0) + 1);
    const name = decoded.is === "record" ? decoded.change : nameOf(key);
    if (typeof name === "string") return;
    const { of, clientId, id } = name;
    this.#kinds.add(of);
    if (of === "queued" || of === "letter") this.#highest[of] = Math.max(this.#highest[of], id);
    if (of === "session") {
      this.#sessions.add(clientId);
      if (decoded.is === "record" && decoded.change.of === "session" && decoded.change.record?.state === "active")
        this.#active.push(clientId);
    } else if (of === "backlog") {
      const sum = this.#sumOf(key, name);
      const record = decoded.is === "record" && decoded.change.of === "backlog" ? decoded.change.record : undefined;
      add(sum, id, record ? 1 : 0, record ? octetsOf(record) : 0);
    } else if (decoded.is === "record" && of !== "known" && of !== "letter" && of !== "secure") this.#leave(name);
  }

  #sumOf(key: string, name: RecordName): Sum {
    const sum = this.#backlogs.get(name.clientId) ?? { count: 0, octets: 0, first: name.id, last: name.id };
    this.#backlogs.set(name.clientId, sum);
    this.#glance.goesOnWith(key, name);
    this.#sum = sum;
    return sum;
  }

  #leave({ of, clientId }: Omit<RecordName, "id">): void {
    let left = this.#left.get(clientId);
    if (!left) {
      left = { belonging: 0, isAwaited: false };
      this.#left.set(clientId, left);
    }
    if (!outlives.has(of)) left.belonging++;
    if (of === "queued") left.isAwaited = true;
  }

  findings(): Findings {
    for (const [clientId, { count }] of this.#backlogs) if (count > 0) this.#leave({ of: "backlog", clientId });
    for (const clientId of this.#sessions) this.#left.delete(clientId);
    return {
      wrong: this.#wrong,
      later: this.#later,
      withoutSession: this.#left,
      marks: this.#marks,
      latest: this.#latest,
      highest: this.#highest,
      kinds: this.#kinds,
      active: this.#active,
      backlogs: this.#backlogs,
    };
  }
}

type Sum = { -readonly [Field in keyof BacklogSummary]: BacklogSummary[Field] };

function add(sum: Sum, id: number, records: number, octets: number): void {
  sum.count += records;
  sum.octets += octets;
  if (id < sum.first) sum.first = id;
  if (id > sum.last) sum.last = id;
}

const namedMax = 20;

/**
 * Records that may exist without a session: those for the broker, and those about packets that the broker does not
 * accept.
 */
const outlives: ReadonlySet<string> = new Set(["uplink", "backlog", "suspect", "kind"]);

/** What an operator should know about the findings, in plain sentences. */
export function noticesOf({ wrong, later, withoutSession }: Findings, missing: number): string[] {
  const notices: string[] = [];
  if (wrong.length > 0) {
    const named = wrong.slice(0, namedMax).map(({ key, why }) => `${describe(key)} (${plain(why)})`);
    const more = wrong.length > namedMax ? `, and ${wrong.length - namedMax} more` : "";
    const what =
      wrong.length === 1
        ? "1 record was damaged and was removed"
        : `${wrong.length} records were damaged and were removed`;
    notices.push(`${what}: ${named.join(", ")}${more}`);
  }
  if (missing > 0) notices.push(`${missing} commits are missing: messages or sessions of that time may be lost`);
  if (later.size > 0) {
    const all = [...later.values()].reduce((sum, count) => sum + count, 0);
    const what = [...later].slice(0, namedMax).map(([each, count]) => `${count} of ${plain(each)}`);
    notices.push(`${all} records are of a later version, and are kept unchanged: ${what.join(", ")}`);
  }
  let named = 0;
  for (const [clientId, { belonging }] of withoutSession) {
    if (belonging === 0 || named++ >= namedMax) continue;
    notices.push(`the session of ${plain(clientId)} is gone; ${belonging} records that belong to it are kept for it`);
  }
  if (named > namedMax) notices.push(`and the sessions of ${named - namedMax} more`);
  return notices;
}

function describe(key: string): string {
  const name = nameOf(key);
  if (typeof name === "string") return `the record ${plain(key)}`;
  const { of, clientId, id } = name;
  return id === 0 ? `${of} of ${plain(clientId)}` : `${of} ${id} of ${plain(clientId)}`;
}

const textMax = 80;

/** Makes a name from outside safe for a log: escapes control characters, and limits the length. */
function plain(text: string): string {
  const short = text.length > textMax ? `${text.slice(0, textMax)}...` : text;
  return short.replaceAll(/[^\P{C}]|[\u2028\u2029]/gu, (sign) => `\\u{${(sign.codePointAt(0) ?? 0).toString(16)}}`);
}
