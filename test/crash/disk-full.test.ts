/** The disk fills up in the middle of traffic, and has room again later: nothing acknowledged is lost, and it recovers. */
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { DiskStore } from "../../src/storage/disk.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { commit, queued, session, stored } from "../conformance/store-suite.ts";
import { SmallDisk } from "./small-disk.ts";

const small = SmallDisk.mount(4);

test.skipIf(!small)(
  `a full disk${!small ? " (skipped: no small file system can be mounted here)" : ""}`,
  { timeout: 60_000 },
  async () => {
    if (!small) return;
    const { folder } = small;
    const options = storeOptions.parse({ folder: join(folder, "data"), groupMilliseconds: 1 });
    const store = new DiskStore(options);
    try {
      await store.open();
      await commit(store, session("a"));
      const acknowledged: number[] = [1];
      await commit(store, queued("a", 1, "x".repeat(1_000)));
      writeFileSync(join(folder, "filler"), Buffer.alloc(3_300_000));
      let seq = 1;
      let failed = 0;
      for (; failed < 20 && seq < 3_000; ) {
        const id = ++seq;
        await commit(store, queued("a", id, "x".repeat(2_000))).then(
          () => acknowledged.push(id),
          () => failed++,
        );
      }
      expect(failed).toBe(20);
      rmSync(join(folder, "filler"));
      // The store is opened again a second after the failed write; until then commits fail fast.
      let worksAgain = false;
      for (let tries = 0; tries < 100 && !worksAgain; tries++) {
        await new Promise((resolve) => setTimeout(resolve, 50));
        worksAgain = await commit(store, session("b")).then(
          () => true,
          () => false,
        );
      }
      expect(worksAgain).toBe(true);
      await store.close();
      const again = new DiskStore(options);
      const { notices } = await again.open();
      expect(notices).toEqual([]);
      const states = await stored(again);
      expect(states.map(({ session: { clientId } }) => clientId)).toEqual(["a", "b"]);
      const there = new Set(states[0]?.queued.map(([id]) => id));
      expect(acknowledged.filter((id) => !there.has(id))).toEqual([]);
      // The changes that had failed are there too.
      expect(there.size).toBe(seq);
      await again.close();
    } finally {
      small.unmount();
    }
  },
);
