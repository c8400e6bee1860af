/** Bytes to messages and back, MQTT-SN 1.2. [§5.2, §5.4, §5.5] */
import type { Message, MessageType } from "./messages.ts";

/** Why a datagram is not a message. The names are stable: metrics, tests and logs match them. */
export const malformedCodes = [
  "too-short", //            fewer octets than a header has
  "bad-length", //           the Length field cannot be (0, 1 alone, long form below 4)
  "length-mismatch", //      Length is not the size of the datagram
  "reserved-type", //        a MsgType that the standard reserves
  "wrong-size", //           the size rule of the MsgType is broken
  "bad-encapsulation", //    header too short, long outer form, nothing inside, nested
] as const;
export type MalformedCode = (typeof malformedCodes)[number];

/** Where a forwarded message comes from or goes to. [§5.5] */
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
      /** Known when the header could be read. */
      readonly type?: MessageType;
      /** Known for a SUBSCRIBE or UNSUBSCRIBE whose id is not of two octets: it is answered, not dropped. [§11] */
      readonly msgId?: number;
      /** Set when the fault is inside an intact encapsulation. */
      readonly forwarded?: Forwarded;
    };

/**
 * Decodes one datagram. Never throws, allocates nothing by a length it has not checked.
 * Opaque fields of the result are views on `bytes`, not copies.
 */
export declare function decode(bytes: Uint8Array): Decoded;

/** Encodes one message, encapsulated if `forwarded` is given. @throws RangeError when it exceeds 65535 octets. */
export declare function encode(message: Message, forwarded?: Forwarded): Uint8Array;

/** Size of the encoded message in octets, without encoding it. */
export declare function encodedLength(message: Message): number;
