/**
 * Payloads at random: nothing throws, and what was written is read again. PAYLOADS says how many for each format (5,000; a
 * million takes some minutes), PAYLOAD_SEED where the dice begin.
 */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { compileFields, type Field } from "../../src/payload/fields.ts";
import { formatNames, formats } from "../../src/payload/formats.ts";
import { numberFormat, numberTypes } from "../../src/payload/numbers.ts";
import type { PayloadValue } from "../../src/payload/value.ts";

const runs = Number(process.env["PAYLOADS"] ?? 5_000);
const seed = Number(process.env["PAYLOAD_SEED"] ?? 1);
const settings = { numRuns: runs, seed };

const plain = (value: unknown) => JSON.parse(JSON.stringify(value)) as PayloadValue;

/** Half of them noise, half beginning as the format does. */
const beginnings: Record<(typeof formatNames)[number], readonly number[][]> = {
  cayenne: [
    [1, 0x67],
    [2, 0x88],
    [0, 0],
  ],
  bthome: [[0x02], [0x01, 0x61]],
  "senml-json": [[...Buffer.from('[{"n":"a","v":')], [0x5b]],
  "senml-cbor": [[0x81, 0xa2, 0x00, 0x61], [0x9f]],
  cbor: [[0xa1, 0x61], [0x9f], [0x5f], [0x82], [0xbf]],
  json: [[0x7b, 0x22], [0x5b]],
};

describe.each(formatNames)("%s", (format) => {
  test(`${runs} payloads: none throws, and what is read is JSON`, { timeout: 20_000 + runs }, () => {
    const octets = fc
      .tuple(fc.constantFrom([], ...beginnings[format]), fc.uint8Array({ maxLength: 80 }))
      .map(([begin, rest]) => Uint8Array.from([...begin, ...rest]));
    fc.assert(
      fc.property(octets, (payload) => {
        const before = Uint8Array.from(payload);
        const reading = formats[format].read(payload);
        expect(payload).toEqual(before);
        if (reading.ok) expect(JSON.stringify(reading.value)).toBeTypeOf("string");
        else expect(reading.why).not.toBe("");
      }),
      settings,
    );
  });
});

// Cayenne writes what has its own names only; the rest is for reading.
describe.each(["cbor", "json"] as const)("%s", (format) => {
  const { write, read } = formats[format];
  test("what is written is read again", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4, noUnicodeString: false }), (value) => {
        const given = plain(value);
        const writing = write?.(given);
        if (!writing?.ok) throw new Error(writing?.why);
        const reading = read(writing.payload);
        expect(reading.ok && plain(reading.value)).toEqual(given);
      }),
      { ...settings, numRuns: Math.ceil(runs / 5) },
    );
  });
});

describe("fields", () => {
  const number = fc.record({
    type: fc.constantFrom(...numberTypes),
    scale: fc.constantFrom(undefined, 0.1, 0.01, 2),
    offset: fc.constantFrom(undefined, -40, 0.5),
  });
  const layout = fc
    .array(number, { minLength: 1, maxLength: 8 })
    .map((all): Field[] => all.map((each, i) => ({ name: `f${i}`, ...each })));

  test("octets that fit are said and written again as they were", () => {
    fc.assert(
      fc.property(layout, fc.infiniteStream(fc.nat({ max: 255 })), (fields, dice) => {
        // Of 64 bits and of floating point not every number is given exactly.
        const exact = fields.filter(({ type }) => !/^[uif]64|^f32/.test(type));
        const bytes = exact.reduce((sum, { type }) => sum + bytesOf(type), 0);
        const payload = Uint8Array.from({ length: bytes }, () => dice.next().value ?? 0);
        const codec = compileFields(exact);
        const reading = codec.read(payload);
        if (!reading.ok) throw new Error(reading.why);
        const writing = codec.write(plain(reading.value));
        expect(writing.ok && writing.payload).toEqual(payload);
      }),
      { ...settings, numRuns: Math.ceil(runs / 5) },
    );
  });

  test("no octets and no command make it throw", () => {
    fc.assert(
      fc.property(layout, fc.uint8Array({ maxLength: 40 }), fc.jsonValue(), (fields, payload, command) => {
        const codec = compileFields(fields);
        expect(codec.read(payload).ok).toBeTypeOf("boolean");
        expect(codec.write(plain(command)).ok).toBeTypeOf("boolean");
      }),
      settings,
    );
  });
});

function bytesOf(type: Field["type"]): number {
  return type === "skip" || type === "bytes" || type === "text" ? 0 : numberFormat(type).bytes;
}
