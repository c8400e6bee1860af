/**
 * BTHome v2. The first vectors are those of its public description (bthome.io), octet for octet; the others are worked by
 * hand from its table.
 */
import { createCipheriv } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type BthomeValue,
  decryptBthome,
  encryptBthome,
  packetIdOf,
  parseBthome,
  readBthome,
  writeBthome,
} from "../../../src/payload/bthome.ts";
import { bthomeObjects } from "../../../src/payload/bthome-objects.ts";

const hex = (text: string) => Buffer.from(text.replaceAll(" ", ""), "hex");
const read = (text: string) => readBthome(hex(text)).readings.map(({ name, value }) => [name, value]);

/** Of the public description: temperature 25.06 and humidity 50.55, in clear and encrypted. */
const address = "54:48:e6:8f:80:a5";
const key = hex("231d39c1d7cc1ab1aee224cd096db932");
const encrypted = hex("41 a47266c95f73 00112233 78237214");

describe("the public description's example", () => {
  test("in clear", () => {
    const frame = parseBthome(hex("40 02ca09 03bf13"));
    expect(frame).toEqual({ encrypted: false, objects: hex("02ca09 03bf13") });
    expect(read("02ca09 03bf13")).toEqual([
      ["temperature", 25.06],
      ["humidity", 50.55],
    ]);
  });

  test("encrypted", () => {
    expect(parseBthome(encrypted)).toEqual({ encrypted: true, counter: 0x33221100 });
    expect(decryptBthome(encrypted, address, key)).toEqual(hex("02ca09 03bf13"));
    const plain = writeBthome([
      { id: 0x02, octets: hex("ca09") },
      { id: 0x03, octets: hex("bf13") },
    ]);
    expect(Buffer.from(encryptBthome(plain, { address, key, counter: 0x33221100 }))).toEqual(encrypted);
  });
});

test.each<[string, string, BthomeValue]>([
  ["0161", "battery", 97],
  ["02f6ff", "temperature", -0.1],
  ["047c8901", "pressure", 1007.32],
  ["05138a14", "illuminance", 13_460.67],
  ["0a138a14", "energy", 1_346.067],
  ["0c020c", "voltage", 3.074],
  ["0f01", "generic", true],
  ["1a00", "door", false],
  ["2d01", "window", true],
  ["1501", "battery_low", true],
  ["3e2a2c0960", "count", 1_611_213_866],
  ["3f020c", "rotation", 307.4],
  ["4632", "uv_index", 5],
  ["505d396164", "timestamp", 1_684_093_277],
  ["530c48656c6c6f20576f726c6421", "text", "Hello World!"],
  ["540303ff00", "raw", "03ff00"],
  ["57ea", "temperature", -22],
  ["58ea", "temperature", -7.7],
  ["5cfeffffff", "power", -0.02],
  ["628756faff", "speed", -0.371_065],
  ["3a01", "button", "press"],
  ["3a80", "button", "hold_press"],
  ["3a77", "button", "event_119"],
  ["3c0103", "dimmer", { steps: -3 }],
  ["3c0203", "dimmer", { steps: 3 }],
  ["f00100", "device_type", 1],
  ["f100010204", "firmware_version", "4.2.1.0"],
  ["f2000106", "firmware_version", "6.1.0"],
])("%s is %s %o", (octets, name, value) => {
  expect(readBthome(hex(octets))).toEqual({
    readings: [{ id: hex(octets)[0], name, value }],
    isWhole: true,
  });
});

test("several of one name are numbered; a button that was not pressed says nothing; the packet id", () => {
  expect(read("0009 02ca09 45 1100 3a00 3a02")).toEqual([
    ["packet_id", 9],
    ["temperature", 25.06],
    ["temperature_2", 1.7],
    ["button", "double_press"],
  ]);
  expect(packetIdOf(readBthome(hex("0009 0161")).readings)).toBe(9);
  expect(packetIdOf(readBthome(hex("0161")).readings)).toBeUndefined();
});

test("what is not known, or cut off, ends the reading; what came before counts", () => {
  expect(readBthome(hex("0161 ff 02ca09"))).toEqual({
    readings: [{ id: 1, name: "battery", value: 97 }],
    isWhole: false,
  });
  expect(readBthome(hex("0161 02ca")).isWhole).toBe(false);
  expect(readBthome(hex("530548656c")).readings).toEqual([]);
  expect(readBthome(hex("53"))).toEqual({ readings: [], isWhole: false });
  expect(readBthome(hex(""))).toEqual({ readings: [], isWhole: true });
});

test.each([
  ["nothing", ""],
  ["version 1", "20 0161"],
  ["version 3", "60 0161"],
  ["a reserved bit", "42 0161"],
  ["encrypted, and too short for its counter", "41 00112233782372"],
])("no BTHome v2: %s", (_what, octets) => {
  expect(parseBthome(hex(octets))).toBeUndefined();
});

test("a sensor that speaks only when something happens sets bit 2", () => {
  expect(parseBthome(hex("44 3a01"))).toMatchObject({ encrypted: false });
});

