/** Converts octets to messages of MQTT-SN 1.2, and messages to octets. [§5.2, §5.4, §5.5] */
import type { Text, TopicIdType } from "../fields.ts";
import { type Field, type FlagName, type Layout, layoutByCode, layoutByType } from "./layout.ts";
import { type Message, type MessageType, type ReturnCodeName, returnCodes, type Writable } from "./messages.ts";

/** Reasons why a datagram is not a message. The names are stable: metrics, tests and logs match them. */
export const malformedCodes = [
  "too-short", //            fewer octets than a header has
  "bad-length", // the Length field has an impossible value (0, 1 alone, long form below 4)
  "length-mismatch", //      Length is not the size of the datagram
  "reserved-type", //        a MsgType that the standard reserves
  "wrong-size", //           the size rule of the MsgType is broken
  "bad-encapsulation", //    header too short, long outer form, nothing inside, nested
] as const;
export type MalformedCode = (typeof malformedCodes)[number];

/** The source or destination of a forwarded message. [§5.5] */
export interface Forwarded {
  /** Wireless Node Id, 0..252 octets, opaque. */
  readonly nodeId: Uint8Array;
  /** Ctrl bits 1-0; only meaningful towards a forwarder. */
  readonly radius: number;
}

export type Decoded =
  | { readonly ok: true; readonly message: Message; readonly forwarded?: Forwarded }
  | {
      readonly ok: false;
      readonly code: MalformedCode;
      /** Undefined: the header could not be read. */
      readonly type?: MessageType;
      /**
       * Set for a SUBSCRIBE or UNSUBSCRIBE whose id does not have two octets, because it is answered and not only
       * dropped. [§11]
       */
      readonly msgId?: number;
      /** Set when the fault is inside an intact encapsulation. */
      readonly forwarded?: Forwarded;
    };

const encapsulated = 0xfe;
const longestMessage = 65_535;
const longestNodeId = 252;

/**
 * Decodes one datagram. Never throws, allocates nothing by a length it has not checked.
 * Opaque fields of the result are views on `bytes`, not copies.
 */
export function decode(bytes: Uint8Array): Decoded {
  if (bytes.length >= 2 && bytes[0] !== 1 && bytes[1] === encapsulated) return decodeEncapsulated(bytes);
  return decodePlain(bytes);
}

function decodeEncapsulated(bytes: Uint8Array): Decoded {
  const headerBytes = bytes[0] as number;
  if (headerBytes < 3 || headerBytes >= bytes.length) return { ok: false, code: "bad-encapsulation" };
  const forwarded = { nodeId: bytes.subarray(3, headerBytes), radius: (bytes[2] as number) & 3 };
  const inner = bytes.subarray(headerBytes);
  if (inner.length >= 2 && messageCode(inner) === encapsulated)
    return { ok: false, code: "bad-encapsulation", forwarded };
  return { ...decodePlain(inner), forwarded };
}

function messageCode(bytes: Uint8Array): number | undefined {
  return bytes[0] === 1 ? bytes[3] : bytes[1];
}

function decodePlain(bytes: Uint8Array): Decoded {
  if (bytes.length < 2) return { ok: false, code: "too-short" };
  let header = 2;
  let length = bytes[0] as number;
  if (length === 1) {
    if (bytes.length < 4) return { ok: false, code: "too-short" };
    header = 4;
    length = u16At(bytes, 1);
  }
  if (length < header) return { ok: false, code: "bad-length" };
  const code = bytes[header - 1] as number;
  if (code === encapsulated) return { ok: false, code: "bad-encapsulation" };
  if (length !== bytes.length) return { ok: false, code: "length-mismatch" };
  const layout = layoutByCode[code];
  if (!layout) return { ok: false, code: "reserved-type" };
  if (!sizeFits(layout, length - header)) return { ok: false, code: "wrong-size", type: layout.type };
  if (layout.type === "PUBLISH") return readPublish(bytes, header);
  return isMsgIdAlone(layout.type) ? readMsgId(layout.type, bytes, header) : read(layout, bytes, header);
}

