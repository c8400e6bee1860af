/**
 * Records as octets: checksum (4), number of the commit (6), then one of three forms. The *plain* form is JSON, with
 * octets in base64, and names its version (`v`). The *packed* form (`packed.ts`) has the same content in fewer octets.
 * Backlog records have a form of their own, because there may be a million of them; a record with `meta`, for which
 * this form has no room, is plain or packed. What a later version adds is optional, so an older version can read the
 * record.
 *
 * All forms are read everywhere. A disk has packed records unless `store.records` is plain; Redis has plain ones.
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

/** A first octet of at most this value means a form other than JSON. */
const markMax = 0x1f;

export type Decoded =
  | { readonly is: "record"; readonly change: Change; readonly commit: number }
  /** A record of a later version: this version does not know its kind or its form. */
  | { readonly is: "later"; readonly what: string; readonly commit: number }
  /** The record is damaged or invalid. */
  | { readonly is: "wrong"; readonly why: string };

/** The form in which records are written. */
export type Form = "plain" | "packed";

/** The octets of a record that is stored. The form depends on the kind of the record too. */
export function encodeRecord(change: Change, commit: number, form: Form = "plain"): Uint8Array {
  const { of, clientId, record } = change;
  if (of === "backlog" && record && !record.publication.meta) return sealed(encodeBacklog(record), commit);
  const packed = form === "packed" && record ? pack(of, clientId, record) : undefined;
  return packed ? sealed(packed, commit) : encodeValue({ v: version, ...record }, commit);
}

/** Whether versions before the packed form cannot read this record. */
export function isPacked(stored: Uint8Array): boolean {
  return stored[headBytes] === packedMark;
}

/** The octets of a value that is not a record, for example the format or a mark. */
export function encodeValue(value: unknown, commit: number): Uint8Array {
  return sealed(Buffer.from(JSON.stringify(value, withOctets), "utf8"), commit);
}

/** Decodes a value that is not a record; undefined: it is damaged. */
export function decodeValue(stored: Uint8Array): { readonly value: unknown; readonly commit: number } | undefined {
  const opened = open(stored);
  const value = opened && parse(opened.body);
  return opened && value ? { value: value.parsed, commit: opened.commit } : undefined;
}

/** Decodes the record under a key. Never throws, because any process may have written it. */
export function decodeRecord(key: string, stored: Uint8Array): Decoded {
  const opened = open(stored);
  const name = nameOf(key);
  if (name === "unknown") return { is: "later", what: `kind ${key.charAt(0)}`, commit: opened?.commit ?? 0 };
  if (!opened) return { is: "wrong", why: "damaged" };
  if (name === "wrong") return { is: "wrong", why: "its key is invalid" };
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

/**
 * Returns the same record with the number of another commit. This is possible with a record of a later version too.
 * undefined: it is damaged.
 */
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

/** Checks and removes checksum and number of the commit; undefined: the record is damaged. */
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
    const text = body.toString("utf8");
    // Few records have octets. Without the function JSON.parse takes a quarter of the time.
    const hasOctets = text.includes("$octets") || text.includes("\\u0024");
    return { parsed: (hasOctets ? JSON.parse(text, fromOctets) : JSON.parse(text)) as unknown };
  } catch {
    return undefined; // not JSON, or nested too deep
  }
}

function withOctets(this: unknown, _key: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return { $octets: Buffer.from(value).toString("base64") } satisfies Octets;
  // `toJSON` of a Buffer was called before this function gets the value.
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
