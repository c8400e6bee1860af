import { spawn } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { GatewayError } from "../../src/errors.ts";
import { DiskStore } from "../../src/storage/disk.ts";
import { decodeRecord, encodeRecord } from "../../src/storage/encoding.ts";
import { MemoryStore } from "../../src/storage/memory.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { commit, queued, session, stored, storeSuite } from "./store-suite.ts";

const folders: string[] = [];
afterAll(() => {
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});

function folder(): string {
  const made = mkdtempSync(join(tmpdir(), "store-"));
  folders.push(made);
  return made;
}

const disk = (at: string, more: Record<string, unknown> = {}) =>
  new DiskStore(storeOptions.parse({ folder: at, ...more }));

storeSuite("memory", () => ({ fresh: () => new MemoryStore() }));
for (const durability of ["group", "each", "none"]) {
  storeSuite(`disk, durability ${durability}`, () => {
    const at = folder();
    return { fresh: () => disk(at, { durability }), again: () => disk(at, { durability }) };
  });
}

test("a record that was changed by one bit is no record", () => {
  const bytes = encodeRecord({ v: 1, text: "ä", octets: Uint8Array.of(1, 2), buffer: Buffer.of(3) }, 77);
  expect(decodeRecord(bytes)).toEqual({
    commit: 77,
    record: { v: 1, text: "ä", octets: Uint8Array.of(1, 2), buffer: Uint8Array.of(3) },
  });
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const changed = Uint8Array.from(bytes);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    expect(decodeRecord(changed)).toBeUndefined();
  }
  expect(decodeRecord(new Uint8Array(3))).toBeUndefined();
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
    writeFileSync(join(folder(), "file"), "");
    const error = await disk(join(folders.at(-1) ?? "", "file", "below"))
      .open()
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "ERR_STORE_OPEN" });
  });

  test("a later version's store is left alone", async () => {
    const at = folder();
    await written(at, 1);
    const { ClassicLevel } = await import("classic-level");
    const raw = new ClassicLevel<string, Uint8Array>(join(at, "sessions"), { valueEncoding: "view" });
    await raw.put("format", encodeRecord(2, 0));
    await raw.close();
    const error = await disk(at)
      .open()
      .catch((thrown: unknown) => thrown);
    expect(String(error)).toMatch(/later version \(format 2\)/);
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
    expect(notices.join("\n")).toMatch(/did not open.*\nas it was found.*damaged-.*\nit was repaired/);
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
      /did not open.*\nas it was found.*damaged-.*\n(it was repaired|.*a new, empty one)/,
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
      expect(notices.filter((each) => /system went down/.test(each))).toHaveLength(said);
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
      const store = new DiskStore({ kind: "disk", folder: ${JSON.stringify(at)}, durability: "group", groupMilliseconds: 1 });
      await store.open();
      const record = { v: 1, clientId: "k", topics: [], subscriptions: [] };
      const publication = { topicName: "t", payload: Buffer.alloc(100), qos: 1, retain: false };
      store.commit([{ of: "session", clientId: "k", id: 0, record }], () => {});
      let seq = 0;
      const next = () => {
        const id = ++seq;
        store.commit([{ of: "queued", clientId: "k", id, record: { v: 1, publication, msgId: 0, released: false } }], (error) => {
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

test("a dead letter is read as it was written, though a backlog record looks much like it", () => {
  const publication = { topicName: "t", payload: Uint8Array.of(1, 2), qos: 1, retain: false } as const;
  const letter = { v: 1, direction: "down", reason: "expired", publication, at: 1_800_000_000_000 } as const;
  const backlog = { v: 1, publication, at: 1_800_000_000_000 } as const;
  for (const record of [letter, backlog]) expect(decodeRecord(encodeRecord(record, 1))?.record).toEqual(record);
});
