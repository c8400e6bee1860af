import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import type { Change } from "../../src/core/record.ts";
import { GatewayError } from "../../src/errors.ts";
import { DiskStore } from "../../src/storage/disk.ts";
import { decodeRecord, encodeRecord, encodeValue } from "../../src/storage/encoding.ts";
import { keyOf } from "../../src/storage/keys.ts";
import { MemoryStore } from "../../src/storage/memory.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { disk, folder } from "./store-folders.ts";
import { commit, queued, session, stored, storeSuite } from "./store-suite.ts";

const gone = (change: Change): Change => ({ ...change, record: undefined });

storeSuite("memory", () => ({ fresh: () => new MemoryStore() }));
for (const durability of ["group", "each", "none"]) {
  storeSuite(`disk, durability ${durability}`, () => {
    const at = folder();
    return { fresh: () => disk(at, { durability }), again: () => disk(at, { durability }) };
  });
}

test("a record that was changed by one bit is not a record", () => {
  const change = queued("ä", 7);
  const key = keyOf(change);
  for (const form of ["plain", "packed"] as const) {
    const bytes = encodeRecord(change, 77, form);
    expect(decodeRecord(key, bytes)).toEqual({ is: "record", change, commit: 77 });
    for (let bit = 0; bit < bytes.length * 8; bit++) {
      const changed = Uint8Array.from(bytes);
      changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(decodeRecord(key, changed)).toEqual({ is: "wrong", why: "damaged" });
    }
  }
  expect(decodeRecord(key, new Uint8Array(3))).toEqual({ is: "wrong", why: "damaged" });
});

