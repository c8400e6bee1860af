/**
 * Under which keys records lie: a letter for the kind, the client id percent-encoded, and behind a slash the record's
 * number in twelve hexadecimal digits, where the kind has one.
 *
 * Taken besides: `c…` (marks of commits), `format`, `open`, `epoch`. A letter that is free means a kind of another
 * version: such records are kept as they are. A new kind takes one of a, g to j, l, n to p, y, z: 0.1.0 does not look there.
 */
import type { Change } from "../core/record.ts";

export type Kind = Change["of"];

const letters = {
  session: "s",
  topic: "x",
  queued: "q",
  uplink: "u",
  received: "r",
  taken: "t",
  backlog: "b",
  known: "k",
  letter: "d",
  suspect: "v",
  kind: "w",
  secure: "m",
} as const satisfies Record<Kind, string>;

const kinds: ReadonlyMap<string, Kind> = new Map(
  Object.entries(letters).map(([of, letter]) => [letter, of as Kind] as const),
);

/** Kinds of which a client has one record at most. */
const isSingle: ReadonlySet<Kind> = new Set(["session", "known", "secure"]);

/** What their numbers may be: packet ids and MsgIds, a count from 1, or a hash. */
const numberMax = {
  queued: 2 ** 48 - 1,
  backlog: 2 ** 48 - 1,
  letter: 2 ** 48 - 1,
  suspect: 2 ** 48 - 1,
  kind: 2 ** 48 - 1,
} as const;

export const formatKey = "format";
/** There while a store without flushing is open. */
export const openKey = "open";
export const epochKey = "epoch";

export interface RecordName {
  readonly of: Kind;
  readonly clientId: string;
  readonly id: number;
}

export function keyOf({ of, clientId, id }: RecordName): string {
  return `${letters[of]}${encodeURIComponent(clientId)}${isSingle.has(of) ? "" : `/${digits(id)}`}`;
}

/** `unknown`: of a kind that another version may know. `wrong`: of a kind of ours, and yet no key that we would write. */
export function nameOf(key: string): RecordName | "unknown" | "wrong" {
  const of = kinds.get(key.charAt(0));
  if (!of) return key.startsWith("c") ? "wrong" : "unknown";
  const [name = "", number] = key.slice(1).split("/");
  const id = isSingle.has(of) ? 0 : Number.parseInt(number ?? "", 16);
  const max = of in numberMax ? numberMax[of as keyof typeof numberMax] : 65_535;
  if (!isSingle.has(of) && !(id >= 1 && id <= max)) return "wrong";
  try {
    const found = { of, clientId: decodeURIComponent(name), id };
    return found.clientId !== "" && keyOf(found) === key ? found : "wrong";
  } catch {
    return "wrong"; // no percent-encoding
  }
}

/** All keys of a kind: above the first, below the second. */
export function rangeOf(of: Kind): { readonly gt: string; readonly lt: string } {
  return { gt: letters[of], lt: String.fromCharCode(letters[of].charCodeAt(0) + 1) };
}

/** Not a record of the gateway's state, but what this one store says of itself. */
export function isOfStoreItself(key: string): boolean {
  return key.startsWith("c") || key === formatKey || key === openKey || key === epochKey;
}

/** Whether a copy of this record elsewhere would do harm: it belongs to this store alone. */
export function isForBackup(key: string): boolean {
  return !key.startsWith(letters.secure);
}

/** Where a client's records of a kind begin and end. */
export function rangeOfClient(of: Kind, clientId: string, from = 0): { readonly gte: string; readonly lt: string } {
  const start = `${letters[of]}${encodeURIComponent(clientId)}`;
  return { gte: `${start}/${digits(from)}`, lt: `${start}0` };
}

export function markKey(commit: number): string {
  return `c${commit.toString().padStart(16, "0")}`;
}

/**
 * More than a gateway ever gets to. A number beyond is from elsewhere, and would leave no room to count on; at this one
 * counting ends, and missing commits are noticed no more.
 */
export const commitMax = 2 ** 40;

/** The number of a commit's mark; undefined: no such key. */
export function commitOf(key: string): number | undefined {
  const commit = /^c\d{16}$/.test(key) ? Number(key.slice(1)) : 0;
  return commit >= 1 && commit <= commitMax ? commit : undefined;
}

function digits(id: number): string {
  return id.toString(16).padStart(12, "0");
}
