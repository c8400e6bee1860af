/** A store on disk whose folder is removed, moved or replaced under the running gateway. */
import { cpSync, existsSync, readdirSync, renameSync, rmSync, statSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test, vi } from "vitest";
import { DiskStore } from "../../src/storage/disk.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { disk, folder } from "./store-folders.ts";
import { commit, queued, session, stored } from "./store-suite.ts";

describe("a folder that is removed while the store is in use", () => {
  /** What a kill at this moment leaves. */
  async function afterKill(at: string): Promise<{ notices: readonly string[]; names: string[]; store: DiskStore }> {
    const copy = folder();
    cpSync(at, copy, { recursive: true });
    const store = disk(copy);
    const { notices } = await store.open();
    const names = (await stored(store)).map(({ session: { clientId }, queued: q }) => `${clientId} ${q.length}`);
    return { notices, names, store };
  }

  async function begun(at: string) {
    const told: string[] = [];
    const store = new DiskStore(storeOptions.parse({ folder: at, groupMilliseconds: 0 }), (say) => told.push(say));
    await store.open();
    await commit(store, session("a"), queued("a", 1));
    await store.close();
    const again = new DiskStore(storeOptions.parse({ folder: at, groupMilliseconds: 0 }), (say) => told.push(say));
    await again.open(); // part of it is in a table now
    const publication = { topicName: "t", payload: Uint8Array.of(1), qos: 1, retain: false } as const;
    await commit(
      again,
      session("b"),
      { of: "backlog", clientId: "b", id: 1, record: { publication, at: 0 } },
      { of: "letter", clientId: "b", id: 1, record: { direction: "up", reason: "r", publication, at: 0 } },
    );
    return { store: again, told };
  }

  test.each([
    ["the whole folder", (at: string) => rmSync(at, { recursive: true })],
    ["the database's", (at: string) => rmSync(join(at, "sessions"), { recursive: true })],
    [
      "the files alone",
      (at: string) => {
        for (const name of readdirSync(join(at, "sessions"))) rmSync(join(at, "sessions", name));
      },
    ],
    [
      "its log",
      (at: string) => rmSync(join(at, "sessions", readdirSync(join(at, "sessions")).find((n) => /log$/.test(n)) ?? "")),
    ],
  ])("%s: all of it is written again with the next commit, and said", async (_what, remove) => {
    const at = folder();
    const { store, told } = await begun(at);
    remove(at);
    await commit(store, session("c"));
    expect(told).toEqual([
      expect.stringMatching(
        /^the folder of the store was removed while it was in use: its \d+ records were written again$/,
      ),
    ]);
    const run = await afterKill(at);
    expect(run.notices).toEqual([]);
    expect(run.names).toEqual(["a 1", "b 0", "c 0"]);
    expect((await run.store.load("b"))?.backlog?.count).toBe(1);
    expect(await run.store.letters(0, 10)).toHaveLength(1);
    await run.store.close();
    await commit(store, queued("c", 2)); // and it continues
    rmSync(at, { recursive: true }); // also a second time
    await commit(store, queued("c", 3));
    expect(told).toHaveLength(2);
    const last = await afterKill(at);
    expect(last.names).toEqual(["a 1", "b 0", "c 2"]);
    await last.store.close();
    await store.close();
  });

  test("also while nothing is written", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    try {
      const at = folder();
      const { store, told } = await begun(at);
      rmSync(at, { recursive: true });
      vi.advanceTimersByTime(5_000);
      await vi.waitUntil(() => told.length > 0);
      // It is told before the folder is in its place; a copy that is taken meanwhile may miss a file.
      await vi.waitFor(async () => {
        const run = await afterKill(at);
        await run.store.close();
        expect(run.names).toEqual(["a 1", "b 0"]);
      }, 15_000);
      vi.advanceTimersByTime(20_000);
      expect(told).toHaveLength(1);
      await store.close();
    } finally {
      vi.useRealTimers();
    }
  });

  test("killed between copying and putting in place: the next run takes the copy", async () => {
    const at = folder();
    const { store } = await begun(at);
    await store.close();
    renameSync(join(at, "sessions"), join(at, "sessions.saved"));
    const run = await afterKill(at);
    expect(run.notices).toEqual(["the store was removed in an earlier run; its saved copy is used"]);
    expect(run.names).toEqual(["a 1", "b 0"]);
    await run.store.close();
  });

  test("another store in its place is not touched: storing fails, and the other is found after the end", async () => {
    const at = folder();
    const { store, told } = await begun(at);
    rmSync(join(at, "sessions"), { recursive: true });
    const otherAt = folder();
    const other = disk(otherAt);
    await other.open();
    await commit(other, session("other"));
    await other.close();
    cpSync(join(otherAt, "sessions"), join(at, "sessions"), { recursive: true });
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = await commit(store, session("c")).catch((thrown: unknown) => thrown);
      expect(error).toMatchObject({ code: "ERR_STORE_WRITE" });
      expect(String(error)).toMatch(/another store is in the place of the one that is in use: stop the gateway/);
    }
    await store.close();
    expect(told).toEqual([]);
    const run = await afterKill(at);
    expect(run.names).toEqual(["other 0"]);
    await run.store.close();
  });

  const shm = "/dev/shm";
  const isOther = existsSync(shm) && statSync(shm).dev !== statSync(tmpdir()).dev;
  test.skipIf(!isOther)(
    "a file system that is not there any more: storing fails, nothing is written below",
    async () => {
      const above = folder();
      const at = folder();
      const below = folder(shm);
      const link = join(above, "data");
      symlinkSync(at, link);
      const { store } = await begun(link);
      rmSync(link);
      symlinkSync(below, link);
      const error = await commit(store, session("c")).catch((thrown: unknown) => thrown);
      expect(String(error)).toMatch(/its folder is on another file system/);
      expect(readdirSync(below)).toEqual([]);
      rmSync(link);
      symlinkSync(at, link);
      await commit(store, session("d")); // the missing changes are written with it
      await store.close();
      const run = await afterKill(at);
      expect(run.names).toEqual(["a 1", "b 0", "c 0", "d 0"]);
      await run.store.close();
    },
  );
});
