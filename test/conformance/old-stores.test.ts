/** Stores written by earlier versions, opened by this one: everything in them is found. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { crc32 } from "node:zlib";
import { afterAll, expect, test } from "vitest";
import type { GatewayError } from "../../src/errors.ts";
import { DiskStore } from "../../src/storage/disk.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { session, stored } from "./store-suite.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function copyOf(name: string): string {
  const folder = mkdtempSync(join(tmpdir(), "old-store-"));
  folders.push(folder);
  cpSync(fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url)), folder, { recursive: true });
  return folder;
}

const octets = (text: string) => Uint8Array.from(Buffer.from(text, "utf8"));

const publication = (topicName: string, text: string, qos: 0 | 1 | 2, retain = false) => ({
  topicName,
  payload: octets(text),
  qos,
  retain,
});

const bare = {
  state: "disconnected",
  clean: false,
  keepAliveSeconds: 0,
  sleepSeconds: 0,
  farewell: false,
  topics: [],
  nextTopicId: 1,
  subscriptions: [],
};

test("a store of 0.1.0 with records of version 1: all of every kind is there, in the oldest shapes too", async () => {
  const store = new DiskStore(storeOptions.parse({ folder: copyOf("store-0.1.0-v1") }));
  expect((await store.open()).notices).toEqual([]);
  const [shared, sleeper, other, ...rest] = await stored(store);
  expect(rest).toEqual([]);
  expect(shared).toMatchObject({
    session: { ...bare, clientId: "\0/0" },
    received: [[21, { seq: 0, hash: 4711 }]],
  });
  expect(sleeper).toMatchObject({
    session: {
      clientId: "sleeper",
      peer: "udp/192.0.2.1:4321",
      state: "asleep",
      clean: false,
      keepAliveSeconds: 60,
      sleepSeconds: 600,
      farewell: false,
      will: publication("wills/sleeper", "gone", 1, true),
      brokerWill: publication("wills/before", "", 0),
      topics: [
        { id: 5, name: "täglich/temp", known: true },
        { id: 6, name: "other", known: false },
      ],
      nextTopicId: 7,
      subscriptions: [
        { filter: "a/#", qos: 2, by: "name", predefinedId: 0 },
        { filter: "pre", qos: 1, by: "predefined", predefinedId: 9 },
        { filter: "ab", qos: 0, by: "short", predefinedId: 0 },
      ],
    },
    queued: [
      [1, { publication: publication("a/1", "first", 1), msgId: 0, released: false }],
      [
        16,
        {
          publication: { topicName: "a/3", payload: Uint8Array.of(0, 1, 254, 255), qos: 2, retain: false },
          msgId: 76,
          released: true,
          since: 1_790_000_000_000,
        },
      ],
      [
        300,
        {
          publication: publication("a/2", "third", 2, true),
          msgId: 77,
          released: false,
          since: 1_790_000_000_000,
          left: 60_000,
          due: 1_790_000_060_000,
        },
      ],
    ],
    received: [
      [9, { seq: 300 }],
      [10, { seq: 0, hash: -559038737 }],
    ],
    uplink: [],
    taken: [],
  });
  expect(sleeper?.backlog).toBeUndefined();
  expect(other).toMatchObject({
    session: {
      ...bare,
      clientId: "ü/% b",
      peer: "udp/[2001:db8::1]:1#0a0b",
      state: "lost",
      farewell: true,
      clean: true,
      home: "/0",
    },
    queued: [],
    uplink: [
      [1, { publication: publication("wills/b", "gone", 2), stage: "released", isWill: true }],
      [
        65_535,
        {
          publication: publication("up/exchange", "once", 2),
          origin: { msgId: 3, topicId: 5 },
          stage: "open",
          isWill: false,
        },
      ],
    ],
    taken: [[4, { topicId: 5, hash: -12345 }]],
    backlog: { count: 2, octets: 21, first: 7, last: 8 },
  });
  const backlog = await new Promise<readonly unknown[]>((resolve, reject) =>
    store.fetch("ü/% b", 0, 10, (entries, error: GatewayError | undefined) =>
      error ? reject(error) : resolve(entries),
    ),
  );
  expect(backlog).toMatchObject([
    [7, { publication: publication("up/later", "seven", 1), at: 1_790_000_000_000 }],
    [8, { publication: publication("up/läter", "", 2, true), at: 0 }],
  ]);
  expect([...(await store.known(undefined, 10))].sort()).toEqual(["sleeper", "ü/% b"]);
  expect(await store.letters(0, 10)).toMatchObject([
    {
      id: 1,
      clientId: "sleeper",
      record: { direction: "down", reason: "expired", publication: publication("a/old", "too late", 1) },
    },
    {
      id: 2,
      clientId: "ü/% b",
      record: {
        direction: "up",
        reason: "refused-by-broker",
        publication: publication("up/bad", "no", 2, true),
        at: 0,
      },
    },
  ]);
  await store.close();
});

/**
 * How 0.1.0 (commit b93fc37) reads: keys of the kinds that it knows, and of those nothing but the checksum, the form and that
 * there is a `v`. What is in the way of that it deletes; all other keys it never looks at.
 */
