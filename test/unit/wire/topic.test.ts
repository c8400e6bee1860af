import { describe, expect, test } from "vitest";
import {
  hasWildcard,
  isTakenByBrokers,
  isTopicFilter,
  isTopicName,
  matches,
  shortNameFromId,
  shortNameToId,
  utf8Length,
} from "../../../src/wire/topic.ts";
import { decode, encode } from "../../../src/wire/v12/codec.ts";

describe("topic names and filters [MQTT-3.1.1 4.7]", () => {
  test.each([
    ["a", true],
    ["/", true],
    ["a//b", true],
    ["", false],
    ["a+", false],
    ["#", false],
    ["a\0", false],
    ["x".repeat(65_536), false],
  ])("name %s", (name, valid) => {
    expect(isTopicName(name)).toBe(valid);
  });

  test.each([
    ["a/ ~", true],
    ["a/\u{e9}\u{20ac}\u{1f600}", true],
    ["a\u{1f}", false],
    ["a\u{7f}", false],
    ["a\u{85}", false],
    ["a\u{fffe}", false],
    ["\u{e9}a\u{1}", false],
    ["a\u{d800}", false],
  ])("%j is taken by every broker: %s [MQTT-3.1.1 1.5.3]", (text, isTaken) => {
    expect(isTakenByBrokers(text)).toBe(isTaken);
  });

  test.each([
    ["#", true],
    ["a/#", true],
    ["+/a/+", true],
    ["$share/g/a/+", true],
    ["a/#/b", false],
    ["a#", false],
    ["a+/b", false],
    ["", false],
    ["$share/g", false],
    ["$share//a", false],
    ["$share/+/a", false],
    ["$share/g/", false],
  ])("filter %s", (filter, valid) => {
    expect(isTopicFilter(filter)).toBe(valid);
  });

  test.each([
    ["#", "a/b", true],
    ["#", "$SYS/x", false],
    ["+/x", "$SYS/x", false],
    ["$SYS/#", "$SYS/x", true],
    ["a/#", "a", true],
    ["a/+", "a", false],
    ["a/+", "a/", true],
    ["a/+/c", "a/b/c", true],
    ["a/b", "a/b/c", false],
    ["$share/g/a/+", "a/b", true],
  ])("%s matches %s: %s", (filter, name, does) => {
    expect(matches(filter, name)).toBe(does);
  });

  test("messages of a shared subscription come under other names, like a wildcard's", () => {
    expect([hasWildcard("$share/g/a"), hasWildcard("a/+"), hasWildcard("a/b")]).toEqual([true, true, false]);
  });
});

describe("short names [§6.7]", () => {
  test.each([
    ["ab", 0x6162],
    ["é", 0xc3a9],
    ["/x", 0x2f78],
    ["a", undefined],
    ["abc", undefined],
    ["a+", undefined],
    ["aé", undefined],
    ["漢", undefined],
  ])("%s", (name, id) => {
    expect(shortNameToId(name)).toBe(id);
    if (id !== undefined) expect(shortNameFromId(id)).toBe(name);
  });

  test.each([0x612b, 0x2361, 0x6100, 0xff41, 0x41ff, 0xc080, 0xe282])("0x%i is none", (id) => {
    expect(shortNameFromId(id)).toBeUndefined();
  });

  test("every number that is a name comes back", () => {
    const named = Array.from({ length: 0x1_0000 }, (_, id) => id).filter((id) => shortNameFromId(id) !== undefined);
    expect(named.length).toBeGreaterThan(100);
    expect(named.map((id) => shortNameToId(shortNameFromId(id) ?? ""))).toEqual(named);
  });
});

test("octets of UTF-8 are counted without encoding", () => {
  for (const text of ["", "a", "é", "漢", "😀", "a😀é漢"]) expect(utf8Length(text)).toBe(Buffer.byteLength(text));
});

describe("lengths [§5.2.1]", () => {
  test.each([
    [248, 1],
    [249, 3],
  ])("a PUBLISH of %i octets of data has a Length of %i octets", (size, lengthOctets) => {
    const bytes = encode({
      type: "PUBLISH",
      dup: false,
      qos: 0,
      retain: false,
      topicIdType: "normal",
      topicId: 1,
      msgId: 0,
      data: new Uint8Array(size),
    });
    expect(bytes.length).toBe(size + 6 + lengthOctets);
    expect(bytes[0] === 1).toBe(lengthOctets === 3);
  });

  test("beyond 65535 octets is our own mistake", () => {
    expect(() => encode({ type: "WILLMSG", willMsg: new Uint8Array(65_532) })).toThrow(RangeError);
    expect(() => encode({ type: "PUBREC", msgId: 65_536 })).toThrow(RangeError);
  });

  test("data is a view on the datagram, not a copy", () => {
    const bytes = encode({ type: "WILLMSG", willMsg: Uint8Array.of(1, 2, 3) });
    const decoded = decode(bytes);
    expect(decoded.ok && decoded.message.type === "WILLMSG" && decoded.message.willMsg.buffer).toBe(bytes.buffer);
  });
});
