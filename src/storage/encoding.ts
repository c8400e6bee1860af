/**
 * Records as octets: checksum (4), number of the commit (6), then one of three forms. *Plain* is JSON in which octets are base64, and says
 * its version (`v`). *Packed* (`packed.ts`) is the same in few octets. Backlog records are in a form of their own, there may be a million,
 * unless they carry more than that has room for (`meta`). What a later version adds is optional, so an older one reads on.
 *
 * All forms are read everywhere. A disk has packed records unless `store.records` says plain; Redis has plain ones.
 */
import type { Change } from "../core/record.ts";
import { backlogMark, decodeBacklog, encodeBacklog } from "./backlog-form.ts";
import { checksumOf } from "./checksum.ts";
import { commitMax, nameOf, type RecordName } from "./keys.ts";
import { pack, packedMark, unpack } from "./packed.ts";
import { parseRecord, version } from "./records.ts";

const headBytes = 10;

interface Octets {
  readonly $octets: string;
}

/** A first octet up to here is that of a form that is not JSON. */
const markMax = 0x1f;

export type Decoded =
  | { readonly is: "record"; readonly change: Change; readonly commit: number }
  /** A later version's: of a kind or a form that is not known here. */
  | { readonly is: "later"; readonly what: string; readonly commit: number }
  /** Damaged, or without sense. */
  | { readonly is: "wrong"; readonly why: string };

/** How records are written. */
export type Form = "plain" | "packed";

/** The octets of a record that is put; its kind decides on the form too. */
export function encodeRecord(change: Change, commit: number, form: Form = "plain"): Uint8Array {
  const { of, clientId, record } = change;
  if (of === "backlog" && record && !record.publication.meta) return sealed(encodeBacklog(record), commit);
  const packed = form === "packed" && record ? pack(of, clientId, record) : undefined;
  return packed ? sealed(packed, commit) : encodeValue({ v: version, ...record }, commit);
}

/** Is this a record that versions before the packed form do not read? */
export function isPacked(stored: Uint8Array): boolean {
  return stored[headBytes] === packedMark;
}

/** Octets of what is not a record: the format, marks and the like. */
export function encodeValue(value: unknown, commit: number): Uint8Array {
  return sealed(Buffer.from(JSON.stringify(value, withOctets), "utf8"), commit);
}

/** undefined: damaged. */
export function decodeValue(stored: Uint8Array): { readonly value: unknown; readonly commit: number } | undefined {
  const opened = open(stored);
  const value = opened && parse(opened.body);
  return opened && value ? { value: value.parsed, commit: opened.commit } : undefined;
}

/** What lies under a key. Never throws: anybody may have written it. */
export function decodeRecord(key: string, stored: Uint8Array): Decoded {
  const opened = open(stored);
  const name = nameOf(key);
  if (name === "unknown") return { is: "later", what: `kind ${key.charAt(0)}`, commit: opened?.commit ?? 0 };
  if (!opened) return { is: "wrong", why: "damaged" };
  if (name === "wrong") return { is: "wrong", why: "its key makes no sense" };
  const { body, commit } = opened;
  const { of, clientId, id } = name;
  const mark = body[0] ?? 0xff;
  if (mark <= markMax && mark !== packedMark && !(of === "backlog" && mark === backlogMark))
    return { is: "later", what: `${of} record of form ${mark}`, commit };
  const found = decodeBody(mark, name, body);
  const parsed = parseRecord(of, clientId, found);
  if ("later" in parsed) return { is: "later", what: `${of} record of version ${parsed.later}`, commit };
  if ("wrong" in parsed) return { is: "wrong", why: parsed.wrong };
  return { is: "record", change: { of, clientId, id, record: parsed.record } as Change, commit };
}

/** The same record as of another commit, also one of a later version; undefined: it is damaged. */
export function resealed(stored: Uint8Array, commit: number): Uint8Array | undefined {
  const opened = open(stored);
  return opened && sealed(opened.body, commit);
}

function sealed(body: Buffer, commit: number): Uint8Array {
  const bytes = Buffer.allocUnsafe(headBytes + body.length);
  bytes.writeUIntBE(commit, 4, 6);
  body.copy(bytes, headBytes);
  bytes.writeUInt32BE(checksumOf(bytes, 4), 0);
  return bytes;
}

/** undefined: damaged. */
function open(stored: Uint8Array): { readonly body: Buffer; readonly commit: number } | undefined {
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  if (bytes.length < headBytes || bytes.readUInt32BE(0) !== checksumOf(bytes, 4)) return undefined;
  const commit = bytes.readUIntBE(4, 6);
  return commit <= commitMax ? { body: bytes.subarray(headBytes), commit } : undefined;
}

function decodeBody(mark: number, { of, clientId }: RecordName, body: Buffer): unknown {
  if (mark === packedMark) return unpack(of, clientId, body);
  return mark === backlogMark ? decodeBacklog(body) : parse(body)?.parsed;
}

function parse(body: Buffer): { readonly parsed: unknown } | undefined {
  try {
    return { parsed: JSON.parse(body.toString("utf8"), fromOctets) as unknown };
  } catch {
    return undefined; // no JSON, or nested too deep
  }
}

function withOctets(this: unknown, _key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return { $octets: Buffer.from(value).toString("base64") } satisfies Octets;
  // A Buffer has turned itself into this before we see it.
  if (isBufferJson(value)) return { $octets: Buffer.from(value.data).toString("base64") } satisfies Octets;
  return value;
}

function fromOctets(_key: string, value: unknown): unknown {
  if (typeof value !== "object" || value === null || !("$octets" in value)) return value;
  return typeof value.$octets === "string" ? new Uint8Array(Buffer.from(value.$octets, "base64")) : value;
}

function isBufferJson(value: unknown): value is { readonly type: "Buffer"; readonly data: number[] } {
  return typeof value === "object" && value !== null && "type" in value && value.type === "Buffer" && "data" in value;
}
