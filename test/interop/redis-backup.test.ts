/** Backups of a store at a redis-server: restored into it, and made of it. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Change, StoredState } from "../../src/core/record.ts";
import { backupOctets, restoreBackup, restoreInto, writeBackup } from "../../src/storage/backup.ts";
import { DiskStore } from "../../src/storage/disk.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { commit, queued, session, stored } from "../conformance/store-suite.ts";
import type { RedisServer } from "../helpers/redis.ts";
import { closeServers, closeStores, missing, names, opened, server, store } from "../helpers/redis-stores.ts";

describe.skipIf(missing !== undefined)(
  `backups at redis-server${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    let shared: RedisServer;
    beforeAll(async () => {
      shared = await server();
    });
    afterEach(closeStores);
    afterAll(closeServers);

    test("a backup of a store on disk is restored into Redis, and not over what is there", async () => {
      const folder = mkdtempSync(join(tmpdir(), "to-redis-"));
      const file = join(folder, "backup");
      try {
        const options = storeOptions.parse({ kind: "disk", folder });
        const disk = new DiskStore(options);
        await disk.open();
        const publication = { topicName: "t", payload: Uint8Array.of(0, 1), qos: 1, retain: false } as const;
        const changes: Change[] = [
          ...[...Array(600).keys()].map((i) => session(`device-${i}`)),
          queued("device-3", 4),
          { of: "known", clientId: "device-3", id: 0, record: {} },
          { of: "backlog", clientId: "device-4", id: 7, record: { publication, at: 1 } },
          { of: "letter", clientId: "device-5", id: 9, record: { direction: "up", reason: "r", publication, at: 1 } },
          { of: "secure", clientId: "udp/a", id: 0, record: { state: Uint8Array.of(1) } },
        ];
        await commit(disk, ...changes);
        await writeBackup(file, backupOctets(disk.snapshot() ?? []));
        const byName = (a: StoredState, b: StoredState) => (a.session.clientId < b.session.clientId ? -1 : 1);
        const wanted = (await stored(disk)).sort(byName);
        const letters = await disk.letters(0, 10);
        await disk.close();
        const prefix = randomUUID();
        const steps: number[] = [];
        const made = await restoreInto(file, store(shared, { prefix }), (done) => steps.push(done));
        expect(made).toEqual({ records: 604, leftOut: [] });
        expect(Math.max(...steps)).toBeGreaterThanOrEqual(604); // with marks of commits
        const there = await opened(shared, { prefix });
        expect((await stored(there)).sort(byName)).toEqual(wanted);
        expect(await there.letters(0, 10)).toEqual(letters);
        expect(await there.known(undefined, 10)).toEqual(["device-3"]);
        expect(await there.secure(undefined, 10)).toEqual([]); // devices shake hands again
        await there.close();
        await expect(restoreInto(file, store(shared, { prefix }))).rejects.toThrow(/there are sessions in the store/);
        truncateSync(file, 2_000);
        const other = randomUUID();
        await expect(restoreInto(file, store(shared, { prefix: other }))).rejects.toThrow(/not a complete backup/);
        expect(await names(await opened(shared, { prefix: other }))).toEqual([]);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });

    test("a backup of Redis is of one moment, though commits go on, and is restored to a disk", async () => {
      const folder = mkdtempSync(join(tmpdir(), "from-redis-"));
      const file = join(folder, "backup");
      try {
        const there = await opened(shared, { prefix: randomUUID() });
        const publication = { topicName: "t", payload: Uint8Array.of(0, 1), qos: 1, retain: false } as const;
        const backlog = (id: number): Change => ({
          of: "backlog",
          clientId: "device-3",
          id,
          record: { publication, at: 1 },
        });
        const letter = { direction: "up", reason: "r", publication, at: 1 } as const;
        const names = [...Array(120).keys()].map((i) => `device-${i}`);
        await commit(there, ...names.map((name) => session(name)), queued("device-0", 4), queued("device-99", 5));
        await commit(there, ...[...Array(450).keys()].map((i) => backlog(i + 1)));
        await commit(
          there,
          { of: "known", clientId: "device-3", id: 0, record: {} },
          { of: "letter", clientId: "device-5", id: 9, record: letter },
          { of: "letter", clientId: "device-6", id: 10, record: letter },
          { of: "secure", clientId: "udp/a", id: 0, record: { state: Uint8Array.of(1) } },
        );
        const snapshot = there.snapshot();
        let read = 0;
        const whileRead = async function* () {
          for await (const each of snapshot) {
            yield each;
            if (++read !== 60) continue;
            // Some of these were read already, some were not; the last one is in progress when the reading ends.
            await commit(
              there,
              { of: "session", clientId: "device-0", id: 0, record: undefined },
              { of: "queued", clientId: "device-0", id: 4, record: undefined },
              { of: "queued", clientId: "device-99", id: 5, record: undefined },
              { of: "letter", clientId: "device-5", id: 9, record: undefined },
              { of: "secure", clientId: "udp/a", id: 0, record: { state: Uint8Array.of(2) } },
              session("device-1", { sleepSeconds: 1 }),
              session("new", { sleepSeconds: 2 }),
            );
          }
        };
        await writeBackup(file, backupOctets(whileRead()));
        const byName = (a: StoredState, b: StoredState) => (a.session.clientId < b.session.clientId ? -1 : 1);
        const wanted = (await stored(there)).sort(byName);
        expect(wanted).toHaveLength(120);
        await commit(there, session("later"));
        await restoreBackup(file, folder);
        const disk = new DiskStore(storeOptions.parse({ kind: "disk", folder }));
        try {
          expect((await disk.open()).notices).toEqual([]);
          expect((await stored(disk)).sort(byName)).toEqual(wanted);
          expect(await disk.known(undefined, 10)).toEqual(["device-3"]);
          expect((await disk.letters(0, 10)).map(({ id }) => id)).toEqual([10]);
          expect(await disk.secure(undefined, 10)).toEqual([]);
        } finally {
          await disk.close();
        }
        const again = store(shared, { prefix: randomUUID() });
        await restoreInto(file, again);
        await again.open();
        expect((await stored(again)).sort(byName)).toEqual(wanted);
        expect((await again.letters(0, 10)).map(({ id }) => id)).toEqual([10]);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });
  },
);
