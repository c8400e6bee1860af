/**
 * Records as octets: checksum (4), number of the commit (6), then JSON in which octets are base64. Every record says its
 * version (`v`); what a later version adds is optional, so an older one reads on.
 */
import { crc32 } from "node:zlib";

const headBytes = 10;

interface Octets {
  readonly $octets: string;
}

export function encodeRecord(record: unknown, commit: number): Uint8Array {
  const json = Buffer.from(JSON.stringify(record, withOctets), "utf8");
  const bytes = Buffer.allocUnsafe(headBytes + json.length);
  bytes.writeUIntBE(commit, 4, 6);
  json.copy(bytes, headBytes);
  bytes.writeUInt32BE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

/** undefined: damaged. */
export function decodeRecord(stored: Uint8Array): { readonly record: unknown; readonly commit: number } | undefined {
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  if (bytes.length < headBytes || bytes.readUInt32BE(0) !== crc32(bytes.subarray(4))) return undefined;
  try {
    return {
      record: JSON.parse(bytes.toString("utf8", headBytes), fromOctets) as unknown,
      commit: bytes.readUIntBE(4, 6),
    };
  } catch {
    return undefined;
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
  return new Uint8Array(Buffer.from(String(value.$octets), "base64"));
}

function isBufferJson(value: unknown): value is { readonly type: "Buffer"; readonly data: number[] } {
  return typeof value === "object" && value !== null && "type" in value && value.type === "Buffer" && "data" in value;
}
