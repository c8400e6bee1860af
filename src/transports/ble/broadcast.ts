/**
 * Sensors that never connect: a PUBLISH at QoS -1 in an advertisement. docs/guide/ble-profile.md specifies it.
 *
 * Manufacturer data (after the company id) or service data (after the UUID) holds:
 *   101E A R TT | topic id or short name (2) | counter (2, authenticated 4) | data | tag (authenticated 4)
 * E: encrypted, A: authenticated (always, if encrypted), R: retain, TT: TopicIdType, 01 predefined or 10 short. Numbers are
 * big-endian, as in MQTT-SN.
 */
import { createDecipheriv, createHmac, timingSafeEqual } from "node:crypto";
import type { Instant } from "../../core/types.ts";
import type { Advertisement } from "./advertisement.ts";
import type { BleOptions } from "./options.ts";
import { normalUuid } from "./uuid.ts";

const marker = 0xa0;
const encryptedBit = 0x10;
const authenticatedBit = 0x08;
const retainBit = 0x04;
const tagBytes = 4;
/** The length of a key for AES-128; longer keys are for tags alone. */
const cipherKeyBytes = 16;
/**
 * A counter that is only a little behind the last one is a late copy, if it arrives soon after the last one. Otherwise
 * the sensor has begun to count again.
 */
const lateCopies = 64;
const lateCopyMs = 60_000;

export const broadcastDrops = [
  "duplicate",
  "replayed",
  "malformed",
  "no-key",
  "not-authenticated",
  "wrong-tag",
  "too-many",
  "no-rule",
] as const;
export type BroadcastDrop = (typeof broadcastDrops)[number];

export type BroadcastOutcome =
  | { readonly message: Uint8Array; readonly authenticated: boolean; readonly counter: number }
  | { readonly dropped: BroadcastDrop };

interface Sender {
  counter: number | undefined;
  lastAt: Instant;
  /** Messages since `minuteAt`. */
  inMinute: number;
  minuteAt: Instant;
}

/** The part of an advertisement that may be a broadcast; undefined: there is none. */
export function broadcastPayload(
  seen: Pick<Advertisement, "manufacturerData" | "serviceData">,
  options: Pick<BleOptions["broadcast"], "enabled" | "companyId" | "serviceUuid">,
): Uint8Array | undefined {
  if (!options.enabled) return undefined;
  for (const element of seen.manufacturerData) {
    const company = (element[0] ?? 0) + 256 * (element[1] ?? 0);
    const payload = element.subarray(2);
    if (company === options.companyId && isMarked(payload)) return payload;
  }
  if (options.serviceUuid === null) return undefined;
  const uuid = normalUuid(options.serviceUuid);
  return seen.serviceData.find((entry) => entry.uuid === uuid && isMarked(entry.data))?.data;
}

function isMarked(payload: Uint8Array): boolean {
  return ((payload[0] ?? 0) & 0xf0 & ~encryptedBit) === marker;
}

export class BroadcastReceiver {
  readonly #options: BleOptions["broadcast"];
  readonly #keys: ReadonlyMap<string, Uint8Array>;
  /** Senders, ordered by the time of their last message, the oldest first. */
  readonly #senders = new Map<string, Sender>();
  /** Counters of authenticated senders. They are never forgotten, because there are only as many as keys. */
  readonly #authenticated: Map<string, number>;

  /** `counters`: the stored counters of authenticated senders. */
  constructor(
    options: BleOptions["broadcast"],
    keys: ReadonlyMap<string, Uint8Array>,
    counters: ReadonlyMap<string, number> = new Map(),
  ) {
    this.#options = options;
    this.#keys = keys;
    this.#authenticated = new Map(counters);
  }

  get senders(): number {
    return this.#senders.size;
  }

  /**
   * The next message of this sensor is treated as new, although its counter may be low. False: the sensor was not
   * known.
   */
  forget(address: string): boolean {
    const wasKept = this.#authenticated.delete(address);
    return this.#senders.delete(address) || wasKept;
  }

