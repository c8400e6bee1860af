/** Formats that have a name: vectors worked out by hand from their public descriptions. */
import { describe, expect, test } from "vitest";
import { type FormatName, formats } from "../../../src/payload/formats.ts";
import { jsonOctets } from "../../../src/payload/json.ts";
import { fromHex, type PayloadValue, toHex } from "../../../src/payload/value.ts";

const octetsOf = (text: string) => new TextEncoder().encode(text);
const said = (format: FormatName, octets: Uint8Array) => {
  const reading = formats[format].read(octets);
  return reading.ok ? JSON.parse(JSON.stringify(reading.value)) : reading.why;
};
const read = (format: FormatName, hex: string) => said(format, fromHex(hex) ?? new Uint8Array());
const write = (format: FormatName, value: PayloadValue) => {
  const writing = formats[format].write?.(value);
  return writing?.ok ? toHex(writing.payload) : writing?.why;
};

describe("Cayenne LPP", () => {
  test.each([
    ["0367011005 6700ff", { temperature_3: 27.2, temperature_5: 25.5 }],
    ["0167ffd7", { temperature_1: -4.1 }],
    ["0671 04d2 fb2e 0000", { accelerometer_6: { x: 1.234, y: -1.234, z: 0 } }],
    ["0188 06765f f2960a 0003e8", { gps_1: { latitude: 42.3519, longitude: -87.9094, altitude: 10 } }],
    ["0000 01 0101 ff 0202 fff6", { digital_in_0: 1, digital_out_1: 255, analog_in_2: -0.1 }],
    ["0265 0102 0366 01 0468 60 0573 2707", { illuminance_2: 258, presence_3: 1, humidity_4: 48, pressure_5: 999.1 }],
    ["0186 0001 ffff 0064", { gyrometer_1: { x: 0.01, y: -0.01, z: 1 } }],
    ["0774 014a", { voltage_7: 3.3 }],
  ])("%s, and back", (spaced, value) => {
    const hex = spaced.replaceAll(" ", "");
    expect(read("cayenne", hex)).toEqual(value);
    expect(write("cayenne", value)).toBe(hex);
  });

  test("what does not fit names channel, type and octet", () => {
    expect(read("cayenne", "01")).toBe("channel 1 at octet 0 has no type");
    expect(read("cayenne", "01ee00")).toBe("type 238 at octet 1 is none that is known");
    expect(read("cayenne", "016700")).toBe("temperature_1 takes 2 octets from octet 2 on, and 1 are there");
    expect(write("cayenne", { temperature: 1 })).toBe("temperature is no type and channel, as in analog_out_2");
    expect(write("cayenne", { analog_out_1: 400 })).toBe("analog_out_1 must be from -327.68 to 327.67");
    expect(write("cayenne", { gps_1: 7 })).toBe("gps_1.latitude must be a number");
  });
});

describe("CBOR [RFC 8949]", () => {
  test.each([
    ["a26161016162820203", { a: 1, b: [2, 3] }],
    ["a16174f94d60", { t: 21.5 }],
    ["a10102", { 1: 2 }],
    ["4401020304", "01020304"],
    ["f7", null],
    ["f97e00", null],
    ["3863", -100],
    ["1bffffffffffffffff", "18446744073709551615"],
    ["bf6161f5ff", { a: true }],
  ])("%s", (hex, value) => {
    expect(read("cbor", hex)).toEqual(value);
  });

  test("what is said comes back", () => {
    const value = { relay: true, level: 0.5, list: [1, "two", null] };
    expect(read("cbor", write("cbor", value) ?? "")).toEqual(value);
  });

  test("a length that is not there is not reserved, and depth has an end", () => {
    expect(read("cbor", "9b7fffffffffffffff")).toMatch(/^no CBOR/);
    expect(read("cbor", "5b7fffffffffffffff")).toMatch(/^no CBOR/);
    expect(read("cbor", "bb7fffffffffffffff")).toMatch(/^no CBOR/);
    expect(read("cbor", "81".repeat(60_000))).toMatch(/^more than 32 levels/);
    expect(read("cbor", `${"81".repeat(32)}00`)).toBeTypeOf("object");
    expect(read("cbor", `${"9f".repeat(40)}00`)).toMatch(/^more than 32 levels/);
    expect(read("cbor", `82${"8101".repeat(1)}00`)).toEqual([[1], 0]);
    // Lists beside one another are not in one another.
    expect(read("cbor", `9828${"8101".repeat(40)}`)).toHaveLength(40);
    expect(read("cbor", "c11a514b67b0")).toMatch(/^no CBOR/); // tags are not known
    expect(read("cbor", "a2616101616102")).toMatch(/^no CBOR/); // a key twice
  });
});

