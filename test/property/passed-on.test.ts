/** Between gateways: whatever is passed on comes back as it was; whatever the octets, reading them throws nothing and makes up nothing. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { PeerId } from "../../src/core/types.ts";
import {
  canPassOn,
  codeBytes,
  frameBytesAround,
  numbersEnd,
  readHead,
  readRecords,
  recordBytes,
  recordsAt,
  tagBytes,
  type Way,
  writeHead,
  writeRecord,
} from "../../src/fleet/passed-on.ts";
import { cases } from "../helpers/cases.ts";

interface PassedOn {
  readonly way: Way;
  readonly shard: number;
  readonly peer: PeerId;
  readonly message: Uint8Array;
}

const peer = fc
  .tuple(
    fc.constantFrom("udp", "udp-6"),
    fc.oneof(
      fc.ipV4(),
      fc.ipV6().map((a) => `[${a}%eth0]`),
    ),
    fc.nat(65_535),
  )
  .map(([name, host, port]): PeerId => `${name}/${host}:${port}`);
const passedOn: fc.Arbitrary<PassedOn> = fc.record({
  way: fc.constantFrom<Way[]>("up", "down"),
  shard: fc.nat(255),
  peer,
  message: fc.uint8Array({ minLength: 1, maxLength: 1_500 }),
});
const tag = fc.uint8Array({ minLength: tagBytes, maxLength: tagBytes });

function frameOf(records: readonly PassedOn[]): Uint8Array {
  const frame = new Uint8Array(
    frameBytesAround + records.reduce((sum, each) => sum + recordBytes(each.peer, each.message), 0),
  );
  let at = recordsAt;
  for (const each of records) at = writeRecord(frame, at, each);
  expect(at).toBe(frame.length - codeBytes);
  return frame;
}

function read(frame: Uint8Array): { readonly records: PassedOn[]; readonly isWhole: boolean } {
  const records: PassedOn[] = [];
  const isWhole = readRecords(frame, (way, shard, peer, message) => records.push({ way, shard, peer, message }));
  return { records, isWhole };
}

test("records come back as they were, in their order", () => {
  fc.assert(
    fc.property(fc.array(passedOn, { maxLength: 20 }), (records) => {
      for (const each of records) expect(canPassOn(each.peer, each.message)).toBe(true);
      const { records: back, isWhole } = read(frameOf(records));
      expect(isWhole).toBe(true);
      expect(back).toEqual(records);
    }),
  );
});

test("a head comes back as it was", () => {
  fc.assert(
    fc.property(tag, tag, fc.nat(numbersEnd - 1), (sender, receiver, number) => {
      const frame = new Uint8Array(frameBytesAround);
      writeHead(frame, { sender, receiver, number });
      expect(readHead(frame)).toEqual({ sender, receiver, number });
    }),
  );
});

test("whatever the octets: nothing is thrown, no record is larger than what came, and peers are such", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (octets) => {
      const { records } = read(octets);
      let sum = 0;
      for (const each of records) {
        expect(each.peer).toMatch(/^[^/#\s]+\/[^#\s]+$/);
        expect(canPassOn(each.peer, each.message)).toBe(true);
        sum += recordBytes(each.peer, each.message);
      }
      expect(sum).toBeLessThanOrEqual(octets.length);
    }),
    { numRuns: cases(2_000) },
  );
});

test("a frame that was cut or changed: nothing is thrown, and what is read lies in it", () => {
  fc.assert(
    fc.property(
      fc.array(passedOn, { minLength: 1, maxLength: 4 }),
      fc.nat(),
      fc.nat(255),
      fc.nat(),
      (records, where, octet, cut) => {
        const frame = frameOf(records);
        frame[recordsAt + (where % (frame.length - recordsAt))] = octet;
        const { records: back } = read(frame.subarray(0, frame.length - (cut % frame.length)));
        for (const each of back) expect(canPassOn(each.peer, each.message)).toBe(true);
      },
    ),
    { numRuns: cases(2_000) },
  );
});

test("what cannot be written is refused: no message, too long a one, and peers that no transport makes", () => {
  const message = Uint8Array.of(2, 0x16);
  expect(canPassOn("udp/192.0.2.1:1", message)).toBe(true);
  expect(canPassOn("udp/192.0.2.1:1", new Uint8Array(0))).toBe(false);
  expect(canPassOn("udp/192.0.2.1:1", new Uint8Array(65_500))).toBe(false);
  expect(canPassOn("udp/192.0.2.1:1#01", message)).toBe(false);
  expect(canPassOn("udp/192.0.2.1:1 ", message)).toBe(false);
  expect(canPassOn("udp/\u0141", message)).toBe(false);
  expect(canPassOn(`udp/${"1".repeat(117)}`, message)).toBe(false);
});

test("a peer longer than any transport's is not read", () => {
  const long: PeerId = `udp/${"1".repeat(117)}`;
  expect(read(frameOf([{ way: "up", shard: 1, peer: long, message: Uint8Array.of(2, 0x16) }]))).toEqual({
    records: [],
    isWhole: false,
  });
});
