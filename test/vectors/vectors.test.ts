/** The byte vectors of the standard: good ones four ways, bad ones with their code. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { QoSOrMinusOne } from "../../src/wire/fields.ts";
import { decode, encode, type Forwarded } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";

interface Vector {
  readonly name: string;
  readonly hex: string;
  readonly type: string;
  readonly valid: boolean;
  readonly class?: string;
  readonly fields: Record<string, unknown> | null;
}

const { vectors } = JSON.parse(readFileSync(new URL("vectors-1.2.json", import.meta.url), "utf8")) as {
  vectors: Vector[];
};

/** The clause of each message. */
const clauses: Readonly<Record<string, string>> = {
  ADVERTISE: "[5.4.1]",
  SEARCHGW: "[5.4.2]",
  GWINFO: "[5.4.3]",
  CONNECT: "[5.4.4]",
  CONNACK: "[5.4.5]",
  WILLTOPICREQ: "[5.4.6]",
  WILLTOPIC: "[5.4.7]",
  WILLMSGREQ: "[5.4.8]",
  WILLMSG: "[5.4.9]",
  REGISTER: "[5.4.10]",
  REGACK: "[5.4.11]",
  PUBLISH: "[5.4.12]",
  PUBACK: "[5.4.13]",
  PUBREC: "[5.4.14]",
  PUBREL: "[5.4.14]",
  PUBCOMP: "[5.4.14]",
  SUBSCRIBE: "[5.4.15]",
  SUBACK: "[5.4.16]",
  UNSUBSCRIBE: "[5.4.17]",
  UNSUBACK: "[5.4.18]",
  PINGREQ: "[5.4.19]",
  PINGRESP: "[5.4.20]",
  DISCONNECT: "[5.4.21]",
  WILLTOPICUPD: "[5.4.22]",
  WILLMSGUPD: "[5.4.23]",
  WILLTOPICRESP: "[5.4.24]",
  WILLMSGRESP: "[5.4.25]",
  ENCAPSULATED: "[5.5]",
};

const octets = (hex: string) => new Uint8Array(Buffer.from(hex, "hex"));

/** What the vector says the message is, in our words. */
function expected(vector: Vector): { message: Message; forwarded?: Forwarded } {
  const f = vector.fields ?? {};
  if (vector.type === "ENCAPSULATED") {
    const inner = f["inner"] as { name: string };
    const innerVector = vectors.find((v) => v.name === inner.name);
    if (!innerVector) throw new Error(`no vector ${inner.name}`);
    return {
      ...expected(innerVector),
      forwarded: { nodeId: octets(f["wireless_node_id_hex"] as string), radius: f["radius"] as number },
    };
  }
  const num = (key: string) => f[key] as number;
  const bool = (key: string) => f[key] === 1;
  const text = (key: string) => Buffer.from(f[`${key}_hex`] as string, "hex").toString("utf8");
  const bytes = (key: string) => octets(f[`${key}_hex`] as string);
  const topicIdType = () => (["normal", "predefined", "short", "reserved"] as const)[num("topic_id_type")] ?? "normal";
  const qos = () => (num("qos") ?? 0) as QoSOrMinusOne;
  const topicId = () =>
    "topic_id" in f
      ? num("topic_id")
      : Buffer.from(
          (f["short_topic_hex"] as string) ?? (f["short_topic"] as string),
          "short_topic_hex" in f ? "hex" : "utf8",
        ).readUInt16BE(0);
  const reference = () => ("topic_name_hex" in f ? text("topic_name") : topicId());
  const will = () => ({ qos: qos(), retain: bool("retain"), willTopic: f["empty"] ? undefined : text("will_topic") });
  const message = ((): Message => {
    switch (vector.type) {
      case "ADVERTISE":
        return { type: "ADVERTISE", gwId: num("gw_id"), duration: num("duration") };
      case "SEARCHGW":
        return { type: "SEARCHGW", radius: num("radius") };
      case "GWINFO":
        return { type: "GWINFO", gwId: num("gw_id"), gwAdd: bytes("gw_add") };
      case "CONNECT":
        return {
          type: "CONNECT",
          will: bool("will"),
          cleanSession: bool("clean_session"),
          protocolId: num("protocol_id"),
          duration: num("duration"),
          clientId: text("client_id"),
        };
      case "CONNACK":
      case "WILLTOPICRESP":
      case "WILLMSGRESP":
        return { type: vector.type, returnCode: num("return_code") };
      case "WILLTOPICREQ":
      case "WILLMSGREQ":
      case "PINGRESP":
        return { type: vector.type };
      case "WILLTOPIC":
      case "WILLTOPICUPD":
        return f["empty"]
          ? { type: vector.type, qos: 0, retain: false, willTopic: undefined }
          : { type: vector.type, ...will() };
      case "WILLMSG":
      case "WILLMSGUPD":
        return { type: vector.type, willMsg: bytes("will_msg") };
      case "REGISTER":
        return { type: "REGISTER", topicId: num("topic_id"), msgId: num("msg_id"), topicName: text("topic_name") };
      case "REGACK":
      case "PUBACK":
        return { type: vector.type, topicId: num("topic_id"), msgId: num("msg_id"), returnCode: num("return_code") };
      case "PUBLISH":
        return {
          type: "PUBLISH",
          dup: bool("dup"),
          qos: qos(),
          retain: bool("retain"),
          topicIdType: topicIdType(),
          topicId: topicId(),
          msgId: num("msg_id"),
          data: bytes("data"),
        };
      case "PUBREC":
      case "PUBREL":
      case "PUBCOMP":
      case "UNSUBACK":
        return { type: vector.type, msgId: num("msg_id") };
      case "SUBSCRIBE":
        return {
          type: "SUBSCRIBE",
          dup: bool("dup"),
          qos: qos(),
          topicIdType: topicIdType(),
          msgId: num("msg_id"),
          topic: reference(),
        };
      case "UNSUBSCRIBE":
        return { type: "UNSUBSCRIBE", topicIdType: topicIdType(), msgId: num("msg_id"), topic: reference() };
      case "SUBACK":
        return {
          type: "SUBACK",
          qos: num("qos") as 0,
          topicId: num("topic_id"),
          msgId: num("msg_id"),
          returnCode: num("return_code"),
        };
      case "PINGREQ":
        return { type: "PINGREQ", clientId: text("client_id") };
      case "DISCONNECT":
        return { type: "DISCONNECT", duration: (f["duration"] as number | null) ?? undefined };
      default:
        throw new Error(`type ${vector.type}`);
    }
  })();
  return { message };
}

