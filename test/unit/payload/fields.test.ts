/** Layouts of fields: octets worked out by hand, both ways. */
import { describe, expect, test } from "vitest";
import { compileFields, type Field, wrongBits } from "../../../src/payload/fields.ts";
import { fromHex, type PayloadValue, toHex } from "../../../src/payload/value.ts";

const read = (fields: readonly Field[], hex: string) => {
  const reading = compileFields(fields).read(fromHex(hex) ?? new Uint8Array());
  return reading.ok ? JSON.parse(JSON.stringify(reading.value)) : reading.why;
};
const write = (fields: readonly Field[], value: PayloadValue) => {
  const writing = compileFields(fields).write(value);
  return writing.ok ? toHex(writing.payload) : writing.why;
};

const climate: Field[] = [
  { name: "temperature", type: "i16", scale: 0.1, unit: "°C" },
  { name: "humidity", type: "u8", unit: "%" },
  { name: "battery", type: "u8", scale: 0.02, unit: "V", optional: true },
];

describe("numbers", () => {
  test("a scale gives as many digits as it has, and no more", () => {
    expect(read(climate, "00d73096")).toEqual({ temperature: 21.5, humidity: 48, battery: 3 });
    expect(read(climate, "ff9c00")).toEqual({ temperature: -10, humidity: 0 });
    expect(write(climate, { temperature: 21.5, humidity: 48, battery: 3 })).toBe("00d73096");
  });

  test.each([
    ["u8", "ff", 255],
    ["i8", "ff", -1],
    ["u16", "0102", 258],
    ["u16le", "0102", 513],
    ["i16le", "feff", -2],
    ["u24", "010203", 66_051],
    ["i24", "ffffff", -1],
    ["i24le", "000080", -8_388_608],
    ["u32", "ffffffff", 4_294_967_295],
    ["i32le", "00000080", -2_147_483_648],
    ["u64", "001fffffffffffff", 9_007_199_254_740_991],
    ["i64le", "feffffffffffffff", -2],
    ["f32", "41ac0000", 21.5],
    ["f32le", "6666ae41", 21.8],
    ["f64", "4035800000000000", 21.5],
  ] as const)("%s %s is %d, and back", (type, hex, value) => {
    expect(read([{ name: "v", type }], hex)).toEqual({ v: value });
    expect(write([{ name: "v", type }], { v: value })).toBe(hex);
  });

  test("what JSON has no number for is null; what would not be exact does not fit", () => {
    expect(read([{ name: "v", type: "f32" }], "7fc00000")).toEqual({ v: null });
    expect(read([{ name: "v", type: "u64" }], "ffffffffffffffff")).toBe("v at octet 0 is beyond 2^53");
  });

  test("names stand for numbers, and one that has none stays a number", () => {
    const mode: Field[] = [{ name: "mode", type: "u8", values: { "0": "off", "1": "heat" } }];
    expect([read(mode, "01"), read(mode, "07")]).toEqual([{ mode: "heat" }, { mode: 7 }]);
    expect([write(mode, { mode: "heat" }), write(mode, { mode: 7 }), write(mode, "heat")]).toEqual(["01", "07", "01"]);
    expect(write(mode, { mode: "cold" })).toBe("mode must be a number or one of off, heat");
  });

  test("a command beyond the range is told the range, in the units of the field", () => {
    expect(write(climate, { temperature: 4_000, humidity: 0 })).toBe("temperature must be from -3276.8 to 3276.7");
    expect(write(climate, { temperature: 0, humidity: "wet" })).toBe("humidity must be a number");
    expect(write([{ name: "v", type: "u8" }], { v: Number.NaN })).toBe("v must be from 0 to 255");
  });
});

describe("bits", () => {
  const flags: Field[] = [
    {
      name: "flags",
      type: "u8",
      bits: [
        { name: "door", bit: 0 },
        { name: "speed", bit: 1, width: 2, values: { "3": "fast" } },
        { name: "fault", bit: 7 },
      ],
    },
  ];

  test("each has its own name", () => {
    expect(read(flags, "87")).toEqual({ door: true, speed: "fast", fault: true });
    expect(read(flags, "02")).toEqual({ door: false, speed: 1, fault: false });
    expect(write(flags, { door: true, speed: "fast", fault: true })).toBe("87");
    expect(write(flags, { speed: 4 })).toBe("speed must be from 0 to 3");
    expect(write(flags, {})).toBe("flags is missing");
  });

  test("of all 32, the highest too, with a sign or without", () => {
    const all = (type: "u32" | "i32"): Field[] => [{ name: "f", type, bits: [{ name: "top", bit: 31 }] }];
    for (const type of ["u32", "i32"] as const) {
      expect(read(all(type), "80000000")).toEqual({ top: true });
      expect(write(all(type), { top: true })).toBe("80000000");
    }
  });

  test("none beyond the number, none twice", () => {
    expect(wrongBits({ type: "u8", bits: [{ name: "a", bit: 7, width: 2 }] })).toBe("a ends at bit 8, and u8 has 8");
    expect(
      wrongBits({
        type: "u8",
        bits: [
          { name: "a", bit: 0, width: 2 },
          { name: "b", bit: 1 },
        ],
      }),
    ).toBe("bit 1 is in b and in another one");
    expect(wrongBits({ type: "f32", bits: [{ name: "a", bit: 0 }] })).toContain("no bits");
  });
});

describe("octets", () => {
  const fields: Field[] = [
    { name: "id", type: "bytes", length: 3 },
    { type: "skip", length: 1 },
    { name: "label", type: "text" },
  ];

  test("in hexadecimal, or as text up to a zero octet", () => {
    expect(read(fields, "0a0b0cff4261726e00ee")).toEqual({ id: "0a0b0c", label: "Barn" });
    expect(write(fields, { id: "0a0b0c", label: "Barn" })).toBe("0a0b0c004261726e");
    expect(read(fields, "0a0b0cffff")).toBe("label from octet 4 on is no text in UTF-8");
    expect(write([{ name: "t", type: "text", length: 4 }], "ab")).toBe("61620000");
    expect(write([{ name: "b", type: "bytes", length: 4 }], "ab")).toBe("b has 1 octet, and 4 is its length");
  });
});

describe("what does not fit", () => {
  test("names the field and the octet", () => {
    expect(read(climate, "00d7")).toBe("humidity takes 1 octet from octet 2 on, and 0 are there");
    expect(read(climate, "00d7309601")).toBe("1 octet too many: the last field ends before octet 4");
    expect(read(climate, "")).toBe("temperature takes 2 octets from octet 0 on, and 0 are there");
  });

  test("an optional field may be left out at the end, and nowhere else", () => {
    const two: Field[] = [
      { name: "a", type: "u8" },
      { name: "b", type: "u8", optional: true },
      { name: "c", type: "u8", optional: true },
    ];
    expect(write(two, { a: 1 })).toBe("01");
    expect(write(two, { a: 1, c: 3 })).toBe("b is missing, and c comes behind it");
  });

  test("names that every object has are no values", () => {
    expect(write([{ name: "constructor", type: "u8" }], {})).toBe("constructor is missing");
    expect(read([{ name: "__proto__", type: "u8" }], "07")).toEqual(JSON.parse('{"__proto__":7}'));
  });
});
