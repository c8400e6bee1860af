/**
 * Records as octets: checksum (4), number of the commit (6), then JSON in which octets are base64. Every record says its
 * version (`v`); what a later version adds is optional, so an older one reads on.
 */
import { crc32 } from "node:zlib";
import type { BacklogRecord } from "../core/record.ts";
import type { QoS } from "../core/types.ts";

const headBytes = 10;

interface Octets {
  readonly $octets: string;
}

/** First octet of a backlog record, which is not JSON: there may be a million. */
const backlogMark = 0x01;
const backlogHeadBytes = 10;

export function encodeRecord(record: unknown, commit: number): Uint8Array {
  const body = isBacklogRecord(record)
    ? encodeBacklog(record)
    : Buffer.from(JSON.stringify(record, withOctets), "utf8");
  const bytes = Buffer.allocUnsafe(headBytes + body.length);
  bytes.writeUIntBE(commit, 4, 6);
  body.copy(bytes, headBytes);
  bytes.writeUInt32BE(crc32(bytes.subarray(4)), 0);
  return bytes;
}

/** undefined: damaged. */
export function decodeRecord(stored: Uint8Array): { readonly record: unknown; readonly commit: number } | undefined {
  const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.byteLength);
  if (bytes.length < headBytes || bytes.readUInt32BE(0) !== crc32(bytes.subarray(4))) return undefined;
  try {
    if (bytes[headBytes] === backlogMark)
      return { record: decodeBacklog(bytes.subarray(headBytes)), commit: bytes.readUIntBE(4, 6) };
    return {
      record: JSON.parse(bytes.toString("utf8", headBytes), fromOctets) as unknown,
      commit: bytes.readUIntBE(4, 6),
    };
  } catch {
    return undefined;
  }
}

function isBacklogRecord(record: unknown): record is BacklogRecord {
  // A dead letter has these too, and more.
  const isOne = typeof record === "object" && record !== null && "publication" in record && "at" in record;
  return isOne && !("reason" in record);
}

/** Mark, QoS and retain, time (6), length of the topic (2), topic, payload. */
function encodeBacklog({ publication, at }: BacklogRecord): Buffer {
  const topic = Buffer.from(publication.topicName, "utf8");
  const bytes = Buffer.allocUnsafe(backlogHeadBytes + topic.length + publication.payload.byteLength);
  bytes[0] = backlogMark;
  bytes[1] = publication.qos | (publication.retain ? 4 : 0);
  bytes.writeUIntBE(Math.max(0, Math.floor(at)), 2, 6);
  bytes.writeUInt16BE(topic.length, 8);
  topic.copy(bytes, backlogHeadBytes);
  bytes.set(publication.payload, backlogHeadBytes + topic.length);
  return bytes;
}

function decodeBacklog(bytes: Buffer): BacklogRecord {
  const payloadAt = backlogHeadBytes + bytes.readUInt16BE(8);
  return {
    v: 1,
    publication: {
      topicName: bytes.toString("utf8", backlogHeadBytes, payloadAt),
      payload: new Uint8Array(bytes.subarray(payloadAt)),
      qos: ((bytes[1] ?? 0) & 3) as QoS,
      retain: ((bytes[1] ?? 0) & 4) !== 0,
    },
    at: bytes.readUIntBE(2, 6),
  };
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
