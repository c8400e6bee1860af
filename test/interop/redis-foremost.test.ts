/**
 * The sessions that a store at redis-server restores first. The server keeps an index for them, and a run uses it only if every run before
 * it has kept it. Earlier versions of the gateway do not know the index.
 */
import { randomUUID } from "node:crypto";
import type { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Change } from "../../src/core/record.ts";
import { encodeRecord } from "../../src/storage/encoding.ts";
import { encodedName, keyOf } from "../../src/storage/keys.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { type PairMember, RedisStore } from "../../src/storage/redis.ts";
import type { RedisConnection } from "../../src/storage/redis-connection.ts";
import { RedisFill } from "../../src/storage/redis-fill.ts";
import { RedisLease } from "../../src/storage/redis-lease.ts";
import { commitScript, indexedScript, type Script } from "../../src/storage/redis-scripts.ts";
import { OwnRedis, type RedisSource, SharedRedis } from "../../src/storage/redis-source.ts";
import { commit, session, stored } from "../conformance/store-suite.ts";
import type { RedisServer } from "../helpers/redis.ts";
import { closeServers, closeStores, errorOf, missing, opened, server, store, stores } from "../helpers/redis-stores.ts";

const publication = { topicName: "t", payload: Uint8Array.of(1), qos: 1, retain: false } as const;

const uplink = (clientId: string, id: number): Change => ({
  of: "uplink",
  clientId,
  id,
  record: { publication, origin: undefined, stage: "open", isWill: false },
});

const gone = (change: Change): Change => ({ ...change, record: undefined });

/** Clients that have publications under way, and how many. */
const underWay = { a: 1, "b/ü": 2, c: 1, d: 3, e: 1, f: 2, g: 1, h: 1 };

async function fill(to: RedisStore): Promise<void> {
  for (const [name, count] of Object.entries(underWay)) {
    const changes = Array.from({ length: count }, (_, i) => uplink(name, i + 1));
    await commit(to, session(name, { state: name === "a" ? "active" : "asleep" }), ...changes);
  }
  await commit(to, session("\0/0"), session("idle"));
}

const filled = ["\0/0", ...Object.keys(underWay)];

async function needed(of: RedisStore): Promise<string[] | undefined> {
  const found = await of.foremost();
  return found && [...found.needed].sort();
}