function sizeFits(layout: Layout, size: number): boolean {
  if (layout.sizes === "open") return size >= layout.minBytes;
  if (layout.sizes === "exact") return size === layout.minBytes;
  return layout.sizes.includes(size - layout.minBytes);
}

/** Reads the most frequent message like `read`, but without its loop. A test compares both. */
function readPublish(bytes: Uint8Array, at: number): Decoded {
  const flags = bytes[at] as number;
  return {
    ok: true,
    message: {
      type: "PUBLISH",
      dup: (flags & 0x80) !== 0,
      qos: qosOf[(flags >> 5) & 3] as 0,
      retain: (flags & 0x10) !== 0,
      topicIdType: topicIdTypes[flags & 3] as TopicIdType,
      topicId: u16At(bytes, at + 1),
      msgId: u16At(bytes, at + 3),
      data: payloadAt(bytes, at + 5),
    },
  };
}

/** The steps of an exchange at QoS 2: nothing but a MsgId. */
function isMsgIdAlone(type: string): type is "PUBREC" | "PUBREL" | "PUBCOMP" {
  return type === "PUBREC" || type === "PUBREL" || type === "PUBCOMP";
}

function readMsgId(type: "PUBREC" | "PUBREL" | "PUBCOMP", bytes: Uint8Array, at: number): Decoded {
  return { ok: true, message: { type, msgId: u16At(bytes, at) } };
}

/**
 * The rest of the message. V8 keeps up to 64 octets within the object, and moves them to separate memory as soon as a second view is made.
 * A copy costs less, and does not keep the datagram in memory.
 */
function payloadAt(bytes: Uint8Array, start: number): Uint8Array {
  return bytes.length - start <= 64 ? Uint8Array.prototype.slice.call(bytes, start) : bytes.subarray(start);
}

/** Reads a message field by field. Exported for the test that compares it with `readPublish`. */
export function read(layout: Layout, bytes: Uint8Array, start: number): Decoded {
  const values: Record<string, unknown> = { type: layout.type };
  let at = start;
  for (const field of layout.fields) {
    switch (field.kind) {
      case "u8":
      case "returnCode":
        values[field.name] = bytes[at++];
        break;
      case "u16":
        values[field.name] = u16At(bytes, at);
        at += 2;
        break;
      case "flags":
        for (const flag of field.flags) readFlag(values, flag, bytes[at] as number);
        at++;
        break;
      case "text":
        values[field.name] = textOf(bytes.subarray(at));
        break;
      case "octets":
        values[field.name] = bytes.subarray(at);
        break;
      case "optionalU16":
        values[field.name] = at < bytes.length ? u16At(bytes, at) : undefined;
        break;
      case "optionalWill":
        readWill(values, bytes, at);
        break;
      case "topicReference": {
        const isId = values["topicIdType"] === "predefined" || values["topicIdType"] === "short";
        if (isId && bytes.length - at !== 2) {
          return { ok: false, code: "wrong-size", type: layout.type, msgId: values["msgId"] as number };
        }
        const rest = bytes.subarray(at);
        values[field.name] = isId ? u16At(bytes, at) : values["topicIdType"] === "reserved" ? rest : textOf(rest);
        break;
      }
    }
  }
  // The table has exactly the fields of the message types; vectors and round trips of every message prove it.
  return { ok: true, message: values as unknown as Message };
}

function readWill(values: Record<string, unknown>, bytes: Uint8Array, at: number): void {
  const present = at < bytes.length;
  const flags = present ? (bytes[at] as number) : 0;
  readFlag(values, "qos", flags);
  readFlag(values, "retain", flags);
  values["willTopic"] = present ? textOf(bytes.subarray(at + 1)) : undefined;
}

const qosOf = [0, 1, 2, -1] as const;
const topicIdTypes: readonly TopicIdType[] = ["normal", "predefined", "short", "reserved"];

function readFlag(values: Record<string, unknown>, flag: FlagName, octet: number): void {
  switch (flag) {
    case "dup":
      values["dup"] = (octet & 0x80) !== 0;
      return;
    case "qos":
      values["qos"] = qosOf[(octet >> 5) & 3];
      return;
    case "grantedQos":
      values["qos"] = Math.min((octet >> 5) & 3, 2);
      return;
    case "retain":
      values["retain"] = (octet & 0x10) !== 0;
      return;
    case "will":
      values["will"] = (octet & 0x08) !== 0;
      return;
    case "cleanSession":
      values["cleanSession"] = (octet & 0x04) !== 0;
      return;
    case "topicIdType":
      values["topicIdType"] = topicIdTypes[octet & 3];
      return;
  }
}

