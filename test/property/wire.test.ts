/** For any octets: the decoder never throws, and what it accepts it writes again. For any message: it is decoded again after encoding. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { isConnectOfVersion2 } from "../../src/core/dialects/later-version.ts";
import { decode, encode, encodeByLayout, encodedLength, type Forwarded, read } from "../../src/wire/v12/codec.ts";
import { type Field, type FlagName, layoutByType, layouts } from "../../src/wire/v12/layout.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { describe as inWords } from "../../src/wire/v12/words.ts";
import { anyCharacter } from "../helpers/any-text.ts";
import { cases } from "../helpers/cases.ts";

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const octets = fc.uint8Array({ maxLength: 400 });
const text = fc
  .string({ unit: anyCharacter, maxLength: 100 })
  .filter((value) => Buffer.from(value).toString() === value);

const flagValues: Record<FlagName, [string, fc.Arbitrary<unknown>]> = {
  dup: ["dup", fc.boolean()],
  qos: ["qos", fc.constantFrom(0, 1, 2, -1)],
  grantedQos: ["qos", fc.constantFrom(0, 1, 2)],
  retain: ["retain", fc.boolean()],
  will: ["will", fc.boolean()],
  cleanSession: ["cleanSession", fc.boolean()],
  topicIdType: ["topicIdType", fc.constantFrom("normal", "predefined", "short", "reserved")],
};

/** A message of any type, made from the table that the codec reads. */
function fieldValues(field: Field): Record<string, fc.Arbitrary<unknown>> {
  switch (field.kind) {
    case "u8":
    case "returnCode":
      return { [field.name]: u8 };
    case "u16":
      return { [field.name]: u16 };
    case "optionalU16":
      return { [field.name]: fc.option(u16, { nil: undefined }) };
    case "text":
      return { [field.name]: text };
    case "octets":
      return { [field.name]: octets };
    case "flags":
      return Object.fromEntries(field.flags.map((flag) => flagValues[flag]));
    case "optionalWill":
      return { qos: flagValues.qos[1], retain: fc.boolean(), willTopic: fc.option(text, { nil: undefined }) };
    case "topicReference":
      return { [field.name]: fc.tuple(text, u16, octets) };
  }
}

const anyMessage: fc.Arbitrary<Message> = fc.constantFrom(...layouts).chain((layout) => {
  const fields = Object.assign({}, ...layout.fields.map(fieldValues)) as Record<string, fc.Arbitrary<unknown>>;
  return fc.record(fields).map((values) => {
    const message: Record<string, unknown> = { type: layout.type, ...values };
    if (Array.isArray(message["topic"])) {
      const [name, id, raw] = message["topic"] as unknown[];
      const type = message["topicIdType"];
      message["topic"] = type === "normal" ? name : type === "reserved" ? raw : id;
    }
    if ("willTopic" in message && message["willTopic"] === undefined) Object.assign(message, { qos: 0, retain: false });
    return message as unknown as Message;
  });
});

const forwarder: fc.Arbitrary<Forwarded | undefined> = fc.option(
  fc.record({ nodeId: fc.uint8Array({ maxLength: 252 }), radius: fc.integer({ min: 0, max: 3 }) }),
  { nil: undefined },
);

test("encode, then decode, is identity, with all flags [5.3.4]", () => {
  fc.assert(
    fc.property(anyMessage, forwarder, (message, forwarded) => {
      const bytes = encode(message, forwarded);
      expect(decode(bytes)).toEqual({ ok: true, message, ...(forwarded && { forwarded }) });
      expect(encodedLength(message)).toBe(bytes.length - (forwarded ? 3 + forwarded.nodeId.length : 0));
    }),
    { numRuns: cases(3_000) },
  );
});

test("no message of 1.2 is taken for a CONNECT of 2.0", () => {
  fc.assert(
    fc.property(anyMessage, (message) => {
      expect(isConnectOfVersion2(encode(message))).toBe(false);
    }),
    { numRuns: cases(3_000) },
  );
});

test("a return code that is written by its name is that of the number", () => {
  for (const [index, reason] of (["accepted", "congestion", "invalidTopicId", "notSupported"] as const).entries()) {
    const ids = { topicId: 258, msgId: 772 };
    const returnCode = { returnCode: index };
    expect(encode({ type: "CONNACK", reason })).toEqual(encode({ type: "CONNACK", ...returnCode }));
    expect(encode({ type: "WILLTOPICRESP", reason })).toEqual(encode({ type: "WILLTOPICRESP", ...returnCode }));
    expect(encode({ type: "WILLMSGRESP", reason })).toEqual(encode({ type: "WILLMSGRESP", ...returnCode }));
    expect(encode({ type: "PUBACK", ...ids, reason })).toEqual(encode({ type: "PUBACK", ...ids, ...returnCode }));
    expect(encode({ type: "REGACK", ...ids, reason })).toEqual(encode({ type: "REGACK", ...ids, ...returnCode }));
    const subAck = { type: "SUBACK", qos: 1, ...ids } as const;
    expect(encode({ ...subAck, reason })).toEqual(encode({ ...subAck, ...returnCode }));
  }
});

test("random octets: never an exception; what is accepted is written again as the same message", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const decoded = decode(bytes);
      if (decoded.ok) expect(decode(encode(decoded.message, decoded.forwarded))).toEqual(decoded);
      expect(inWords(bytes).length).toBeGreaterThan(0);
    }),
    { numRuns: cases(5_000) },
  );
});

test("messages cut at every length, and with octets changed: never an exception", () => {
  fc.assert(
    fc.property(anyMessage, fc.array(fc.tuple(fc.nat(), u8), { maxLength: 4 }), (message, changes) => {
      const bytes = encode(message);
      for (let length = 0; length < bytes.length; length++) expect(decode(bytes.subarray(0, length)).ok).toBe(false);
      const changed = Uint8Array.from(bytes);
      for (const [at, value] of changes) changed[at % changed.length] = value;
      const decoded = decode(changed);
      if (decoded.ok) expect(decode(encode(decoded.message, decoded.forwarded))).toEqual(decoded);
    }),
    { numRuns: cases(500) },
  );
});

const inAShortWay: readonly Message["type"][] = ["PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP"];

test.each(inAShortWay)("the short ways to read and write %s say what the table says", (type) => {
  fc.assert(
    fc.property(
      anyMessage.filter((message) => message.type === type),
      forwarder,
      (message, forwarded) => {
        const bytes = encode(message);
        expect(decode(bytes)).toEqual(read(layoutByType[type], bytes, bytes[0] === 1 ? 4 : 2));
        expect(bytes).toEqual(encodeByLayout(message));
        expect(encode(message, forwarded)).toEqual(encodeByLayout(message, forwarded));
      },
    ),
  );
});

test.each([-1, 65_536, 1.5, Number.NaN])("a number that does not fit its field is our own mistake: %d", (wrong) => {
  const right = { topicId: 1, msgId: 1 };
  for (const field of ["topicId", "msgId"])
    expect(() => encode({ type: "PUBACK", ...right, returnCode: 0, [field]: wrong })).toThrow(RangeError);
  expect(() => encode({ type: "PUBACK", ...right, returnCode: 256 })).toThrow(RangeError);
  for (const type of ["PUBREC", "PUBREL", "PUBCOMP"] as const)
    expect(() => encode({ type, msgId: wrong })).toThrow(RangeError);
});