function asRead010(key: string, stored: Uint8Array): unknown {
  const isLookedAt = (key >= "q" && key < "v") || (key >= "b" && key < "c");
  if (!isLookedAt) return "untouched";
  const bytes = Buffer.from(stored);
  if (bytes.readUInt32BE(0) !== crc32(bytes.subarray(4))) return "deleted";
  if (bytes[10] === 1) return bytes.subarray(20 + bytes.readUInt16BE(18)).toString();
  try {
    const record: unknown = JSON.parse(bytes.toString("utf8", 10));
    return typeof record === "object" && record !== null && "v" in record ? record : "deleted";
  } catch {
    return "deleted";
  }
}

/** How 0.1.0, and every release up to the first with `store.records`, answers a format: a later one stops its start. */
const formatOf010 = (stored: Uint8Array | undefined) => Number(Buffer.from(stored ?? []).toString("utf8", 10));

const meta = { contentType: "text/plain", userProperties: [["a", "b"]] } as const;
const about = { ...publication("a/b", "payload", 2), meta };

async function writeAll(store: DiskStore): Promise<void> {
  const of = { clientId: "new", id: 1 };
  await new Promise<void>((resolve, reject) =>
    store.commit(
      [
        { ...session("new"), id: 0 },
        { of: "queued", ...of, record: { publication: about, msgId: 0, released: false } },
        { of: "uplink", ...of, record: { publication: about, origin: undefined, stage: "open", isWill: false } },
        { of: "received", ...of, record: { seq: 0, hash: 1 } },
        { of: "taken", ...of, record: { topicId: 1, hash: 1 } },
        { of: "backlog", ...of, record: { publication: publication("a/b", "payload", 1), at: 1 } },
        { of: "backlog", ...of, id: 2, record: { publication: about, at: 1 } },
        { of: "known", ...of, id: 0, record: {} },
        { of: "letter", ...of, record: { direction: "up", reason: "r", publication: about, at: 1 } },
      ],
      (error) => (error ? reject(error) : resolve()),
      { epoch: 3 },
    ),
  );
}

async function allIn(store: DiskStore): Promise<ReadonlyMap<string, Uint8Array>> {
  const all = new Map<string, Uint8Array>();
  for await (const [key, stored] of store.snapshot()) all.set(key, stored);
  return all;
}

async function expectReadBy010(store: DiskStore): Promise<void> {
  const all = await allIn(store);
  expect(formatOf010(all.get("format"))).toBe(1);
  const read = new Map([...all].map(([key, stored]) => [key, asRead010(key, stored)]));
  expect([...read].filter(([, record]) => record === "deleted")).toEqual([]);
  expect(read.get("bnew/000000000001")).toBe("payload");
  expect(read.get("bnew/000000000002")).toMatchObject({ v: 2, at: 1, publication: { topicName: "a/b", qos: 2 } });
  expect(read.get("qnew/000000000001")).toMatchObject({ v: 2, publication: { topicName: "a/b" }, msgId: 0 });
  expect(read.get("snew")).toMatchObject({ v: 2, clientId: "new" });
  expect(read.get("epoch")).toBe("untouched");
}

test("0.1.0 reads what we write in plain form: nothing in it is damage to it, and what it does not know it leaves alone", async () => {
  const store = new DiskStore(storeOptions.parse({ folder: copyOf("store-0.1.0-v1"), records: "plain" }));
  await store.open();
  await writeAll(store);
  await expectReadBy010(store);
  await store.close();
});

test("packed records: 0.1.0 does not start, and changes nothing; after a start with plain it reads all of them", async () => {
  const folder = copyOf("store-0.1.0-v1");
  const packed = new DiskStore(storeOptions.parse({ folder }));
  expect((await packed.open()).notices).toEqual([]);
  const before = await stored(packed);
  await writeAll(packed);
  const written = await stored(packed);
  expect(written.length).toBe(before.length + 1);
  const all = await allIn(packed);
  expect(formatOf010(all.get("format"))).toBe(2);
  expect(asRead010("snew", all.get("snew") ?? Uint8Array.of())).toBe("deleted"); // so it must not start
  await packed.close();

  const plain = new DiskStore(storeOptions.parse({ folder, records: "plain" }));
  expect((await plain.open()).notices).toEqual([]);
  expect(await stored(plain)).toEqual(written);
  await expectReadBy010(plain);
  await plain.close();

  const again = new DiskStore(storeOptions.parse({ folder }));
  expect((await again.open()).notices).toEqual([]);
  expect(formatOf010((await allIn(again)).get("format"))).toBe(2);
  expect(await stored(again)).toEqual(written);
  await again.close();
});