function u16At(bytes: Uint8Array, at: number): number {
  return ((bytes[at] as number) << 8) | (bytes[at + 1] as number);
}

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();

function textOf(octets: Uint8Array): Text {
  if (octets.length <= 64) {
    // Short ASCII, the usual case: faster than a decoder call.
    let text = "";
    for (const octet of octets) {
      if (octet >= 0x80) return decodeText(octets);
      text += String.fromCharCode(octet);
    }
    return text;
  }
  return decodeText(octets);
}

function decodeText(octets: Uint8Array): Text {
  try {
    return strictUtf8.decode(octets);
  } catch {
    return octets; // not UTF-8: the rule of the message decides
  }
}

/**
 * Encodes one message, encapsulated if `forwarded` is given.
 * @throws RangeError when it exceeds 65535 octets, or a number does not fit its field: our own mistake.
 */
export function encode(message: Writable, forwarded?: Forwarded): Uint8Array {
  return (forwarded ? undefined : encodeAnswer(message)) ?? encodeByLayout(message, forwarded);
}

/**
 * Encodes the answers to publications, with the same result as `encodeByLayout`. Undefined: the message is another one,
 * or does not fit its fields.
 */
function encodeAnswer(message: Writable): Uint8Array | undefined {
  switch (message.type) {
    case "PUBACK": {
      const { topicId, msgId } = message;
      const code = "reason" in message ? returnCodes[message.reason] : message.returnCode;
      if (!isU16(topicId) || !isU16(msgId) || !isU16(code) || code > 0xff) return undefined;
      const bytes = new Uint8Array(7);
      bytes[0] = 7;
      bytes[1] = pubAckCode;
      writeU16(bytes, 2, topicId);
      writeU16(bytes, 4, msgId);
      bytes[6] = code;
      return bytes;
    }
    case "PUBREC":
    case "PUBREL":
    case "PUBCOMP": {
      const { msgId } = message;
      if (!isU16(msgId)) return undefined;
      const bytes = new Uint8Array(4);
      bytes[0] = 4;
      bytes[1] = layoutByType[message.type].code;
      writeU16(bytes, 2, msgId);
      return bytes;
    }
    default:
      return undefined;
  }
}

const pubAckCode = layoutByType.PUBACK.code;

function isU16(value: number): boolean {
  return (value & 0xffff) === value;
}

/** Encodes field by field. Exported for the test that compares it with `encode`. */
export function encodeByLayout(message: Writable, forwarded?: Forwarded): Uint8Array {
  const layout = layoutByType[message.type];
  const values = message as unknown as Readonly<Record<string, unknown>>;
  const tail = tailOf(layout, values);
  const size = bodyBytes(layout, values, tail);
  const header = size + 2 <= 255 ? 2 : 4;
  const length = size + header;
  if (length > longestMessage)
    throw new RangeError(`${message.type} of ${length} octets is longer than ${longestMessage}`);
  const before = forwarded ? 3 + forwarded.nodeId.length : 0;
  const bytes = new Uint8Array(before + length);
  if (forwarded) writeEncapsulation(bytes, forwarded);
  let at = before;
  if (header === 4) {
    bytes[at++] = 1;
    bytes[at++] = length >> 8;
  }
  bytes[at++] = length & 0xff;
  bytes[at++] = layout.code;
  write(layout, values, tail, bytes, at);
  return bytes;
}

function writeEncapsulation(bytes: Uint8Array, forwarded: Forwarded): void {
  if (forwarded.nodeId.length > longestNodeId) throw new RangeError("a Wireless Node Id has at most 252 octets");
  bytes[0] = 3 + forwarded.nodeId.length;
  bytes[1] = encapsulated;
  bytes[2] = forwarded.radius & 3;
  bytes.set(forwarded.nodeId, 3);
}

