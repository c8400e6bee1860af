/** The leases and beats of a fleet at a real redis-server: what the simulation's model says is what the scripts do. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { storeOptions } from "../../src/storage/options.ts";
import { RedisStore } from "../../src/storage/redis.ts";
import { RedisFleet } from "../../src/storage/redis-fleet.ts";
import { SharedRedis } from "../../src/storage/redis-source.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";

const program = findRedis();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

describe.skipIf(missing !== undefined)(
  `a fleet at Redis${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    let server: RedisServer;
    const sources: SharedRedis[] = [];
    beforeAll(async () => {
      if (!("missing" in program)) server = await RedisServer.create(program);
    });
    afterAll(async () => {
      for (const each of sources) each.close();
      await server?.close();
    });
    const options = () => storeOptions.parse({ kind: "redis", redis: { url: server.url } }).redis;
    const prefixOf = (shard: number | undefined) => (shard === undefined ? "t/fleet" : `t/s${shard}`);
    const shared = () => {
      const made = new SharedRedis(options(), () => undefined, 5_000, 2);
      sources.push(made);
      return made;
    };
    const member = (name: string) => {
      const holder = { name, run: `run-${name}`, leaseMs: 3_000, version: "1" };
      const self = { name, run: holder.run, place: "192.0.2.1:1884", version: "1", isDraining: false };
      return { fleet: new RedisFleet(options(), shared(), holder, 16, prefixOf), self, holder };
    };

    test("claimed once, renewed by its owner alone, and given back", async () => {
      const [a, b] = [member("a"), member("b")];
      const [free, other] = await a.fleet.look([1, 2]);
      if (!free || !other) throw new Error("nothing was seen");
      expect([free.isFree, other.isFree, free.epoch]).toEqual([true, true, 0]);
      expect(await a.fleet.claim(1, free)).toMatchObject({ epoch: 1, handover: { cause: "first" } });
      expect(await b.fleet.claim(1, free)).toBeUndefined();
      expect(await b.fleet.claim(2, other)).toMatchObject({ epoch: 1 });
      expect(
        await a.fleet.renew([
          { shard: 1, epoch: 1 },
          { shard: 2, epoch: 1 },
        ]),
      ).toEqual([true, false]);
      const [held] = await b.fleet.look([1]);
      expect(held).toMatchObject({ owner: "a", run: "run-a", epoch: 1, renewals: 1, isFree: false, leaseMs: 3_000 });
      await a.fleet.release({ shard: 1, epoch: 1 }, "drained");
      expect(await a.fleet.renew([{ shard: 1, epoch: 1 }])).toEqual([false]);
      const [given] = await b.fleet.look([1]);
      if (!given) throw new Error("nothing was seen");
      expect(given.isFree).toBe(true);
      expect(await b.fleet.claim(1, given)).toMatchObject({ epoch: 2, handover: { from: "a", cause: "drained" } });
    });

    test("a store with another's epoch is refused each commit, also by the same run", async () => {
      const a = member("c");
      const [free] = await a.fleet.look([5]);
      if (!free) throw new Error("nothing was seen");
      await a.fleet.claim(5, free);
      const fenced: number[] = [];
      const source = shared();
      const opened = async (epoch: number) => {
        const holder = { run: "run-c", epoch: () => epoch, fenced: () => void fenced.push(epoch) };
        const store = new RedisStore({ ...options(), prefix: "t/s5" }, undefined, undefined, undefined, holder, source);
        await store.open();
        return store;
      };
      const commit = (store: RedisStore) =>
        new Promise((done) =>
          store.commit([{ of: "known", clientId: "c1", id: 0, record: {} }], (error) => done(error?.code)),
        );
      const first = await opened(1);
      expect(await commit(first)).toBeUndefined();
      const [held] = await a.fleet.look([5]);
      if (!held) throw new Error("nothing was seen");
      // It lost it by its own clock, and claims it again.
      expect(await a.fleet.claim(5, held)).toMatchObject({ epoch: 2 });
      expect(await commit(first)).toBe("ERR_STORE_EPOCH");
      expect(fenced).toContain(1);
      const second = await opened(2);
      expect(await commit(second)).toBeUndefined();
      second.abandon();
      expect(await commit(second)).toBe("ERR_STORE_WRITE");
    });

    test("whoever is configured for another number of shards is refused, before it claims", async () => {
      const [a, b] = [member("f"), member("g")];
      await a.fleet.beat(a.self);
      await expect(new RedisFleet(options(), shared(), b.holder, 64, prefixOf).beat(b.self)).rejects.toThrow(
        "the fleet has 16 shards, and this gateway is configured for 64",
      );
      await a.fleet.leave();
    });

    test("beats: each member hears of all, and for how long they were silent; whoever leaves is gone", async () => {
      const [a, b] = [member("d"), member("e")];
      await a.fleet.beat(a.self);
      const heard = await b.fleet.beat({ ...b.self, isDraining: true });
      expect(heard.map(({ name, beats }) => [name, beats]).sort()).toEqual([
        ["d", 1],
        ["e", 1],
      ]);
      const again = await a.fleet.beat(a.self);
      const [ofB] = again.filter(({ name }) => name === "e");
      expect(ofB).toMatchObject({ run: "run-e", place: "192.0.2.1:1884", isDraining: true, version: "1" });
      expect(ofB?.silentMs).toBeLessThan(60_000);
      expect(again.find(({ name }) => name === "d")?.beats).toBe(2);
      // Another run of the same name does not go with it.
      await new RedisFleet(options(), shared(), { ...b.holder, run: "run-old" }, 16, prefixOf).leave();
      expect((await a.fleet.beat(a.self)).map(({ name }) => name).sort()).toEqual(["d", "e"]);
      await b.fleet.leave();
      expect((await a.fleet.beat(a.self)).map(({ name }) => name)).toEqual(["d"]);
    });
  },
);
