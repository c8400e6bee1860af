/**
 * The look at every record when a store is opened: which are none, which are not ours to judge, and whether commits are
 * missing. Nothing is kept of them but names: the store may be larger than the memory.
 */
import { decodeRecord, decodeValue } from "./encoding.ts";
import { commitOf, epochKey, formatKey, nameOf, openKey, type RecordName } from "./keys.ts";

export interface Findings {
  /** Records that are damaged or make no sense. */
  readonly wrong: readonly { readonly key: string; readonly why: string }[];
  /** How many are of a later version, by what they are. */
  readonly later: ReadonlyMap<string, number>;
  /** Clients with records but none of a session, and how many of each kind. */
  readonly withoutSession: ReadonlyMap<string, ReadonlyMap<RecordName["of"], number>>;
  /** Numbers of the commits that left a mark. */
  readonly marks: readonly number[];
  /** The highest that a record names. */
  readonly latest: number;
  readonly highest: { readonly queued: number; readonly letter: number };
}

type Entries = AsyncIterable<readonly [key: string, value: Uint8Array]>;

const others: ReadonlySet<string> = new Set([formatKey, openKey, epochKey]);

const toldEvery = 1_000;

/** `progress` is called from time to time with the number of records that were read. */
export async function lookThrough(entries: Entries, progress: (records: number) => void = () => {}): Promise<Findings> {
  let looked = 0;
  const wrong: { key: string; why: string }[] = [];
  const later = new Map<string, number>();
  const sessions = new Set<string>();
  const belongings = new Map<string, Map<RecordName["of"], number>>();
  const marks: number[] = [];
  const highest = { queued: 0, letter: 0 };
  let latest = 0;
  for await (const [key, stored] of entries) {
    if (++looked % toldEvery === 0) progress(looked);
    const mark = commitOf(key);
    if (mark !== undefined) {
      if (decodeValue(stored)) marks.push(mark);
      continue;
    }
    if (others.has(key)) continue;
    const decoded = decodeRecord(key, stored);
    if (decoded.is === "wrong") {
      wrong.push({ key, why: decoded.why });
      continue;
    }
    latest = Math.max(latest, decoded.commit);
    if (decoded.is === "later") later.set(decoded.what, (later.get(decoded.what) ?? 0) + 1);
    const name = decoded.is === "record" ? decoded.change : nameOf(key);
    if (typeof name === "string") continue;
    const { of, clientId, id } = name;
    if (of === "queued" || of === "letter") highest[of] = Math.max(highest[of], id);
    if (of === "session") sessions.add(clientId);
    else if (decoded.is === "record" && of !== "known" && of !== "letter" && of !== "secure") {
      const counts = belongings.get(clientId) ?? new Map<RecordName["of"], number>();
      belongings.set(clientId, counts.set(of, (counts.get(of) ?? 0) + 1));
    }
  }
  for (const clientId of sessions) belongings.delete(clientId);
  return { wrong, later, withoutSession: belongings, marks, latest, highest };
}

const namedMax = 20;

/** Records that may exist without a session: for the broker, or about packets that the broker does not accept. */
const outlives: ReadonlySet<string> = new Set(["uplink", "backlog", "suspect", "kind"]);

/** What an operator should know of it, in plain sentences. */
export function noticesOf({ wrong, later, withoutSession }: Findings, missing: number): string[] {
  const notices: string[] = [];
  if (wrong.length > 0) {
    const named = wrong.slice(0, namedMax).map(({ key, why }) => `${describe(key)} (${plain(why)})`);
    const more = wrong.length > namedMax ? `, and ${wrong.length - namedMax} more` : "";
    const what =
      wrong.length === 1 ? "1 record was damaged and is gone" : `${wrong.length} records were damaged and are gone`;
    notices.push(`${what}: ${named.join(", ")}${more}`);
  }
  if (missing > 0) notices.push(`${missing} commits are missing: messages or sessions of that time may be lost`);
  if (later.size > 0) {
    const all = [...later.values()].reduce((sum, count) => sum + count, 0);
    const what = [...later].slice(0, namedMax).map(([each, count]) => `${count} of ${plain(each)}`);
    notices.push(`${all} records are of a later version, and left as they are: ${what.join(", ")}`);
  }
  let named = 0;
  for (const [clientId, counts] of withoutSession) {
    const belongings = [...counts].filter(([of]) => !outlives.has(of));
    const lost = belongings.reduce((sum, [, count]) => sum + count, 0);
    if (lost === 0 || named++ >= namedMax) continue;
    notices.push(`the session of ${plain(clientId)} is gone; ${lost} records that belong to it are kept for it`);
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

/** Names come from outside: nothing in them moves a cursor, and no line is without end. */
function plain(text: string): string {
  const short = text.length > textMax ? `${text.slice(0, textMax)}...` : text;
  return short.replaceAll(/[^\P{C}]|[\u2028\u2029]/gu, (sign) => `\\u{${(sign.codePointAt(0) ?? 0).toString(16)}}`);
}
