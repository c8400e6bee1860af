/**
 * MQTT-SN 1.2 on the wire: every message once, as an ordered list of fields. Decoder, encoder, the `decode` command
 * and the test generators read this table and nothing else. [MQTT-SN 1.2 §5.2.2, §5.4]
 */
import type { Message, MessageType } from "./messages.ts";

/** Bits of the Flags octet that count in a message. [§5.3.4] */
export type FlagName = "dup" | "qos" | "grantedQos" | "retain" | "will" | "cleanSession" | "topicIdType";

export type Field =
  | { readonly kind: "u8" | "u16"; readonly name: string }
  /** One octet, read as a number; it may be encoded from its name, `reason`. */
  | { readonly kind: "returnCode"; readonly name: "returnCode" }
  /** Flags. The named ones are used; the others are sent as 0 and ignored. */
  | { readonly kind: "flags"; readonly flags: readonly FlagName[] }
  /** A field up to the end of the message. */
  | { readonly kind: "text" | "octets"; readonly name: string }
  /** Two octets, or nothing at all. */
  | { readonly kind: "optionalU16"; readonly name: string }
  /** Flags and text, or nothing at all. */
  | { readonly kind: "optionalWill" }
  /** A name up to the end, or an id of two octets, depending on the TopicIdType before it. */
  | { readonly kind: "topicReference"; readonly name: string };

export interface Layout {
  readonly type: MessageType;
  readonly code: number;
  readonly clause: string;
  readonly fields: readonly Field[];
  /** The least number of octets after MsgType. */
  readonly minBytes: number;
  /** "exact": no more than `minBytes`; an optional field allows exactly one other size. */
  readonly sizes: "exact" | "open" | readonly number[];
}

const u8 = (name: string): Field => ({ kind: "u8", name });
const u16 = (name: string): Field => ({ kind: "u16", name });
const returnCode: Field = { kind: "returnCode", name: "returnCode" };
const text = (name: string): Field => ({ kind: "text", name });
const octets = (name: string): Field => ({ kind: "octets", name });
const flags = (...names: FlagName[]): Field => ({ kind: "flags", flags: names });

const fieldBytes: Record<Field["kind"], number> = {
  u8: 1,
  u16: 2,
  returnCode: 1,
  flags: 1,
  text: 0,
  octets: 0,
  optionalU16: 0,
  optionalWill: 0,
  topicReference: 0,
};

function message(type: MessageType, code: number, clause: string, ...fields: Field[]): Layout {
  const minBytes = fields.reduce((sum, field) => sum + fieldBytes[field.kind], 0);
  const last = fields.at(-1)?.kind;
  const open = last === "text" || last === "octets" || last === "topicReference" || last === "optionalWill";
  const sizes = open ? "open" : last === "optionalU16" ? [0, 2] : "exact";
  return { type, code, clause, fields, minBytes, sizes };
}

export const layouts: readonly Layout[] = [
  message("ADVERTISE", 0x00, "5.4.1", u8("gwId"), u16("duration")),
  message("SEARCHGW", 0x01, "5.4.2", u8("radius")),
  message("GWINFO", 0x02, "5.4.3", u8("gwId"), octets("gwAdd")),
  message("CONNECT", 0x04, "5.4.4", flags("will", "cleanSession"), u8("protocolId"), u16("duration"), text("clientId")),
  message("CONNACK", 0x05, "5.4.5", returnCode),
  message("WILLTOPICREQ", 0x06, "5.4.6"),
  message("WILLTOPIC", 0x07, "5.4.7", { kind: "optionalWill" }),
  message("WILLMSGREQ", 0x08, "5.4.8"),
  message("WILLMSG", 0x09, "5.4.9", octets("willMsg")),
  message("REGISTER", 0x0a, "5.4.10", u16("topicId"), u16("msgId"), text("topicName")),
  message("REGACK", 0x0b, "5.4.11", u16("topicId"), u16("msgId"), returnCode),
  message(
    "PUBLISH",
    0x0c,
    "5.4.12",
    flags("dup", "qos", "retain", "topicIdType"),
    u16("topicId"),
    u16("msgId"),
    octets("data"),
  ),
  message("PUBACK", 0x0d, "5.4.13", u16("topicId"), u16("msgId"), returnCode),
  message("PUBCOMP", 0x0e, "5.4.14", u16("msgId")),
  message("PUBREC", 0x0f, "5.4.14", u16("msgId")),
  message("PUBREL", 0x10, "5.4.14", u16("msgId")),
  message("SUBSCRIBE", 0x12, "5.4.15", flags("dup", "qos", "topicIdType"), u16("msgId"), {
    kind: "topicReference",
    name: "topic",
  }),
  message("SUBACK", 0x13, "5.4.16", flags("grantedQos"), u16("topicId"), u16("msgId"), returnCode),
  message("UNSUBSCRIBE", 0x14, "5.4.17", flags("topicIdType"), u16("msgId"), { kind: "topicReference", name: "topic" }),
  message("UNSUBACK", 0x15, "5.4.18", u16("msgId")),
  message("PINGREQ", 0x16, "5.4.19", text("clientId")),
  message("PINGRESP", 0x17, "5.4.20"),
  message("DISCONNECT", 0x18, "5.4.21", { kind: "optionalU16", name: "duration" }),
  message("WILLTOPICUPD", 0x1a, "5.4.22", { kind: "optionalWill" }),
  message("WILLTOPICRESP", 0x1b, "5.4.24", returnCode),
  message("WILLMSGUPD", 0x1c, "5.4.23", octets("willMsg")),
  message("WILLMSGRESP", 0x1d, "5.4.25", returnCode),
];

/** The layouts by MsgType; undefined: the type is reserved. */
export const layoutByCode: readonly (Layout | undefined)[] = Array.from({ length: 256 }, (_, code) =>
  layouts.find((layout) => layout.code === code),
);

export const layoutByType: Readonly<Record<Message["type"], Layout>> = Object.fromEntries(
  layouts.map((layout) => [layout.type, layout]),
) as Record<Message["type"], Layout>;
