/**
 * Properties of MQTT 5. Those of PUBLISH that describe the message are read and written; all others are skipped.
 * [MQTT 5 2.2.2]
 */
import { isUtf8 } from "node:buffer";
import type { PublicationMeta } from "../core/types.ts";

/**
 * At most so many octets of a PUBLISH's properties are kept with a message. If there are more, only the expiry is kept:
 * see `PublicationMeta`.
 */
export const metaBytesMax = 4_000;

/** The properties of PUBLISH that the gateway uses. */
export interface PublishProperties {
  readonly expirySeconds?: number;
  /** One id for each of the gateway's subscriptions that the message matches, if they have ids. */
  readonly subscriptionIds?: readonly number[];
  readonly meta?: PublicationMeta;
}

/** A number of one to four octets; undefined: it does not end within four octets, or within `octets`. [MQTT 5 1.5.5] */
export function variableIntegerAt(octets: Uint8Array, at: number): number | undefined {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const octet = octets[at + i];
    if (octet === undefined) return undefined;
    value += (octet & 0x7f) * 2 ** (7 * i);
    if (octet < 0x80) return value;
  }
  return undefined;
}

function variableIntegerBytes(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

/** The index after the properties that begin here; undefined: they do not fit before `end`. */
export function skipProperties(octets: Uint8Array, at: number, end: number): number | undefined {
  const length = variableIntegerAt(octets, at);
  if (length === undefined) return undefined;
  const after = at + variableIntegerBytes(length) + length;
  return after <= end ? after : undefined;
}

const expiryInterval = 0x02;
const contentType = 0x03;
const responseTopic = 0x08;
const correlationData = 0x09;
const subscriptionIdentifier = 0x0b;
export const topicAlias = 0x23;
const userProperty = 0x26;

/**
 * Octets of a property of PUBLISH after its identifier; undefined: it is no such property, or was not agreed on (topic
 * alias).
 */
function valueBytes(octets: Uint8Array, identifier: number, at: number): number | undefined {
  switch (identifier) {
    case 0x01: // payload format indicator
      return 1;
    case expiryInterval:
      return 4;
    case contentType:
    case responseTopic:
    case correlationData:
      // `slice` of a Buffer would be no copy.
      return 2 + u16At(octets, at);
    case subscriptionIdentifier: {
      const value = variableIntegerAt(octets, at);
      return value === undefined || value === 0 ? undefined : variableIntegerBytes(value);
    }
    case userProperty: {
      const name = 2 + u16At(octets, at);
      return name + 2 + u16At(octets, at + name);
    }
    default:
      return undefined;
  }
}

/** Reads the properties of a PUBLISH; undefined: they are malformed. [MQTT 5 3.3.2.3] */
export function readPublishProperties(
  octets: Uint8Array,
  start: number,
  packetEnd: number,
): { readonly properties: PublishProperties; readonly end: number } | undefined {
  const end = skipProperties(octets, start, packetEnd);
  if (end === undefined) return undefined;
  let at = start + variableIntegerBytes(variableIntegerAt(octets, start) ?? 0);
  let seen = 0;
  let expirySeconds: number | undefined;
  const subscriptionIds: number[] = [];
  let meta: Writable<PublicationMeta> | undefined;
  const isKept = end - start <= metaBytesMax;
  while (at < end) {
    const identifier = octets[at] as number;
    const bytes = valueBytes(octets, identifier, at + 1);
    if (bytes === undefined || !(at + 1 + bytes <= end)) return undefined;
    if (identifier === subscriptionIdentifier) subscriptionIds.push(variableIntegerAt(octets, at + 1) ?? 0);
    else if (identifier !== userProperty) {
      if (seen & (1 << identifier)) return undefined; // only those two may occur more than once
      seen |= 1 << identifier;
    }
    if (identifier === expiryInterval) {
      expirySeconds = u16At(octets, at + 1) * 65_536 + u16At(octets, at + 3);
      meta = { ...meta, expirySeconds };
    } else if (isKept) meta = withProperty(meta, octets, identifier, at + 1);
    at += 1 + bytes;
  }
  const properties = {
    ...(expirySeconds !== undefined && { expirySeconds }),
    ...(subscriptionIds.length > 0 && { subscriptionIds }),
    ...(meta && { meta }),
  };
  return { properties, end };
}

type Writable<T> = { -readonly [Key in keyof T]: T[Key] };

/**
 * A malformed property is left out. No device sees the properties, so neither a message nor a connection is lost
 * because of one.
 */
function withProperty(
  meta: Writable<PublicationMeta> | undefined,
  octets: Uint8Array,
  identifier: number,
  at: number,
): Writable<PublicationMeta> | undefined {
  switch (identifier) {
    case contentType: {
      const text = textAt(octets, at);
      return text === undefined ? meta : { ...meta, contentType: text };
    }
    case responseTopic: {
      const text = textAt(octets, at);
      return !text || /[+#]/.test(text) ? meta : { ...meta, responseTopic: text };
    }
    case correlationData:
      // `slice` of a Buffer would be no copy.
      return { ...meta, correlationData: Uint8Array.prototype.slice.call(octets, at + 2, at + 2 + u16At(octets, at)) };
    case userProperty: {
      const name = textAt(octets, at);
      const value = textAt(octets, at + 2 + u16At(octets, at));
      if (name === undefined || value === undefined) return meta;
      return { ...meta, userProperties: [...(meta?.userProperties ?? []), [name, value]] };
    }
    default:
      return meta;
  }
}

/** A text after its length; undefined: it is invalid. [MQTT 5 1.5.4] */
function textAt(octets: Uint8Array, at: number): string | undefined {
  const part = Buffer.from(octets.buffer, octets.byteOffset + at + 2, u16At(octets, at));
  return isUtf8(part) && !part.includes(0) ? part.toString("utf8") : undefined;
}

/**
 * Encodes these properties of a PUBLISH, with their length before them; with a topic alias if it is not 0.
 * [MQTT 5 3.3.2.3]
 */
export function publishProperties(meta: PublicationMeta, alias = 0): Uint8Array {
  const parts: Uint8Array[] = [];
  const withLength = (octets: Uint8Array) =>
    parts.push(Uint8Array.of(octets.length >> 8, octets.length & 0xff), octets);
  const text = (value: string) => withLength(Buffer.from(value, "utf8"));
  const identify = (identifier: number) => parts.push(Uint8Array.of(identifier));
  if (alias > 0) parts.push(Uint8Array.of(topicAlias, alias >> 8, alias & 0xff));
  if (meta.expirySeconds !== undefined) {
    const value = Buffer.alloc(5, expiryInterval);
    value.writeUInt32BE(meta.expirySeconds, 1);
    parts.push(value);
  }
  if (meta.contentType !== undefined) {
    identify(contentType);
    text(meta.contentType);
  }
  if (meta.responseTopic !== undefined) {
    identify(responseTopic);
    text(meta.responseTopic);
  }
  if (meta.correlationData !== undefined) {
    identify(correlationData);
    withLength(meta.correlationData);
  }
  for (const [name, value] of meta.userProperties ?? []) {
    identify(userProperty);
    text(name);
    text(value);
  }
  if (meta.originAt !== undefined) {
    identify(userProperty);
    text("accepted");
    text(new Date(meta.originAt).toISOString());
  }
  const body = Buffer.concat(parts);
  return Buffer.concat([variableInteger(body.length), body]);
}

function variableInteger(value: number): Uint8Array {
  const octets: number[] = [];
  let rest = value;
  for (; rest >= 128; rest >>>= 7) octets.push((rest & 0x7f) | 0x80);
  return Uint8Array.of(...octets, rest);
}

/** Beyond the end the result is NaN, for which every comparison is false. */
function u16At(octets: Uint8Array, at: number): number {
  return (octets[at] ?? Number.NaN) * 256 + (octets[at + 1] ?? Number.NaN);
}
