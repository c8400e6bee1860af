/**
 * The record layer: plain records of epoch 0, and sealed ones of epoch 1 in both forms, bare and with a connection id.
 * [RFC 6347 4.1, RFC 9146 3 to 5]
 */
import type { Aead } from "./crypto.ts";
import { ivOctets } from "./key-schedule.ts";
import { copy, readNumber, writeNumber } from "./octets.ts";

export const contentTypes = { changeCipherSpec: 20, alert: 21, handshake: 22, applicationData: 23, cid: 25 } as const;

/** Epoch and number of a record, 2 and 6 octets. */
const seqOctets = 8;
const headOctets = 13;
/** The part of the nonce that each encrypted record carries after its head. [RFC 6655 3, RFC 5288 3] */
const explicitNonceOctets = 8;
/** The most octets of content in a record. [RFC 6347 4.1: as in TLS] */
export const plaintextOctetsMax = 2 ** 14;
/** The last sequence number of an epoch. [RFC 6347 4.1] */
export const seqMax = 2 ** 48 - 1;

export interface RecordIn {
  readonly type: number;
  readonly epoch: number;
  readonly seq: number;
  /** The connection id of a record of type `cid`. */
  readonly cid: Uint8Array | undefined;
  /** Epoch and sequence number as they were received. */
  readonly seqBytes: Uint8Array;
  readonly body: Uint8Array;
  /** The offset of the next record in the datagram. */
  readonly end: number;
}

/** The keys of one direction of a connection. */
export interface Direction {
  readonly aead: Aead;
  readonly iv: Uint8Array;
  readonly tagOctets: number;
}

export interface RecordOut {
  readonly type: number;
  readonly seq: number;
  /** The receiver's connection id; undefined: a bare record. */
  readonly cid: Uint8Array | undefined;
  readonly content: Uint8Array;
}

/**
 * The record at this offset; undefined: there is none, and the rest of the datagram is ignored. `cidOctets`: the length
 * of the server's connection ids.
 */
export function readRecord(bytes: Uint8Array, at: number, cidOctets: number): RecordIn | undefined {
  const type = bytes[at] ?? 0;
  const withCid = type === contentTypes.cid;
  const head = headOctets + (withCid ? cidOctets : 0);
  if (bytes.length - at < head || bytes[at + 1] !== 0xfe || (bytes[at + 2] !== 0xfd && bytes[at + 2] !== 0xff))
    return undefined;
  const end = at + head + readNumber(bytes, at + head - 2, 2);
  if (end > bytes.length) return undefined;
  return {
    type,
    epoch: readNumber(bytes, at + 3, 2),
    seq: readNumber(bytes, at + 5, 6),
    cid: withCid ? bytes.subarray(at + 11, at + 11 + cidOctets) : undefined,
    seqBytes: bytes.subarray(at + 3, at + 11),
    body: bytes.subarray(at + head, end),
    end,
  };
}

/** `version`: 0xfefd, except for HelloVerifyRequest. [RFC 6347 4.2.1] */
export function plainRecord(type: number, seq: number, content: Uint8Array, version = 0xfefd): Uint8Array {
  const bytes = new Uint8Array(headOctets + content.length);
  bytes[0] = type;
  writeNumber(bytes, 1, version, 2);
  writeNumber(bytes, 5, seq, 6);
  writeNumber(bytes, 11, content.length, 2);
  bytes.set(content, headOctets);
  return bytes;
}

/** Octets by which an encrypted record is longer than its content. */
export function sealedOverhead(tagOctets: number, cidOctets: number | undefined): number {
  const bare = headOctets + explicitNonceOctets + tagOctets;
  return cidOctets === undefined ? bare : bare + cidOctets + 1;
}

/** A record of epoch 1. The caller must never use a number twice with one key. */
export function sealedRecord(direction: Direction, { type, seq, cid, content }: RecordOut): Uint8Array {
  const seqBytes = new Uint8Array(seqOctets);
  seqBytes[1] = 1;
  writeNumber(seqBytes, 2, seq, 6);
  const inner = cid ? withType(content, type) : content;
  const about = cid ? aboutCid(seqBytes, cid, inner.length) : aboutBare(seqBytes, type, inner.length);
  const sealed = direction.aead.seal(nonceOf(direction.iv, seqBytes), about, inner);
  const bodyOctets = explicitNonceOctets + sealed.length;
  const bytes = new Uint8Array(headOctets + (cid?.length ?? 0) + bodyOctets);
  bytes[0] = cid ? contentTypes.cid : type;
  bytes[1] = 0xfe;
  bytes[2] = 0xfd;
  copy(bytes, 3, seqBytes);
  let at = 3 + seqOctets;
  if (cid) {
    copy(bytes, at, cid);
    at += cid.length;
  }
  writeNumber(bytes, at, bodyOctets, 2);
  copy(bytes, at + 2, seqBytes);
  bytes.set(sealed, at + 2 + explicitNonceOctets);
  return bytes;
}

/** Undefined: the record was not encrypted with this key, or has no content. */
export function openRecord(
  direction: Direction,
  record: RecordIn,
): { readonly type: number; readonly content: Uint8Array } | undefined {
  const { body, seqBytes, cid, type } = record;
  const length = body.length - explicitNonceOctets - direction.tagOctets;
  if (length < 0 || length > plaintextOctetsMax + 256) return undefined;
  const nonce = nonceOf(direction.iv, body);
  const about = cid ? aboutCid(seqBytes, cid, length) : aboutBare(seqBytes, type, length);
  const text = direction.aead.open(nonce, about, body.subarray(explicitNonceOctets));
  if (!text) return undefined;
  if (!cid) return { type, content: text };
  // Content, its true type, and any number of zeros. [RFC 9146 4]
  let end = text.length - 1;
  while (end >= 0 && text[end] === 0) end--;
  return end < 0 ? undefined : { type: text[end] ?? 0, content: text.subarray(0, end) };
}

function nonceOf(iv: Uint8Array, explicit: Uint8Array): Uint8Array {
  const nonce = new Uint8Array(ivOctets + explicitNonceOctets);
  copy(nonce, 0, iv);
  copy(nonce, ivOctets, explicit, 0, explicitNonceOctets);
  return nonce;
}

/** Adds the true type to the content. [RFC 9146 4] */
function withType(content: Uint8Array, type: number): Uint8Array {
  const inner = new Uint8Array(content.length + 1);
  inner.set(content);
  inner[content.length] = type;
  return inner;
}

/** The additional data that are authenticated with the record. [RFC 5246 6.2.3.3] */
function aboutBare(seqBytes: Uint8Array, type: number, length: number): Uint8Array {
  const about = new Uint8Array(headOctets);
  copy(about, 0, seqBytes);
  about[8] = type;
  about[9] = 0xfe;
  about[10] = 0xfd;
  writeNumber(about, 11, length, 2);
  return about;
}

/** The additional data of a record with a connection id. [RFC 9146 5.3] */
function aboutCid(seqBytes: Uint8Array, cid: Uint8Array, length: number): Uint8Array {
  const about = new Uint8Array(2 * seqOctets + 5 + cid.length + 2);
  for (let i = 0; i < seqOctets; i++) about[i] = 0xff;
  about[8] = contentTypes.cid;
  about[9] = cid.length;
  about[10] = contentTypes.cid;
  about[11] = 0xfe;
  about[12] = 0xfd;
  copy(about, 13, seqBytes);
  copy(about, 21, cid);
  writeNumber(about, 21 + cid.length, length, 2);
  return about;
}
