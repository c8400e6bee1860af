/**
 * The keys of records: a letter for the kind, then the client id, percent-encoded. If the kind has numbers, a slash and
 * the number of the record in twelve hexadecimal digits follow.
 *
 * Other keys in use: `c…` (marks of commits), `format`, `open`, `epoch`. Any other letter means a kind of another
 * version; such records are kept unchanged. A new kind takes one of a, g to j, l, n to p, y, z, because version 0.1.0
 * does not read keys with these letters.
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

/** Kinds of which a client has at most one record. */
const isSingle: ReadonlySet<Kind> = new Set(["session", "known", "secure"]);

/** The highest number of each kind. Numbers are packet ids and MsgIds, a count from 1, or a hash. */
const numberMax = {
  queued: 2 ** 48 - 1,
  backlog: 2 ** 48 - 1,
  letter: 2 ** 48 - 1,
  suspect: 2 ** 48 - 1,
  kind: 2 ** 48 - 1,
} as const;

export const formatKey = "format";
/** This key exists while a store without flushing is open. */
export const openKey = "open";
export const epochKey = "epoch";

export interface RecordName {
  readonly of: Kind;
  readonly clientId: string;
  readonly id: number;
}

export function keyOf({ of, clientId, id }: RecordName): string {
  return `${letters[of]}${encodedName(clientId)}${isSingle.has(of) ? "" : `/${digits(id)}`}`;
}

/**
 * The kind, client id and number in a key. `unknown`: another version may know this kind. `wrong`: the kind is known,
 * but this version never writes such a key.
 */
export function nameOf(key: string): RecordName | "unknown" | "wrong" {
  const of = kinds.get(key.charAt(0));
  if (!of) return key.startsWith("c") ? "wrong" : "unknown";
  const [name = "", number] = key.slice(1).split("/");
  const id = isSingle.has(of) ? 0 : Number.parseInt(number ?? "", 16);
  const max = of in numberMax ? numberMax[of as keyof typeof numberMax] : 65_535;
  if (!isSingle.has(of) && !(id >= 1 && id <= max)) return "wrong";
  try {
    const found = { of, clientId: decodedName(name), id };
    return found.clientId !== "" && keyOf(found) === key ? found : "wrong";
  } catch {
    return "wrong"; // not valid percent-encoding
  }
}

/** Names of letters, digits, hyphens and underscores are the same when they are encoded. Nearly all client ids are such names. */
const isPlain = /^[\w-]*$/;

/** The name of a client as it is in keys. */
export function encodedName(clientId: string): string {
  return isPlain.test(clientId) ? clientId : encodeURIComponent(clientId);
}

/** @throws {URIError} for a name that was not encoded so */
export function decodedName(name: string): string {
  return isPlain.test(name) ? name : decodeURIComponent(name);
}

/** The range of all keys of a kind: above `gt`, below `lt`. */
export function rangeOf(of: Kind): { readonly gt: string; readonly lt: string } {
  return { gt: letters[of], lt: String.fromCharCode(letters[of].charCodeAt(0) + 1) };
}

/** Whether the value of this key is not a record of the gateway's state, but concerns the store itself. */
export function isOfStoreItself(key: string): boolean {
  return key.startsWith("c") || key === formatKey || key === openKey || key === epochKey;
}

/** Whether a record belongs in a backup. A record that would do harm in another store does not. */
export function isForBackup(key: string): boolean {
  return !key.startsWith(letters.secure);
}

/** The range of a client's keys of one kind. */
export function rangeOfClient(of: Kind, clientId: string, from = 0): { readonly gte: string; readonly lt: string } {
  const start = `${letters[of]}${encodeURIComponent(clientId)}`;
  return { gte: `${start}/${digits(from)}`, lt: `${start}0` };
}

export function markKey(commit: number): string {
  return `c${commit.toString().padStart(16, "0")}`;
}

/**
 * The highest number of a commit. No gateway reaches it. A higher number in a store comes from elsewhere, and would
 * leave no numbers for new commits. At this number counting ends, and missing commits are not noticed any more.
 */
export const commitMax = 2 ** 40;

/** The number of the commit whose mark has this key; undefined: it is not the key of a mark. */
export function commitOf(key: string): number | undefined {
  const commit = /^c\d{16}$/.test(key) ? Number(key.slice(1)) : 0;
  return commit >= 1 && commit <= commitMax ? commit : undefined;
}

function digits(id: number): string {
  return id.toString(16).padStart(12, "0");
}