describe.skipIf(missing !== undefined)(
  `sessions that are restored first, at redis-server${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    let shared: RedisServer;
    let client: Redis;
    const leases: RedisLease[] = [];
    beforeAll(async () => {
      shared = await server();
      client = shared.client();
    });
    afterEach(async () => {
      await closeStores();
      for (const each of leases.splice(0)) each.close();
    });
    afterAll(async () => {
      client.disconnect();
      await closeServers();
    });

    const optionsOf = (prefix: string) =>
      storeOptions.parse({ kind: "redis", redis: { url: shared.url, prefix } }).redis;
    const keyIn = (prefix: string, name: string) => `{${prefix}}:${name}`;
    /** What the index counts, by the name of the client. */
    const counts = async (prefix: string): Promise<Record<string, number>> => {
      const words = await client.zrange(keyIn(prefix, "underway"), "0", "-1", "WITHSCORES");
      const found: Record<string, number> = {};
      for (let i = 0; i + 1 < words.length; i += 2) found[decodeURIComponent(words[i] ?? "")] = Number(words[i + 1]);
      return found;
    };

    /** A gateway of a pair that has claimed the lease, with its store open. */
    const member = async (prefix: string) => {
      const run = randomUUID();
      const lease = new RedisLease(optionsOf(prefix), () => undefined, {
        name: run,
        run,
        leaseMs: 60_000,
        version: "1",
      });
      leases.push(lease);
      const claimed = await lease.claim(await lease.look());
      if (!claimed) throw new Error("the lease was not claimed");
      const of: PairMember = { run, epoch: () => claimed.epoch, fenced: () => {} };
      const made = new RedisStore(
        optionsOf(prefix),
        () => undefined,
        () => {},
        5_000,
        of,
      );
      stores.push(made);
      await made.open();
      const release = async () => {
        await made.close();
        await lease.release(claimed.epoch, "ended");
      };
      return { store: made, release };
    };

    /** A run of an earlier version has opened the store, and writes these changes without the index. */
    const earlierVersion = async (prefix: string, ...changes: Change[]): Promise<void> => {
      const meta = keyIn(prefix, "meta");
      await client.hset(meta, "life", `earlier ${randomUUID()}`);
      await client.hincrby(meta, "commit", 1);
      for (const change of changes) {
        const number = await client.hincrby(meta, "commit", 1);
        const name = encodedName(change.clientId);
        const hash = keyIn(prefix, `c:${name}`);
        const key = keyOf(change);
        const field = `${key.charAt(0)}${key.split("/")[1] ?? ""}`;
        if (change.record) await client.hset(hash, field, Buffer.from(encodeRecord(change, number)));
        else await client.hdel(hash, field);
        if ((await client.exists(hash)) > 0) await client.zadd(keyIn(prefix, "clients"), 0, name);
        else await client.zrem(keyIn(prefix, "clients"), name);
      }
    };

    /** A store whose connection is watched: `around` is called with each script, and may run it or not. */
    const watched = async (
      prefix: string,
      around: (script: Script, run: () => Promise<unknown>) => Promise<unknown>,
    ): Promise<RedisStore> => {
      const own = new OwnRedis(optionsOf(prefix), () => undefined, 5_000);
      const source: RedisSource = {
        open: async () => {
          const connection = await own.open();
          const run = connection.run.bind(connection);
          connection.run = async (script, ...rest) => {
            let answer: Awaited<ReturnType<RedisConnection["run"]>> = [];
            await around(script, async () => {
              answer = await run(script, ...rest);
            });
            return answer;
          };
          return connection;
        },
        done: (connection) => own.done(connection),
      };
      const made = new RedisStore(
        optionsOf(prefix),
        () => undefined,
        () => {},
        5_000,
        undefined,
        source,
      );
      stores.push(made);
      await made.open();
      return made;
    };

    test("a gateway without a pair: the next run knows them, after the end of the last one and after a kill", async () => {
      const prefix = randomUUID();
      const first = await opened(shared, { prefix });
      expect(await first.foremost()).toEqual({ needed: [], active: [] });
      await fill(first);
      await first.close();
      const second = await opened(shared, { prefix });
      expect(await second.foremost()).toEqual({ needed: expect.any(Array), active: ["a"] });
      expect(await needed(second)).toEqual(filled);
      await commit(second, gone(uplink("a", 1)), uplink("idle", 5), session("a"));
      second.abandon();
      const third = await opened(shared, { prefix });
      expect(await needed(third)).toEqual(["\0/0", ...filled.slice(2), "idle"]);
      expect((await third.foremost())?.active).toEqual([]);
    });

    test("a pair: the next gateway knows them, after the lease was given back and after the owner was silent", async () => {
      const prefix = randomUUID();
      const first = await member(prefix);
      await fill(first.store);
      await first.release();
      const second = await member(prefix);
      expect(await needed(second.store)).toEqual(filled);
      await commit(second.store, gone(uplink("a", 1)));
      // It is killed: the lease is not given back, and another gateway claims it.
      second.store.abandon();
      const third = await member(prefix);
      expect(await needed(third.store)).toEqual(["\0/0", ...filled.slice(2)]);
      // This one is silent and does not end. What it writes after that is refused, also in the index.
      const fourth = await member(prefix);
      expect(await errorOf(commit(third.store, uplink("late", 1)))).toMatchObject({ code: "ERR_STORE_EPOCH" });
      expect(await needed(fourth.store)).toEqual(["\0/0", ...filled.slice(2)]);
      await fourth.release();
      // A gateway without a pair, and then a pair again.
      const alone = await opened(shared, { prefix });
      expect(await needed(alone)).toEqual(["\0/0", ...filled.slice(2)]);
      await commit(alone, uplink("idle", 1));
      await alone.close();
      expect(await needed((await member(prefix)).store)).toContain("idle");
    });

    test("a gateway of a pair that ends between the claim and the opening takes nothing from the next one", async () => {
      const prefix = randomUUID();
      const first = await member(prefix);
      await fill(first.store);
      await first.release();
      const options = optionsOf(prefix);
      const lease = new RedisLease(options, () => undefined, { name: "x", run: "x", leaseMs: 60_000, version: "1" });
      leases.push(lease);
      expect(await lease.claim(await lease.look())).toBeDefined();
      expect(await needed((await member(prefix)).store)).toEqual(filled);
    });

    test.each([
      [
        "the server has no index",
        async (prefix: string) => {
          await client.hdel(keyIn(prefix, "meta"), "index");
          await client.zrem(keyIn(prefix, "underway"), "a", "c");
          await client.zadd(keyIn(prefix, "underway"), 9, "idle", 1, "d", 5, "nobody");
        },
      ],
      [
        "an earlier version has written since",
        (prefix: string) =>
          // A client that had publications under way is gone completely, one has more, one has fewer and one is new.
          earlierVersion(
            prefix,
            gone(uplink("nobody", 1)),
            uplink("c", 1),
            uplink("d", 3),
            gone(uplink("idle", 1)),
            session("e"),
            uplink("a", 1),
          ),
      ],
    ])("%s: they are known when all sessions were read once, in their order", async (what, damage) => {
      const prefix = randomUUID();
      const before = await opened(shared, { prefix });
      await fill(before);
      if (what.startsWith("an earlier")) {
        await commit(before, uplink("nobody", 1), uplink("idle", 1), gone(uplink("d", 3)), gone(uplink("c", 1)));
        await commit(before, gone(uplink("a", 1)));
      }
      await before.close();
      await damage(prefix);
      const there = await opened(shared, { prefix });
      expect(await there.foremost()).toBeUndefined();
      expect(await stored(there)).toHaveLength(filled.length + 1);
      expect(await needed(there)).toEqual(filled);
      expect(await counts(prefix)).toEqual(underWay);
      await there.close();
      const next = await opened(shared, { prefix });
      expect(await needed(next)).toEqual(filled);
      await commit(next, ...[1, 2, 3].map((id) => gone(uplink("d", id))), uplink("nobody", 1));
      await commit(next, gone(uplink("nobody", 1)));
      expect(await needed(next)).toEqual(filled.filter((name) => name !== "d"));
    });

    test("commits between the slices are counted, before, at and behind the place that was read", async () => {
      const prefix = randomUUID();
      const before = await opened(shared, { prefix });
      await fill(before);
      await before.close();
      await earlierVersion(prefix, uplink("h", 2), gone(uplink("g", 1)), uplink("i/new", 1), session("i/new"));
      await earlierVersion(prefix, uplink("y", 1));
      const there = await opened(shared, { prefix });
      // Nothing was read yet: the counts of these are not known.
      await commit(there, gone(uplink("c", 1)), gone(uplink("f", 1)), uplink("g", 7), uplink("a-new", 1));
      await commit(there, gone(uplink("y", 1))); // its only record, which no run has counted
      await commit(there, uplink("h", 3), gone(uplink("h", 1)), gone(uplink("h", 2)), gone(uplink("h", 3)));
      const names: string[] = [];
      const slice = async () => {
        const states = await there.sessions(names.at(-1), 3);
        names.push(...states.map(({ session: { clientId } }) => clientId));
        return states.length;
      };
      await slice();
      expect(names).toEqual(["\0/0", "a", "a-new"]);
      // Read, at the end of the slice, and not read yet.
      await commit(there, uplink("a", 2), gone(uplink("a", 1)), gone(uplink("a-new", 1)), session("a-new"));
      await commit(there, gone(uplink("d", 2)), uplink("e", 2), uplink("\0/0", 1), uplink("a-between", 1));
      expect(await there.foremost()).toBeUndefined();
      await slice();
      await commit(there, uplink("a-new", 2), uplink("a-new", 3), gone(uplink("d", 1)), gone(session("idle")));
      while ((await slice()) === 3) await commit(there, uplink("e", 3), gone(uplink("i/new", 1)), uplink("zz", 1));
      await commit(there, uplink("y", 2));
      const right = { "\0/0": 1, a: 1, "a-between": 1, "a-new": 2, "b/ü": 2, d: 1, e: 3, f: 1, g: 1, y: 1, zz: 1 };
      expect(await counts(prefix)).toEqual(right);
      expect(await needed(there)).toEqual(Object.keys(right).sort());
      await there.close();
      expect(await needed(await opened(shared, { prefix }))).toEqual(Object.keys(right).sort());
    });

    test.each<[string, (of: RedisStore) => Promise<unknown>]>([
      [
        "only the first slices were read",
        async (of) => of.sessions((await of.sessions(undefined, 3)).at(-1)?.session.clientId, 3),
      ],
      ["the first slice was not read", (of) => of.sessions("\0/0", 100)],
      [
        "all slices but the first one were read",
        async (of) => of.sessions((await of.sessions("\0/0", 3)).at(-1)?.session.clientId, 100),
      ],
      [
        "one slice was left out",
        async (of) => {
          const first = await of.sessions(undefined, 3);
          await of.sessions(first.at(-1)?.session.clientId, 3);
          await of.sessions("f", 100);
        },
      ],
      [
        "two readings were in the middle, and only the end was read",
        async (of) => {
          const last = (await of.sessions(undefined, 3)).at(-1)?.session.clientId;
          await of.sessions(undefined, 1);
          await of.sessions(last, 100);
        },
      ],
      ["each client was read by its name", (of) => Promise.all(filled.map((name) => of.load(name)))],
    ])("%s: they are not known, and not to the next run either", async (_what, read) => {
      const prefix = randomUUID();
      const before = await opened(shared, { prefix });
      await fill(before);
      await before.close();
      await earlierVersion(prefix);
      const there = await opened(shared, { prefix });
      await read(there);
      expect(await there.foremost()).toBeUndefined();
      await there.close();
      const next = await opened(shared, { prefix });
      expect(await next.foremost()).toBeUndefined();
      // Now all of them are read, at once and with one more reading in between.
      const [states] = await Promise.all([next.sessions(undefined, 100), next.sessions("d", 2)]);
      expect(states).toHaveLength(filled.length + 1);
      expect(await needed(next)).toEqual(filled);
    });

    test("a run that reads all sessions after another one has opened the store does not make the index complete", async () => {
      const prefix = randomUUID();
      const before = await opened(shared, { prefix });
      await fill(before);
      await before.close();
      await earlierVersion(prefix, uplink("idle", 1));
      const there = await opened(shared, { prefix });
      await there.sessions(undefined, 2);
      await earlierVersion(prefix, uplink("idle", 2));
      await stored(there);
      expect(await client.hget(keyIn(prefix, "meta"), "index")).toBeNull();
      expect(await counts(prefix)).toEqual({ a: 1 }); // of the slice before
      expect(await (await opened(shared, { prefix })).foremost()).toBeUndefined();
    });

    test("a pair of an earlier version after a new one: what the new one left does not count any more", async () => {
      const prefix = randomUUID();
      const meta = keyIn(prefix, "meta");
      const first = await member(prefix);
      await fill(first.store);
      await first.release();
      expect(await client.hmget(meta, "life", "index")).toEqual(["", `#${await client.hget(meta, "commit")}`]);
      // It claims, opens, writes, and gives the lease back.
      await client.hincrby(meta, "epoch", 1);
      await earlierVersion(prefix, uplink("idle", 1));
      await client.hset(meta, "life", "", "until", "0", "gave", "ended");
      const second = await member(prefix);
      expect(await second.store.foremost()).toBeUndefined();
      // It ends before it has read all sessions.
      await second.release();
      const third = await member(prefix);
      expect(await third.store.foremost()).toBeUndefined();
      await stored(third.store);
      expect(await needed(third.store)).toEqual([...filled, "idle"].sort());
      await third.release();
      // An earlier version that only claimed, and did not open the store, has written nothing.
      await client.hincrby(meta, "epoch", 1);
      await client.hset(meta, "life", "", "until", "0", "gave", "ended");
      const fourth = await member(prefix);
      expect(await needed(fourth.store)).toEqual([...filled, "idle"].sort());
      // This one is killed, and then an earlier version gives the lease back.
      fourth.store.abandon();
      await client.hincrby(meta, "epoch", 1);
      await earlierVersion(prefix);
      await client.hset(meta, "life", "", "until", "0", "gave", "ended");
      expect(await (await member(prefix)).store.foremost()).toBeUndefined();
    });

    test("nothing is left of the index of a store that an earlier version has emptied", async () => {
      const prefix = randomUUID();
      const before = await opened(shared, { prefix });
      await commit(before, session("a", { state: "active" }), uplink("a", 1));
      await before.close();
      await earlierVersion(prefix, gone(session("a")), gone(uplink("a", 1)));
      const there = await opened(shared, { prefix });
      expect(await there.foremost()).toEqual({ needed: [], active: [] });
      await commit(there, uplink("a", 1));
      await commit(there, gone(uplink("a", 1)));
      expect(await there.foremost()).toEqual({ needed: [], active: [] });
    });

    test("a commit whose answer was lost is written again, and counts once", async () => {
      const prefix = randomUUID();
      let isLost = false;
      const there = await watched(prefix, async (script, run) => {
        await run();
        if (isLost && script === commitScript) throw new Error("the answer was lost");
      });
      await commit(there, session("a"), uplink("a", 1));
      isLost = true;
      const lost = [uplink("a", 2), uplink("b", 1), gone(uplink("a", 1)), session("b", { state: "active" })];
      expect(await errorOf(commit(there, ...lost))).toMatchObject({ code: "ERR_STORE_WRITE" });
      expect(await errorOf(commit(there, uplink("a", 3)))).toMatchObject({ code: "ERR_STORE_WRITE" });
      isLost = false;
      await commit(there);
      expect(await counts(prefix)).toEqual({ a: 2, b: 1 });
      isLost = true;
      expect(await errorOf(commit(there, gone(uplink("a", 2))))).toMatchObject({ code: "ERR_STORE_WRITE" });
      isLost = false;
      await commit(there, gone(uplink("b", 1)));
      expect(await counts(prefix)).toEqual({ a: 1 });
      expect(await there.foremost()).toEqual({ needed: ["a"], active: ["b"] });
    });

    test("the server ends when all sessions were read: they are there, and the index stays incomplete", async () => {
      const prefix = randomUUID();
      await fill(await opened(shared, { prefix }));
      await earlierVersion(prefix);
      let isAway = true;
      const there = await watched(prefix, async (script, run) => {
        if (isAway && script === indexedScript) throw new Error("there is no connection");
        await run();
      });
      expect(await there.sessions(undefined, 100)).toHaveLength(filled.length + 1);
      expect(await there.foremost()).toBeUndefined();
      isAway = false;
      expect(await there.sessions(undefined, 100)).toHaveLength(filled.length + 1);
      expect(await needed(there)).toEqual(filled);
    });

    test("a restore of a backup that is given up leaves nothing of the index", async () => {
      const prefix = randomUUID();
      const prefixOf = (shard: number | undefined) => (shard === undefined ? prefix : `${prefix}-${shard}`);
      const source = new SharedRedis(optionsOf(prefix), () => undefined, 5_000, 1);
      const restore = new RedisFill(source, { run: "restore", shards: 2, leaseMs: 3_000, prefixOf });
      await restore.begin();
      const one = store(shared, { prefix: prefixOf(1) });
      await one.open();
      await fill(one);
      const keys = () => client.keys(`{${prefixOf(1)}}:*`);
      expect(await keys()).toEqual(expect.arrayContaining(["underway", "awake"].map((key) => keyIn(prefixOf(1), key))));
      await restore.giveUp();
      source.close();
      expect(await keys()).toEqual([keyIn(prefixOf(1), "meta")]);
      expect(await (await opened(shared, { prefix: prefixOf(1) })).foremost()).toEqual({ needed: [], active: [] });
    });
  },
);
