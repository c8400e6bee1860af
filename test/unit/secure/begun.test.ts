/** A handshake on its way between two gateways: its octets, and the memory that keeps it from being continued twice. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Continued, encodeBegun, helloSeqOf, lifeLeftOf, readBegun } from "../../../src/secure/begun.ts";
import { lifeMs } from "../../../src/secure/handshake-state.ts";
import type { Begun } from "../../../src/secure/messages.ts";
import { writeNumber } from "../../../src/secure/octets.ts";
import { certificateSuites, suites } from "../../../src/secure/suites.ts";
import { anyCharacter } from "../../helpers/any-text.ts";

const octets = (min: number, max = min) => fc.uint8Array({ minLength: min, maxLength: max });
const anyBegun: fc.Arbitrary<Begun> = fc.record({
  address: fc.string({ unit: anyCharacter, minLength: 1, maxLength: 60 }),
  suite: fc.constantFrom(...Object.values(suites), ...Object.values(certificateSuites)),
  clientRandom: octets(32),
  serverRandom: octets(32),
  isExtended: fc.boolean(),
  cid: fc.option(octets(0, 20), { nil: undefined }),
  peerCid: fc.option(octets(0, 20), { nil: undefined }),
  transcript: octets(6, 2_000),
  messageNext: fc.integer({ min: 0, max: 0xffff }),
  plainNext: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  secretHalf: fc.option(octets(0, 32), { nil: undefined }),
  ageMs: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
});

const sample: Begun = {
  address: "dtls/192.0.2.7:4000",
  suite: certificateSuites.ccm8,
  clientRandom: new Uint8Array(32).fill(1),
  serverRandom: new Uint8Array(32).fill(2),
  isExtended: true,
  cid: new Uint8Array(8).fill(3),
  peerCid: new Uint8Array(2).fill(4),
  transcript: Uint8Array.of(1, 0, 0, 40, 0, 1, 0, 0, 0, 0, 0, 40),
  messageNext: 5,
  plainNext: 2 ** 40 + 7,
  secretHalf: new Uint8Array(32).fill(6),
  ageMs: 70_000,
};

describe("the octets", () => {
  test("what is written is read", () => {
    fc.assert(
      fc.property(anyBegun, (begun) => {
        expect(readBegun(encodeBegun(begun))).toEqual(begun);
      }),
    );
    expect(readBegun(encodeBegun(sample))).toEqual(sample);
  });

  test("what was read does not change with the datagram in which it came", () => {
    const bytes = encodeBegun(sample);
    const begun = readBegun(bytes);
    bytes.fill(0xff);
    expect(begun).toEqual(sample);
  });

  test("cut off anywhere, or longer, they are none", () => {
    const bytes = encodeBegun(sample);
    for (let length = 0; length < bytes.length; length++)
      expect(readBegun(bytes.subarray(0, length)), `${length}`).toBeUndefined();
    expect(readBegun(Uint8Array.of(...bytes, 0))).toBeUndefined();
  });

  test("with any bit changed they are none, or another handshake", () => {
    const bytes = encodeBegun(sample);
    for (let bit = 0; bit < 8 * bytes.length; bit++) {
      const changed = bytes.slice();
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(readBegun(changed), `bit ${bit}`).not.toEqual(sample);
    }
  });

  test("any other octets throw nothing", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const begun = readBegun(Uint8Array.of(1, ...bytes));
        if (begun) expect(readBegun(encodeBegun(begun))).toEqual(begun);
      }),
    );
    expect(readBegun(new Uint8Array(0))).toBeUndefined();
  });

  test("the client's hello says its number, and the age how long it may still be continued", () => {
    const transcript = sample.transcript.slice();
    writeNumber(transcript, 4, 0x0102, 2);
    expect(helloSeqOf({ ...sample, transcript })).toBe(0x0102);
    expect(lifeLeftOf({ ...sample, ageMs: 3_000 })).toBe(lifeMs - 3_000);
  });
});

describe("the memory", () => {
  /** A handshake with these octets. */
  const handshake = (n: number, ageMs = 0): Begun => {
    const serverRandom = new Uint8Array(32);
    writeNumber(serverRandom, 26, n, 6);
    return { ...sample, serverRandom, ageMs };
  };
  /** Long after the start of the gateway. */
  const later = 1_000_000;

  test("a handshake is continued once, and recognized by the server's random octets alone", () => {
    const continued = new Continued(0);
    expect(continued.has(handshake(1))).toBe(false);
    expect(continued.take(handshake(1), later)).toBe(true);
    expect(continued.has(handshake(1, 5_000))).toBe(true);
    const copy = { ...handshake(1, 10), address: "dtls/192.0.2.9:1", clientRandom: new Uint8Array(32), cid: undefined };
    expect([continued.has(copy), continued.take(copy, later + 10)]).toEqual([true, false]);
    expect([continued.has(handshake(2)), continued.take(handshake(2), later)]).toEqual([false, true]);
  });

  test("not one that is too old", () => {
    const continued = new Continued(0);
    expect(continued.take(handshake(1, lifeMs + 1), later)).toBe(false);
    expect(continued.take(handshake(1, lifeMs), later)).toBe(true);
  });

  test("not one that may have begun before this gateway had the shard: 200 ms are for the way", () => {
    const since = 5_000;
    const continued = new Continued(since);
    expect(continued.take(handshake(1, 0), since)).toBe(false);
    expect(continued.take(handshake(1, 1_001), since + 1_200)).toBe(false);
    expect(continued.take(handshake(1, 1_000), since + 1_200)).toBe(true);
    expect(continued.take(handshake(2, 0), since + 199)).toBe(false);
    expect(continued.take(handshake(2, 0), since + 200)).toBe(true);
  });

  test("what is refused is not remembered", () => {
    const continued = new Continued(later);
    expect(continued.take(handshake(1, 0), later)).toBe(false);
    expect(continued.has(handshake(1))).toBe(false);
  });

  test("a handshake is remembered for longer than it can be handed over: the owner may stand still for ten seconds", () => {
    const continued = new Continued(0);
    expect(continued.take(handshake(1, 0), later)).toBe(true);
    // It was handed over again at the last moment, and has waited here since.
    for (const waited of [0, 199, 201, 9_999]) {
      expect(continued.take(handshake(1, lifeMs), later + lifeMs + waited), `${waited}`).toBe(false);
      expect(continued.has(handshake(1))).toBe(true);
    }
  });

  test("4,096 are remembered, and no more are continued until the first ones are forgotten", () => {
    const continued = new Continued(0);
    const taken = Array.from({ length: 4_097 }, (_, n) => continued.take(handshake(n), later + n));
    expect(taken.indexOf(false)).toBe(4_096);
    expect(continued.take(handshake(5_000), later + 4_096)).toBe(false);
    expect(continued.take(handshake(0, 1), later + 4_096)).toBe(false);
    const over = later + lifeMs + 10_000;
    expect(continued.take(handshake(5_000), over - 1)).toBe(false);
    expect(continued.take(handshake(5_000), over)).toBe(true);
    expect(continued.take(handshake(5_001), over)).toBe(false);
    expect(continued.has(handshake(0))).toBe(false);
    expect(continued.has(handshake(1))).toBe(true);
    for (let n = 1; n <= 10; n++) expect(continued.take(handshake(6_000 + n), over + 10)).toBe(true);
    expect(continued.take(handshake(6_011), over + 10)).toBe(false);
  });
});