  receive(address: string, payload: Uint8Array, now: Instant): BroadcastOutcome {
    const control = payload[0] ?? 0;
    const authenticated = (control & authenticatedBit) !== 0;
    const counterBytes = authenticated ? 4 : 2;
    const topicIdType = control & 0x03;
    const dataAt = 3 + counterBytes;
    const dataEnd = payload.byteLength - (authenticated ? tagBytes : 0);
    const encrypted = (control & encryptedBit) !== 0;
    if (dataEnd < dataAt || (topicIdType !== 1 && topicIdType !== 2)) return { dropped: "malformed" };
    if (encrypted && !authenticated) return { dropped: "malformed" };
    const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
    const counter = authenticated ? view.getUint32(3) : view.getUint16(3);
    const key = this.#keys.get(address);
    let data: Uint8Array | undefined = payload.subarray(dataAt, dataEnd);
    if (encrypted) {
      if (!key) return { dropped: "no-key" };
      data = decrypted(key, address, payload.subarray(0, dataAt), payload.subarray(dataAt));
      if (!data) return { dropped: "wrong-tag" };
    } else if (authenticated) {
      if (!key) return { dropped: "no-key" };
      const tag = broadcastTag(key, address, payload.subarray(0, dataEnd));
      if (!timingSafeEqual(tag, payload.subarray(dataEnd))) return { dropped: "wrong-tag" };
    } else if (key || !this.#options.unknownSenders) return { dropped: "not-authenticated" };
    const dropped = this.#admit(address, counter, authenticated, now);
    if (dropped) return { dropped };
    const message = publishMinusOne({
      retain: (control & retainBit) !== 0,
      topicIdType,
      topicId: view.getUint16(1),
      data,
    });
    return { message, authenticated, counter };
  }

  #admit(address: string, counter: number, authenticated: boolean, now: Instant): BroadcastDrop | undefined {
    const sender = this.#senderOf(address, now);
    const last = authenticated ? this.#authenticated.get(address) : sender.counter;
    if (last !== undefined) {
      if (counter === last) return "duplicate";
      if (authenticated && counter < last) return "replayed";
      const behind = (last - counter) & 0xffff;
      if (!authenticated && behind <= lateCopies && now - sender.lastAt < lateCopyMs) return "replayed";
    }
    if (now - sender.minuteAt >= 60_000) {
      sender.minuteAt = now;
      sender.inMinute = 0;
    }
    if (sender.inMinute >= this.#options.perMinuteMax) return "too-many";
    sender.inMinute++;
    sender.lastAt = now;
    if (authenticated) this.#authenticated.set(address, counter);
    else sender.counter = counter;
    return undefined;
  }

  #senderOf(address: string, now: Instant): Sender {
    const known = this.#senders.get(address);
    const sender = known ?? { counter: undefined, lastAt: now, inMinute: 0, minuteAt: now };
    this.#senders.delete(address);
    this.#senders.set(address, sender);
    if (this.#senders.size > this.#options.sendersMax) {
      const oldest = this.#senders.keys().next();
      if (!oldest.done) this.#senders.delete(oldest.value);
    }
    return sender;
  }
}

/** The first octets of HMAC-SHA-256 over the sender's address (as it is written) and the payload before the tag. */
export function broadcastTag(key: Uint8Array, address: string, payload: Uint8Array): Uint8Array {
  return createHmac("sha256", key)
    .update(Buffer.from(address.replaceAll(":", ""), "hex"))
    .update(payload)
    .digest()
    .subarray(0, tagBytes);
}

/**
 * AES-128-CCM. The nonce is the sender's address (as it is written) and everything before the data, so this is authenticated too.
 * undefined: the tag or the key does not fit.
 */
function decrypted(key: Uint8Array, address: string, head: Uint8Array, data: Uint8Array): Uint8Array | undefined {
  if (key.byteLength !== cipherKeyBytes) return undefined;
  const nonce = Buffer.concat([Buffer.from(address.replaceAll(":", ""), "hex"), head]);
  const decipher = createDecipheriv("aes-128-ccm", key, nonce, { authTagLength: tagBytes });
  decipher.setAuthTag(data.subarray(-tagBytes));
  const clear = decipher.update(data.subarray(0, -tagBytes));
  try {
    decipher.final();
  } catch {
    return undefined; // any sender can cause this
  }
  return clear;
}

interface Reading {
  readonly retain: boolean;
  readonly topicIdType: number;
  readonly topicId: number;
  readonly data: Uint8Array;
}

/** PUBLISH with QoS -1 and MsgId 0. [MQTT-SN 1.2 §5.4.12] */
export function publishMinusOne({ retain, topicIdType, topicId, data }: Reading): Uint8Array {
  const long = data.byteLength > 248;
  const head = long ? 9 : 7;
  const message = new Uint8Array(head + data.byteLength);
  const view = new DataView(message.buffer);
  if (long) {
    view.setUint8(0, 1);
    view.setUint16(1, message.byteLength);
  } else view.setUint8(0, message.byteLength);
  view.setUint8(head - 6, 0x0c);
  view.setUint8(head - 5, 0x60 | (retain ? 0x10 : 0) | topicIdType);
  view.setUint16(head - 4, topicId);
  message.set(data, head);
  return message;
}