describe("SenML [RFC 8428]", () => {
  test("a single point [5.1.1]", () => {
    expect(said("senml-json", octetsOf('[{"n":"urn:dev:ow:10e2073a01080063","u":"Cel","v":23.1}]'))).toEqual({
      "urn:dev:ow:10e2073a01080063": 23.1,
    });
  });

  test("a base name is for all that follow; a name twice is a list with times [5.1.3]", () => {
    const pack = [
      { bn: "room:", bt: 1_276_020_076, bu: "A", n: "voltage", u: "V", v: 120.1 },
      { n: "current", t: -1, v: 1.3 },
      { n: "current", v: 1.7 },
      { n: "open", vb: false },
      { n: "label", vs: "Barn" },
      { bv: 20, n: "warm", v: 1.5 },
      { n: "sum", s: 7 },
    ];
    expect(said("senml-json", octetsOf(JSON.stringify(pack)))).toEqual({
      "room:voltage": 120.1,
      "room:current": [
        { time: 1_276_020_075, value: 1.3 },
        { time: 1_276_020_076, value: 1.7 },
      ],
      "room:open": false,
      "room:label": "Barn",
      "room:warm": 21.5,
      "room:sum": 7,
    });
  });

  test("in CBOR labels are numbers [6]", () => {
    // [{-2: "d:", 0: "t", 2: 21.5}, {0: "x", 8: h'0102'}]
    expect(read("senml-cbor", "82a32162643a00617402f94d60a20061780842 0102".replaceAll(" ", ""))).toEqual({
      "d:t": 21.5,
      "d:x": "0102",
    });
  });

  test.each([
    ["{}", "SenML is an array of records"],
    ["[7]", "record 0 is no map"],
    ['[{"n":"a","v":1,"must_":2}]', "record 0 has must_, which is not known"],
    ['[{"bver":11,"n":"a","v":1}]', "record 0 is of a version that is not known"],
    ['[{"n":"a b","v":1}]', "record 0 has no name as SenML wants it"],
    ["[", "it is no JSON in UTF-8"],
  ])("%s: %s", (text, why) => {
    expect(said("senml-json", octetsOf(text))).toBe(why);
  });
});

describe("BTHome v2, JSON", () => {
  test("objects as over Bluetooth", () => {
    expect(read("bthome", "016102660802ca09")).toEqual({ battery: 97, temperature: 21.5, temperature_2: 25.06 });
    expect(read("bthome", "0161ff")).toBe("an object that is not known, or that is cut off, after 1 good ones");
  });

  test.each(["a", "x".repeat(62), "x".repeat(63), "ü", "日本", "\ud800", `${"x".repeat(61)}ü`])(
    "JSON of %s is UTF-8",
    (text) => {
      expect(jsonOctets(text)).toEqual(octetsOf(JSON.stringify(text)));
    },
  );

  test("JSON comes out in its shortest form", () => {
    expect(said("json", octetsOf(' { "a" : 1 } '))).toEqual({ a: 1 });
    expect(said("json", Uint8Array.of(0x22, 0xff, 0x22))).toBe("it is no JSON in UTF-8");
  });
});