describe("a disk store in trouble", () => {
  async function written(at: string, commits: number): Promise<void> {
    const store = disk(at, { durability: "each" });
    await store.open();
    await commit(store, session("a"));
    for (let seq = 1; seq < commits; seq++) await commit(store, queued("a", seq, "x".repeat(100)));
    await store.close();
  }
  const file = (at: string, pattern: RegExp) => {
    const name =
      readdirSync(join(at, "sessions"))
        .filter((each) => pattern.test(each))
        .sort()
        .at(-1) ?? "";
    return join(at, "sessions", name);
  };

  test("a second process is told whose it is", async () => {
    const at = folder();
    const first = disk(at);
    await first.open();
    const error = await disk(at)
      .open()
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(GatewayError);
    expect(error).toMatchObject({ code: "ERR_STORE_OPEN" });
    expect(String(error)).toMatch(/another process uses the store/);
    await first.close();
  });

  test("a folder that cannot be: said, not crashed", async () => {
    const at = folder();
    writeFileSync(join(at, "file"), "");
    const error = await disk(join(at, "file", "below"))
      .open()
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "ERR_STORE_OPEN" });
  });

  test("a later version's store is left alone", async () => {
    const at = folder();
    await written(at, 1);
    const { ClassicLevel } = await import("classic-level");
    const raw = new ClassicLevel<string, Uint8Array>(join(at, "sessions"), { valueEncoding: "view" });
    await raw.put("format", encodeValue(3, 0));
    await raw.close();
    const error = await disk(at)
      .open()
      .catch((thrown: unknown) => thrown);
    expect(String(error)).toMatch(/later version \(format 3\)/);
  });

  /** Puts these beside what a store holds, as a backup by other hands might. */
  async function putRaw(at: string, entries: readonly (readonly [key: string, value: Uint8Array])[]): Promise<void> {
    const { ClassicLevel } = await import("classic-level");
    const raw = new ClassicLevel<string, Uint8Array>(join(at, "sessions"), { valueEncoding: "view" });
    for (const [key, value] of entries) await raw.put(key, value);
    await raw.close();
  }

  test("records with a right checksum and without sense, and keys of no client: lost alone, named, once", async () => {
    const at = folder();
    await written(at, 3);
    const value = encodeValue({ v: 1 }, 1);
    const { record } = session("b");
    const wrong: [string, Uint8Array][] = [
      ["s%zz", encodeRecord(session("b"), 1)],
      ["sb", encodeRecord(session("c"), 1)],
      ["sc", encodeValue({ v: 1, ...record, clientId: "c", topics: 5 }, 1)],
      ["sd", encodeValue({ v: 2, ...record, clientId: "d", keepAliveSeconds: 1e300 }, 1)],
      ["se", encodeValue({ v: 2, ...record, clientId: "e", peer: "udp" }, 1)],
      ["sf", encodeValue({ v: 1, ...record, clientId: "f", subscriptions: [{ filter: "a/#/b" }] }, 1)],
      ["qa/zzzz", value],
      ["qa/0000000000ff", value],
      ["ua/000000000001", encodeValue({ v: 1, publication: null }, 1)],
      ["ra/000000000001", value],
      ["ta/000000010000", encodeValue({ v: 1, topicId: 1, hash: 1 }, 1)],
      ["ba/000000000001", value],
      ["dx/000000000001", value],
      ["k%zz", value],
      // Numbers of commits from which nobody could count on.
      ["kb", encodeValue({ v: 2 }, 2 ** 48 - 1)],
      ["c9999999999999999", encodeValue(null, 1)],
      ["c1", encodeValue(null, 1)],
    ];
    await putRaw(at, wrong);
    const store = disk(at);
    const { notices } = await store.open();
    expect(notices).toHaveLength(1);
    expect(notices[0]).toMatch(/^17 records were damaged and were removed: /);
    for (const name of [
      "the record s%zz (its key",
      "session of b (it has the key of another",
      "session of c (topics: ",
    ])
      expect(notices[0]).toContain(name);
    expect((await stored(store)).map(({ session: { clientId }, queued: q }) => [clientId, q.length])).toEqual([
      ["a", 2],
    ]);
    expect(await store.known(undefined, 10)).toEqual([]);
    expect(await store.letters(0, 10)).toEqual([]);
    await commit(store, session("a"));
    await store.close();
    expect((await disk(at).open()).notices).toEqual([]);
  });

  test("a session that is lost alone leaves what waits for its client, and for the broker", async () => {
    const at = folder();
    await written(at, 3);
    await putRaw(at, [["sa", encodeValue({ v: 1 }, 1)]]);
    for (const notices of [
      [
        expect.stringMatching(/^1 record was damaged and was removed: session of a \(/),
        "the session of a is gone; 2 records that belong to it are kept for it",
      ],
      [],
    ]) {
      const store = disk(at);
      expect((await store.open()).notices).toEqual(notices);
      expect(await stored(store)).toMatchObject([
        {
          session: { clientId: "a", state: "disconnected", clean: false },
          queued: [
            [1, {}],
            [2, {}],
          ],
        },
      ]);
      await store.close();
    }
  });

  test("what a later version wrote is counted, told and kept as it is; new numbers begin above it", async () => {
    const at = folder();
    await written(at, 2);
    const later: [string, Uint8Array][] = [
      ["pa/000000000001", encodeValue({ v: 1, deaths: 3 }, 1)], // a kind that is not known here
      ["y", Uint8Array.of(1)],
      ["sb", encodeValue({ v: 3, name: "b" }, 1)],
      ["qa/000000000100", encodeValue({ v: 3 }, 1)],
      ["qb/000000000200", encodeRecord(queued("b", 0x200), 1)], // belongs to a session that is not to be touched
      ["ba/000000000009", encodeValue({ v: 9 }, 1)],
      ["dz/000000000007", encodeValue({ v: 3 }, 1)],
    ];
    await putRaw(at, later);
    for (let run = 0; run < 2; run++) {
      const store = disk(at);
      const { notices, highest } = await store.open();
      expect(notices).toHaveLength(1);
      expect(notices[0]).toMatch(/^6 records are of a later version, and are kept unchanged: .*1 of kind p/);
      expect(notices[0]).toContain("1 of session record of version 3");
      expect(highest).toEqual({ queued: 0x200, letter: 7 });
      const states = await stored(store);
      expect(states.map(({ session: { clientId }, queued: q }) => [clientId, q.length])).toEqual([["a", 1]]);
      expect(states[0]?.backlog).toEqual({ count: 0, octets: 0, first: 9, last: 9 });
      expect(await store.load("b")).toBeUndefined();
      const there = new Map<string, Uint8Array>();
      for await (const [key, stored] of store.snapshot()) there.set(key, Uint8Array.from(stored));
      for (const [key, value] of later) expect(there.get(key)).toEqual(Uint8Array.from(value));
      await commit(store, session("new"), gone(session("new")));
      await store.close();
    }
  });

  test("zeroes in the middle of the log: it opens, and says how many commits are missing, once", async () => {
    const at = folder();
    await written(at, 1_000);
    const log = file(at, /\.log$/);
    const bytes = readFileSync(log);
    bytes.fill(0, Math.floor(bytes.length / 2), Math.floor(bytes.length / 2) + 512);
    writeFileSync(log, bytes);
    const store = disk(at);
    const { notices } = await store.open();
    const missing = Number(/^(\d+) commits are missing/.exec(notices.join("\n"))?.[1]);
    const left = (await stored(store))[0]?.queued.length ?? 0;
    expect(missing).toBeGreaterThan(0);
    expect(left + missing).toBe(999);
    await store.close();
    const again = disk(at);
    expect((await again.open()).notices).toEqual([]);
    await again.close();
  });

  test.each([
    ["CURRENT is empty", (at: string) => writeFileSync(file(at, /^CURRENT$/), "")],
    [
      "MANIFEST is cut",
      (at: string) => truncateSync(file(at, /^MANIFEST/), readFileSync(file(at, /^MANIFEST/)).length - 4),
    ],
  ])("%s: copied aside, repaired, all of it back", async (_what, damage) => {
    const at = folder();
    await written(at, 200);
    damage(at);
    const store = disk(at);
    const { notices } = await store.open();
    expect(notices.join("\n")).toMatch(/did not open.*\na copy of it as it was found.*damaged-.*\nit was repaired/);
    expect((await stored(store))[0]?.queued).toHaveLength(199);
    expect(readdirSync(at).some((name) => name.startsWith("sessions.damaged-"))).toBe(true);
    await store.close();
  });

  test("a table with garbage in it: opened all the same, repaired, and said", async () => {
    const at = folder();
    await written(at, 200);
    const again = disk(at); // what was in the log is put into a table
    await again.open();
    await again.close();
    const table = file(at, /\.ldb$/);
    const bytes = readFileSync(table);
    bytes.fill(0xa5, 100, bytes.length - 200);
    writeFileSync(table, bytes);
    const store = disk(at);
    const { notices } = await store.open();
    expect(notices.join("\n")).toMatch(
      /did not open.*\na copy of it as it was found.*damaged-.*\n(it was repaired|.*a new, empty one)/,
    );
    await commit(store, session("new"));
    await store.close();
    expect((await disk(at).open()).notices).toEqual([]);
  });

  test("without flushing, a system that went down is told of; a process that was killed is not", async () => {
    const at = folder();
    const open = async (boot: string) => {
      const store = new DiskStore(storeOptions.parse({ folder: at, durability: "none" }), () => {}, boot);
      return { store, notices: (await store.open()).notices };
    };
    // A copy of the open store's files is what a kill leaves.
    const { store } = await open("first");
    await commit(store, session("a"));
    const killed = folder();
    cpSync(at, killed, { recursive: true });
    await store.close();
    expect(await open("second").then(({ store: next, notices }) => next.close().then(() => notices))).toEqual([]);
    for (const [boot, said] of [
      ["first", 0],
      ["second", 1],
    ] as const) {
      const copy = folder();
      cpSync(killed, copy, { recursive: true });
      const next = new DiskStore(storeOptions.parse({ folder: copy, durability: "none" }), () => {}, boot);
      const { notices } = await next.open();
      expect(notices.filter((each) => /the system stopped while/.test(each))).toHaveLength(said);
      expect((await stored(next)).map(({ session: { clientId } }) => clientId)).toEqual(["a"]);
      await next.close();
    }
  });

  test("beyond repair: a new one is begun, the old one stays beside it", async () => {
    const at = folder();
    await written(at, 10);
    const current = file(at, /^CURRENT$/);
    rmSync(current);
    mkdirSync(current);
    const store = disk(at);
    const { notices } = await store.open();
    expect(notices.join("\n")).toMatch(/could not be repaired .*a new, empty one was begun/);
    await commit(store, session("new"));
    expect((await stored(store)).map(({ session: { clientId } }) => clientId)).toEqual(["new"]);
    await store.close();
  });

  test("kill -9 while it writes: everything that was called back is there", async () => {
    const at = folder();
    const program = `
      import { DiskStore } from ${JSON.stringify(new URL("../../dist/storage/disk.js", import.meta.url).href)};
      const store = new DiskStore({ kind: "disk", folder: ${JSON.stringify(at)}, durability: "group", groupMilliseconds: 1, records: "packed" });
      await store.open();
      const record = {
        clientId: "k", state: "disconnected", clean: false, keepAliveSeconds: 0, sleepSeconds: 0, farewell: false,
        topics: [], nextTopicId: 1, subscriptions: [],
      };
      const publication = { topicName: "t", payload: Buffer.alloc(100), qos: 1, retain: false };
      store.commit([{ of: "session", clientId: "k", id: 0, record }], () => {});
      let seq = 0;
      const next = () => {
        const id = ++seq;
        store.commit([{ of: "queued", clientId: "k", id, record: { publication, msgId: 0, released: false } }], (error) => {
          if (!error) process.stdout.write(id + "\\n");
        });
        setImmediate(next);
      };
      for (let i = 0; i < 4; i++) next();
    `;
    for (let round = 0; round < 3; round++) {
      const child = spawn(process.execPath, ["--input-type=module", "-e", program], {
        stdio: ["ignore", "pipe", "inherit"],
      });
      let output = "";
      const killed = new Promise((resolve) => child.once("exit", resolve));
      child.stdout.on("data", (text) => {
        output += text;
        if (output.length > 3_000 * (round + 1)) child.kill("SIGKILL");
      });
      await killed;
      const acknowledged = output.slice(0, output.lastIndexOf("\n")).split("\n").map(Number);
      const store = disk(at);
      expect((await store.open()).notices).toEqual([]);
      const there = new Set((await stored(store))[0]?.queued.map(([seq]) => seq));
      expect(acknowledged.length).toBeGreaterThan(100);
      expect(acknowledged.filter((seq) => !there.has(seq))).toEqual([]);
      await store.close();
    }
  });
});

test("the kind decides how a record is written, not what it looks like", () => {
  const publication = { topicName: "t", payload: Uint8Array.of(1, 2), qos: 1, retain: false } as const;
  const at = 1_800_000_000_000;
  // A later version may give an exchange a time: that makes it no backlog record, and its stage stays.
  const uplink = { publication, origin: undefined, stage: "released", isWill: false, at } as const;
  const changes: Change[] = [
    { of: "letter", clientId: "c", id: 1, record: { direction: "down", reason: "expired", publication, at } },
    { of: "backlog", clientId: "c", id: 1, record: { publication, at } },
    { of: "uplink", clientId: "c", id: 1, record: uplink },
  ];
  for (const change of changes) {
    const { at: _, ...known } = uplink;
    const record = change.of === "uplink" ? known : change.record;
    for (const form of ["plain", "packed"] as const) {
      const decoded = decodeRecord(keyOf(change), encodeRecord(change, 1, form));
      expect(decoded).toEqual({ is: "record", change: { ...change, record }, commit: 1 });
    }
  }
});
