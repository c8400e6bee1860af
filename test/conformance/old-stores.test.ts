/** Stores written by earlier versions, opened by this one: everything in them is found. */
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, expect, test } from "vitest";
import type { GatewayError } from "../../src/errors.ts";
import { DiskStore } from "../../src/storage/disk.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { stored } from "./store-suite.ts";

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
  const [trunk, sleeper, other, ...rest] = await stored(store);
  expect(rest).toEqual([]);
  expect(trunk).toMatchObject({
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
