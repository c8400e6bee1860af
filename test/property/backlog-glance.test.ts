/** Backlog records are judged at a glance when a store is opened; the verdict is that of `decodeRecord`, whatever the octets are. */
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { BacklogSummary, Change } from "../../src/core/record.ts";
import { checksumOf } from "../../src/storage/checksum.ts";
import { decodeRecord, encodeRecord } from "../../src/storage/encoding.ts";
import { keyOf, nameOf } from "../../src/storage/keys.ts";
import { lookThrough } from "../../src/storage/look-through.ts";
import { octetsOf } from "../../src/storage/state-table.ts";
import { cases } from "../helpers/cases.ts";

const meta = { contentType: "text/plain" } as const;

const records = fc
  .record({
    clientId: fc.constantFrom("a", "b", "ä/b", "a".repeat(30)),
    id: fc.oneof(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 1, max: 2 ** 48 - 1 })),
    topicName: fc.constantFrom("ab", "ac", "temp/tür", "x".repeat(300)),
    payload: fc.uint8Array({ maxLength: 300 }),
    qos: fc.constantFrom(0 as const, 1 as const, 2 as const),
    hasMeta: fc.nat(9).map((n) => n === 0),
    commit: fc.integer({ min: 1, max: 2 ** 40 }),
    /** What is done to it, where, and with what. */
    harm: fc.tuple(fc.nat(12), fc.nat(), fc.nat(255)),
  })
  .map(({ clientId, id, topicName, payload, qos, hasMeta, commit, harm: [how, at, octet] }) => {
    const publication = { topicName, payload, qos, retain: qos === 1, ...(hasMeta && { meta }) };
    const change: Change = { of: "backlog", clientId, id, record: { publication, at: 5 } };
    const stored = Buffer.from(encodeRecord(change, commit, how === 11 ? "packed" : "plain"));
    let key = keyOf(change);
    if (how <= 3) stored[at % stored.length] = octet;
    // Wrong, with a checksum that is right.
    if (how === 1 || how === 2) stored.writeUInt32BE(crc32(stored.subarray(4)), 0);
    if (how === 2) stored[10 + (at % 12)] = octet;
    if (how === 2) stored.writeUInt32BE(crc32(stored.subarray(4)), 0);
    if (how === 4) key = key.slice(0, -1) + String.fromCharCode(octet & 0x7f);
    if (how === 5) return { key, stored: stored.subarray(0, at % stored.length) };
    return { key, stored };
  });

async function* batches<T>(all: readonly T[], size: number): AsyncGenerator<T[]> {
  for (let at = 0; at < all.length; at += size) yield all.slice(at, at + size);
}

test("a glance at backlog records finds what reading each of them finds: what is wrong, and the sums", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(records, { maxLength: 40 }), fc.integer({ min: 1, max: 9 }), async (made, size) => {
      const byKey = new Map(made.map(({ key, stored }) => [key, stored]));
      const entries = [...byKey].sort(([a], [b]) => (a < b ? -1 : 1));
      const wrong: { key: string; why: string }[] = [];
      const sums = new Map<string, BacklogSummary>();
      let latest = 0;
      for (const [key, stored] of entries) {
        const decoded = decodeRecord(key, stored);
        if (decoded.is === "wrong") {
          wrong.push({ key, why: decoded.why });
          continue;
        }
        latest = Math.max(latest, decoded.commit);
        const name = nameOf(key);
        if (typeof name === "string") continue;
        const record = decoded.is === "record" && decoded.change.of === "backlog" ? decoded.change.record : undefined;
        const before = sums.get(name.clientId) ?? { count: 0, octets: 0, first: name.id, last: name.id };
        sums.set(name.clientId, {
          count: before.count + (record ? 1 : 0),
          octets: before.octets + (record ? octetsOf(record) : 0),
          first: Math.min(before.first, name.id),
          last: Math.max(before.last, name.id),
        });
      }
      const found = await lookThrough(batches(entries, size));
      expect(found.wrong).toEqual(wrong);
      expect(found.backlogs).toEqual(sums);
      expect(found.latest).toBe(latest);
    }),
    { numRuns: cases(1_000) },
  );
});

test("checksums of short and long octets are those of zlib", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.nat(8), (octets, from) => {
      const bytes = Buffer.from(octets);
      expect(checksumOf(bytes, from)).toBe(crc32(bytes.subarray(from)));
    }),
  );
});