/** Size of the encoded message in octets, without encoding it. */
export function encodedLength(message: Writable): number {
  const layout = layoutByType[message.type];
  const values = message as unknown as Readonly<Record<string, unknown>>;
  const size = bodyBytes(layout, values, tailOf(layout, values));
  return size + (size + 2 <= 255 ? 2 : 4);
}

const nothing = new Uint8Array(0);

/** The octets of the field that runs to the end, if the message has one. */
function tailOf(layout: Layout, values: Readonly<Record<string, unknown>>): Uint8Array {
  const last: Field | undefined = layout.fields.at(-1);
  if (!last) return nothing;
  if (last.kind === "octets") return values[last.name] as Uint8Array;
  const text =
    last.kind === "text" || last.kind === "topicReference"
      ? (values[last.name] as Text | number)
      : last.kind === "optionalWill"
        ? (values["willTopic"] as Text | undefined)
        : undefined;
  return typeof text === "string" ? utf8.encode(text) : text instanceof Uint8Array ? text : nothing;
}

function bodyBytes(layout: Layout, values: Readonly<Record<string, unknown>>, tail: Uint8Array): number {
  const last = layout.fields.at(-1);
  let size = layout.minBytes + tail.length;
  if (last?.kind === "optionalU16" && values[last.name] !== undefined) size += 2;
  if (last?.kind === "optionalWill" && values["willTopic"] !== undefined) size += 1;
  if (last?.kind === "topicReference" && typeof values[last.name] === "number") size += 2;
  return size;
}

function write(
  layout: Layout,
  values: Readonly<Record<string, unknown>>,
  tail: Uint8Array,
  bytes: Uint8Array,
  start: number,
): void {
  let at = start;
  for (const field of layout.fields) {
    switch (field.kind) {
      case "u8":
        bytes[at++] = inRange(field.name, values[field.name], 0xff);
        break;
      case "returnCode":
        bytes[at++] = returnCodeOf(values);
        break;
      case "u16":
        at = writeU16(bytes, at, inRange(field.name, values[field.name], 0xffff));
        break;
      case "flags":
        bytes[at++] = flagsOf(field.flags, values);
        break;
      case "optionalU16":
        if (values[field.name] !== undefined) at = writeU16(bytes, at, inRange(field.name, values[field.name], 0xffff));
        break;
      case "optionalWill":
        if (values["willTopic"] !== undefined) bytes[at++] = flagsOf(willFlags, values);
        bytes.set(tail, at);
        break;
      case "topicReference":
        if (typeof values[field.name] === "number")
          writeU16(bytes, at, inRange(field.name, values[field.name], 0xffff));
        else bytes.set(tail, at);
        break;
      case "text":
      case "octets":
        bytes.set(tail, at);
        break;
    }
  }
}

function returnCodeOf(values: Readonly<Record<string, unknown>>): number {
  const reason = values["reason"] as ReturnCodeName | undefined;
  return reason === undefined ? inRange("returnCode", values["returnCode"], 0xff) : returnCodes[reason];
}

const willFlags: readonly FlagName[] = ["qos", "retain"];

function flagsOf(flags: readonly FlagName[], values: Readonly<Record<string, unknown>>): number {
  let octet = 0;
  for (const flag of flags) {
    switch (flag) {
      case "dup":
        if (values["dup"]) octet |= 0x80;
        break;
      case "qos":
      case "grantedQos":
        octet |= ((values["qos"] as number) & 3) << 5;
        break;
      case "retain":
        if (values["retain"]) octet |= 0x10;
        break;
      case "will":
        if (values["will"]) octet |= 0x08;
        break;
      case "cleanSession":
        if (values["cleanSession"]) octet |= 0x04;
        break;
      case "topicIdType":
        octet |= topicIdTypes.indexOf(values["topicIdType"] as TopicIdType);
        break;
    }
  }
  return octet;
}

function inRange(name: string, value: unknown, max: number): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw new RangeError(`${name} = ${String(value)} is not in 0..${max}`);
}

function writeU16(bytes: Uint8Array, at: number, value: number): number {
  bytes[at] = value >> 8;
  bytes[at + 1] = value & 0xff;
  return at + 2;
}