/** Valid at frame level only by an extension that reads more into a normal PUBLISH: fields are compared as the frame has them. */
const longNameExtension = (vector: Vector) => vector.class === "extension";

describe("valid", () => {
  for (const vector of vectors.filter((v) => v.valid && !longNameExtension(v))) {
    const bytes = octets(vector.hex);
    test(`${vector.name}: decode, encode, round trip, inside a larger buffer ${clauses[vector.type]}`, () => {
      const { message, forwarded } = expected(vector);
      const decoded = decode(bytes);
      expect(decoded).toEqual({ ok: true, message, ...(forwarded && { forwarded }) });
      const encoded = encode(message, forwarded);
      const inner = forwarded ? bytes.subarray(bytes[0]) : bytes;
      const canonical = inner[0] !== 1 || inner.length > 257; // what fits the 1-octet form is sent in it
      if (canonical && cleanFlags(vector)) expect(Buffer.from(encoded).toString("hex")).toBe(vector.hex);
      expect(decode(encoded)).toEqual(decoded);
      const roomy = new Uint8Array(bytes.length + 20).fill(0xa5);
      roomy.set(bytes, 7);
      expect(decode(roomy.subarray(7, 7 + bytes.length))).toEqual(decoded);
    });
  }
  test("of the extensions, frames decode", () => {
    for (const vector of vectors.filter((v) => v.valid && longNameExtension(v))) {
      expect(decode(octets(vector.hex)).ok, vector.name).toBe(true);
    }
  });
});

/** Vectors that set bits which do not count: we never send them. */
function cleanFlags(vector: Vector): boolean {
  return !/unused|not_used|reserved_bits|ignored/.test(vector.name);
}

const codes: Record<string, string> = {
  bad_one_octet: "too-short",
  bad_length_0: "bad-length",
  bad_length_1_alone: "too-short",
  bad_long_length_truncated: "too-short",
  bad_long_length_no_type: "too-short",
  bad_long_length_too_small: "bad-length",
  bad_trailing_octets: "length-mismatch",
  bad_truncated_publish: "length-mismatch",
  bad_long_truncated: "length-mismatch",
  bad_encap_no_ctrl: "bad-encapsulation",
  bad_encap_no_inner: "bad-encapsulation",
  bad_encap_node_truncated: "bad-encapsulation",
  bad_encap_inner_length_mismatch: "length-mismatch",
  bad_encap_inner_trailing: "length-mismatch",
  bad_encap_nested: "bad-encapsulation",
  bad_encap_3_octet_outer_length: "bad-encapsulation",
  bad_paho_255_off_by_two: "length-mismatch",
  bad_rsmb_256_as_0: "bad-length",
  v20_connect_csd01_lookalike: "wrong-size",
};

describe("not valid", () => {
  for (const vector of vectors.filter((v) => !v.valid)) {
    const frameIsGood = vector.class === "protocol" && vector.name !== "bad_encap_nested";
    test(`${vector.name} (${vector.class}) ${clauses[vector.type] ?? ""}`, () => {
      const decoded = decode(octets(vector.hex));
      if (frameIsGood) return expect(decoded.ok).toBe(true);
      const reserved = vector.name.startsWith("bad_reserved_type");
      const code = codes[vector.name] ?? (reserved ? "reserved-type" : "wrong-size");
      expect(decoded).toMatchObject({ ok: false, code });
    });
  }
});
