/**
 * The form of backlog records: mark (1 octet), QoS and retain (1), time (6), length of the topic (2), topic, payload. A
 * store may have a million of them, and each is checked when the store is opened. Therefore `BacklogGlance` checks a
 * stored record without making an object of it.
 */
import type { BacklogRecord } from "../core/record.ts";
import type { QoS } from "../core/types.ts";
import { isTopicName } from "../wire/topic.ts";
import { checksumOf } from "./checksum.ts";
import { commitMax, type RecordName } from "./keys.ts";

/** The first octet of a backlog record in this form. */
export const backlogMark = 0x01;
/** Length of the fields before the topic. */
const headBytes = 10;
/** Length of what precedes each stored record: its checksum, and the number of its commit. */
const sealBytes = 10;

export function encodeBacklog({ publication, at }: BacklogRecord): Buffer {
  const topic = Buffer.from(publication.topicName, "utf8");
  const bytes = Buffer.allocUnsafe(headBytes + topic.length + publication.payload.byteLength);
  bytes[0] = backlogMark;
  bytes[1] = publication.qos | (publication.retain ? 4 : 0);
  bytes.writeUIntBE(Math.max(0, Math.floor(at)), 2, 6);
  bytes.writeUInt16BE(topic.length, 8);
  topic.copy(bytes, headBytes);
  bytes.set(publication.payload, headBytes + topic.length);
  return bytes;
}

/** Returns the record as JSON would give it; undefined: the octets are too few. */
export function decodeBacklog(bytes: Buffer): (BacklogRecord & { readonly v: 1 }) | undefined {
  if (bytes.length < headBytes) return undefined;
  const payloadAt = headBytes + bytes.readUInt16BE(8);
  if (payloadAt > bytes.length) return undefined;
  return {
    v: 1,
    publication: {
      topicName: bytes.toString("utf8", headBytes, payloadAt),
      payload: new Uint8Array(bytes.subarray(payloadAt)),
      qos: ((bytes[1] ?? 0) & 3) as QoS,
      retain: ((bytes[1] ?? 0) & 4) !== 0,
    },
    at: bytes.readUIntBE(2, 6),
  };
}

const digits = 12;

/**
 * Checks stored backlog records one after the other, as `decodeRecord` would. Neighbouring records have the same client
 * and often the same topic, so only the first one of a client is decoded. When `look` has returned true, the fields
 * describe its record.
 */
export class BacklogGlance {
  id = 0;
  commit = 0;
  /** Octets as the core's `backlogBytes` counts them, without the fixed share of each record. */
  octets = 0;
  /** The key of the last decoded record, without its number. */
  #client = "";
  #topic: Buffer = Buffer.alloc(0);
  /** Length of the last topic in UTF-16 units; 0: there was no topic yet. */
  #topicLength = 0;

  /** Tells that a record was decoded. The following records of the same client are then recognized by their keys. */
  goesOnWith(key: string, { of }: RecordName): void {
    if (of === "backlog") this.#client = key.slice(0, -digits);
  }

  /** Checks a record. False: it is of another client, in another form, or invalid. */
  look(key: string, stored: Buffer): boolean {
    const client = this.#client;
    if (client === "" || key.length !== client.length + digits || !key.startsWith(client)) return false;
    return this.#number(key) && this.#body(stored);
  }

  #number(key: string): boolean {
    let id = 0;
    for (let i = key.length - digits; i < key.length; i++) {
      const code = key.charCodeAt(i);
      const digit = code >= 0x30 && code <= 0x39 ? code - 0x30 : code >= 0x61 && code <= 0x66 ? code - 0x57 : -1;
      if (digit < 0) return false;
      id = id * 16 + digit;
    }
    this.id = id;
    return id > 0;
  }

  #body(stored: Buffer): boolean {
    const topicAt = sealBytes + headBytes;
    if (stored.length < topicAt || stored[sealBytes] !== backlogMark) return false;
    if (stored.readUInt32BE(0) !== checksumOf(stored, 4)) return false;
    const payloadAt = topicAt + stored.readUInt16BE(topicAt - 2);
    const commit = stored.readUIntBE(4, 6);
    const qos = (stored[sealBytes + 1] ?? 0) & 3;
    if (payloadAt > stored.length || commit > commitMax || qos === 3) return false;
    if (!this.#isSameTopic(stored, topicAt, payloadAt)) {
      const topic = stored.toString("utf8", topicAt, payloadAt);
      if (!isTopicName(topic)) return false;
      this.#topic = Buffer.from(stored.subarray(topicAt, payloadAt));
      this.#topicLength = topic.length;
    }
    this.commit = commit;
    this.octets = stored.length - payloadAt + this.#topicLength;
    return true;
  }

  #isSameTopic(stored: Buffer, from: number, to: number): boolean {
    const topic = this.#topic;
    if (this.#topicLength === 0 || topic.length !== to - from) return false;
    for (let i = 0; i < topic.length; i++) if (topic[i] !== stored[from + i]) return false;
    return true;
  }
}