describe("encryption", () => {
  test("each octet counts: no change goes unnoticed, nor another address or key", () => {
    for (let i = 0; i < encrypted.length; i++) {
      const changed = Buffer.from(encrypted);
      changed.writeUInt8(changed.readUInt8(i) ^ 0x04, i);
      expect(decryptBthome(changed, address, key), `octet ${i}`).toBeUndefined();
    }
    expect(decryptBthome(encrypted, "54:48:e6:8f:80:a6", key)).toBeUndefined();
    expect(decryptBthome(encrypted, address, Buffer.alloc(16))).toBeUndefined();
    expect(decryptBthome(encrypted, address, key.subarray(1))).toBeUndefined();
    expect(decryptBthome(encrypted, "no address", key)).toBeUndefined();
    expect(decryptBthome(encrypted.subarray(0, 8), address, key)).toBeUndefined();
  });

  test("by the block cipher alone: counter mode and CBC-MAC of RFC 3610 by hand", () => {
    const nonce = hex("5448e68f80a5 d2fc 41 00112233");
    const block = (octets: Buffer) => {
      const aes = createCipheriv("aes-128-ecb", key, null).setAutoPadding(false);
      return Buffer.concat([aes.update(octets), aes.final()]);
    };
    const xor = (a: Buffer, b: Buffer) => Buffer.from(a.map((octet, i) => octet ^ (b[i] ?? 0)));
    const objects = hex("02ca09 03bf13");
    // Flags: MIC of 4 octets (M' = 1), length in 2 octets (L' = 1).
    const first = block(Buffer.concat([hex("09"), nonce, hex("0006")]));
    const mac = block(xor(first, Buffer.concat([objects, Buffer.alloc(10)])));
    const stream = (i: number) => block(Buffer.concat([hex("01"), nonce, Buffer.of(0, i)]));
    const wanted = Buffer.concat([
      hex("41"),
      xor(objects, stream(1)).subarray(0, 6),
      hex("00112233"),
      xor(mac, stream(0)).subarray(0, 4),
    ]);
    expect(wanted).toEqual(encrypted);
  });

  test("what is encrypted is deciphered to the same", () => {
    const octets = fc.uint8Array({ minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(
        octets,
        fc.uint8Array({ minLength: 16, maxLength: 16 }),
        fc.nat(0xffff_ffff),
        (content, own, counter) => {
          const plain = Uint8Array.of(0x40, ...content);
          const ciphered = encryptBthome(plain, { address, key: own, counter });
          expect(parseBthome(ciphered)).toEqual({ encrypted: true, counter });
          expect(new Uint8Array(decryptBthome(ciphered, address, own) ?? [])).toEqual(content);
        },
      ),
    );
  });
});

test("numbers are read as they were written, each object of the table", () => {
  for (const object of bthomeObjects.values()) {
    if (object.form !== "number") continue;
    const { id, bytes, signed, step, decimals } = object;
    const range = 256 ** bytes;
    const written = fc.integer(signed ? { min: -range / 2, max: range / 2 - 1 } : { min: 0, max: range - 1 });
    fc.assert(
      fc.property(written, (value) => {
        const octets = Buffer.alloc(bytes);
        if (signed) octets.writeIntLE(value, 0, bytes);
        else octets.writeUIntLE(value, 0, bytes);
        const [reading] = readBthome(writeBthome([{ id, octets }]).subarray(1)).readings;
        expect(reading?.value).toBe(Number((value * step).toFixed(decimals)));
        expect(Math.round(Number(reading?.value) / step)).toBe(value);
      }),
      { numRuns: 50 },
    );
  }
});

test("any octets at all do no harm: a million payloads", () => {
  let state = 0x1234_5678;
  const next = () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state >>> 0;
  };
  let known = 0;
  const octets = new Uint8Array(40);
  for (let i = 0; i < 1_000_000; i++) {
    for (let at = 0; at < octets.length; at++) octets[at] = next() >>> 11;
    octets[0] = i % 2 === 0 ? 0x40 : (octets[0] ?? 0);
    const payload = octets.subarray(0, next() % 41);
    const frame = parseBthome(payload);
    if (!frame) continue;
    if (!frame.encrypted) known += readBthome(frame.objects).readings.length;
    else if (i % 64 === 1) decryptBthome(payload, address, key);
  }
  expect(known).toBeGreaterThan(100_000);
});

test("the manual lists every object, with its name and its octets", () => {
  const manual = readFileSync(new URL("../../../docs/guide/bthome.md", import.meta.url), "utf8");
  const rows = manual.split("\n").filter((line) => line.startsWith("| 0x"));
  expect(rows).toHaveLength(bthomeObjects.size);
  for (const object of bthomeObjects.values()) {
    const { id, name, unit } = object;
    const row = rows.find((line) => line.startsWith(`| 0x${id.toString(16).padStart(2, "0")} |`)) ?? "";
    expect(row).toContain(`| \`${name}\` |`);
    expect(row).toContain(unit);
    if (object.form === "number") expect(row).toContain(`| ${object.bytes}${object.signed ? ", signed" : ""} |`);
  }
});
