/** A backup is restored into the stores of a fleet at a real redis-server: all of it, or nothing, and not beside a gateway. */
import { randomUUID } from "node:crypto";
import { mkdtempSync, rmSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseConfig } from "../../src/config/load.ts";
import type { GatewayConfig } from "../../src/config/schema.ts";
import { fleetPrefix, shardPrefix } from "../../src/config/shard-config.ts";
import type { Change } from "../../src/core/record.ts";
import { shardOf } from "../../src/fleet/shard.ts";
import { restoreFleet } from "../../src/gateway-way-in.ts";
import { backupOctets, restoreInto, writeBackup } from "../../src/storage/backup.ts";
import { DiskStore } from "../../src/storage/disk.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { RedisFill } from "../../src/storage/redis-fill.ts";
import { RedisFleet } from "../../src/storage/redis-fleet.ts";
import { SharedRedis } from "../../src/storage/redis-source.ts";
import { commit, queued, session } from "../conformance/store-suite.ts";
import type { RedisServer } from "../helpers/redis.ts";
import { closeServers, closeStores, missing, names, opened, server, store } from "../helpers/redis-stores.ts";

const shards = 16;
const clients = Array.from({ length: 40 }, (_, i) => `c${i}`);
const publication = { topicName: "t", payload: Uint8Array.of(1), qos: 1, retain: false } as const;
const letter = (clientId: string, id: number): Change => ({
  of: "letter",
  clientId,
  id,
  record: { direction: "up", reason: "r", publication, at: 1 },
});

describe.skipIf(missing !== undefined)(
  `a backup into a fleet at redis-server${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    let shared: RedisServer;
    const folder = mkdtempSync(join(tmpdir(), "fill-"));
    const file = join(folder, "backup");
    const sources: SharedRedis[] = [];
    beforeAll(async () => {
      shared = await server();
      const disk = new DiskStore(storeOptions.parse({ kind: "disk", folder: join(folder, "disk") }));
      await disk.open();
      await commit(disk, ...clients.map((name) => session(name, { peer: "udp/192.0.2.1:1" })));
      await commit(disk, queued("c3", 700), queued("c4", 701), letter("c5", 90), session("\0/0"));
      await writeBackup(file, backupOctets(disk.snapshot() ?? []));
      await disk.close();
    });
    afterAll(async () => {
      rmSync(folder, { recursive: true, force: true });
      for (const each of sources) each.close();
      await closeStores();
      await closeServers();
    });
    const configOf = (prefix: string = randomUUID()): GatewayConfig =>
      parseConfig({
        upstream: { url: "mqtt://127.0.0.1:1", mode: "aggregating" },
        store: { kind: "redis", redis: { url: shared.url, prefix } },
        fleet: { enabled: true, name: "a", shards, listen: "127.0.0.1:1" },
      });
    const source = () => {
      const made = new SharedRedis(storeOptions.parse({ redis: { url: shared.url } }).redis, () => undefined, 5_000, 1);
      sources.push(made);
      return made;
    };
    const prefixesOf = (config: GatewayConfig) => (shard: number | undefined) =>
      shard === undefined ? fleetPrefix(config) : shardPrefix(config, shard);
    const member = (config: GatewayConfig) => {
      const holder = { name: "a", run: "run-a", leaseMs: 3_000, version: "1" };
      const fleet = new RedisFleet(config.store.redis, source(), holder, shards, prefixesOf(config));
      return { fleet, self: { name: "a", run: "run-a", place: "127.0.0.1:1", version: "1", isDraining: false } };
    };
    /** Client ids in the stores, by shard. */
    const stored = async (config: GatewayConfig) => {
      const all: string[][] = [];
      for (let shard = 0; shard < shards; shard++)
        all.push(await names(await opened(shared, { prefix: shardPrefix(config, shard) })));
      return all;
    };
    const empty = Array.from({ length: shards }, () => []);

    test("each shard has its clients, and counts on above the numbers that it has", async () => {
      const config = configOf();
      const made = await restoreFleet(config, file);
      expect(made).toMatchObject({ records: 43, sessions: 40, addresses: 40, mqttSessions: ["mqtt-sn-gateway"] });
      for (const [shard, found] of (await stored(config)).entries())
        expect(found.sort()).toEqual(clients.filter((name) => shardOf(name, shards) === shard).sort());
      const of = async (clientId: string) => opened(shared, { prefix: shardPrefix(config, shardOf(clientId, shards)) });
      expect((await (await of("c3")).load("c3"))?.queued.map(([seq]) => seq)).toEqual([700]);
      expect((await (await of("c5")).letters(0, 10)).map(({ id, clientId }) => [id, clientId])).toEqual([[90, "c5"]]);
      const store = await of("c4");
      await store.close();
      expect((await store.open()).highest.queued).toBeGreaterThanOrEqual(701);
      const client = shared.client();
      const key = `{${fleetPrefix(config)}}:addr:udp/192.0.2.1:1`;
      expect(await client.ttl(key)).toBeGreaterThan(24 * 3_600);
      expect(await client.hget(`{${fleetPrefix(config)}}:meta`, "shards")).toBe("16");
      client.disconnect();
      // Gateways may come, and claim.
      const { fleet, self } = member(config);
      expect(await fleet.beat(self)).toMatchObject([{ name: "a" }]);
      const [free] = await fleet.look([3]);
      expect(free && (await fleet.claim(3, free))).toMatchObject({ epoch: 1 });
    });

    test("a backup of Redis, as that of a pair, is one too; the fleet may have the same prefix", async () => {
      const prefix = randomUUID();
      await restoreInto(file, store(shared, { prefix }));
      const pair = await opened(shared, { prefix });
      await commit(pair, { of: "session", clientId: "c7", id: 0, record: undefined });
      const ofPair = join(folder, "of-pair");
      await writeBackup(ofPair, backupOctets(pair.snapshot()));
      const config = configOf(prefix);
      expect(await restoreFleet(config, ofPair)).toMatchObject({ records: 42, sessions: 39, addresses: 39 });
      expect((await stored(config)).flat().sort()).toEqual(clients.filter((name) => name !== "c7").sort());
      expect(await names(pair)).toContain("c3"); // what was there stays
    });

    test("it is refused while a gateway is there, holds a shard, or something is stored, and with another number of shards", async () => {
      const config = configOf();
      const { fleet, self } = member(config);
      await fleet.beat(self);
      await expect(restoreFleet(config, file)).rejects.toThrow("the gateway a of the fleet runs");
      const [free] = await fleet.look([7]);
      expect(free && (await fleet.claim(7, free))).toMatchObject({ epoch: 1 });
      await fleet.leave();
      await expect(restoreFleet(config, file)).rejects.toThrow("a owns shard 7 of the fleet");
      await fleet.release({ shard: 7, epoch: 1 }, "ended");
      await expect(restoreFleet({ ...config, fleet: { ...config.fleet, shards: 32 } }, file)).rejects.toThrow(
        "the fleet has 16 shards, and the configuration says 32",
      );
      const one = await opened(shared, { prefix: shardPrefix(config, 9) });
      await commit(one, letter("somebody", 1));
      await one.close();
      await expect(restoreFleet(config, file)).rejects.toThrow("there are sessions in the store of shard 9");
      await one.open();
      await commit(one, { ...letter("somebody", 1), record: undefined } as Change);
      await one.close();
      expect(await restoreFleet(config, file)).toMatchObject({ sessions: 40 });
    });

    test("it fails in the middle, or at a cut file: nothing of it is there, and gateways may come", async () => {
      const config = configOf();
      let written = 0;
      const failing = (done: number, total?: number) => {
        if (total !== undefined && done > 20) written = done;
        if (written > 0) throw new Error("the terminal has gone");
      };
      await expect(restoreFleet(config, file, failing)).rejects.toThrow("the terminal has gone");
      expect(written).toBeGreaterThan(20);
      expect(await stored(config)).toEqual(empty);
      const { fleet, self } = member(config);
      expect(await fleet.beat(self)).toHaveLength(1);
      await fleet.leave();
      const cut = join(folder, "cut");
      const disk = new DiskStore(storeOptions.parse({ kind: "disk", folder: join(folder, "disk") }));
      await disk.open();
      await writeBackup(cut, backupOctets(disk.snapshot() ?? []));
      await disk.close();
      truncateSync(cut, 2_000);
      await expect(restoreFleet(config, cut)).rejects.toThrow("not a complete backup");
      expect(await restoreFleet(config, file)).toMatchObject({ sessions: 40 });
    });

    test("one that was never finished: no gateway is heard of, until the next one has taken its place", async () => {
      const config = configOf();
      const prefixOf = prefixesOf(config);
      const killed = new RedisFill(source(), { run: "killed", shards, leaseMs: 3_000, prefixOf });
      await killed.begin();
      const one = await opened(shared, { prefix: shardPrefix(config, 2) });
      const rest: Change = { of: "known", clientId: "rest", id: 0, record: {} };
      await commit(one, session("rest"), queued("rest", 3), letter("rest", 4), rest);
      const { fleet, self } = member(config);
      await expect(fleet.beat(self)).rejects.toThrow("a backup is being restored into the fleet");
      await expect(restoreFleet(config, file)).rejects.toThrow(/another restore into this fleet was active \d+ s ago/);
      const client = shared.client();
      await client.hset(`{${fleetPrefix(config)}}:meta`, "fillingAt", "1");
      expect(await restoreFleet(config, file)).toMatchObject({ sessions: 40 });
      const left = await client.keys(`{${shardPrefix(config, 2)}}:*`);
      expect(left.filter((key) => key.includes("rest"))).toEqual([]);
      expect((await stored(config)).flat()).not.toContain("rest");
      const again = await opened(shared, { prefix: shardPrefix(config, 2) });
      expect([await again.letters(0, 10), await again.known(undefined, 10)]).toEqual([[], []]);
      client.disconnect();
      // It was only slow: nothing of it comes behind.
      await expect(killed.goOn()).rejects.toThrow("another restore into this fleet has begun since");
      await expect(killed.end()).rejects.toThrow("another restore into this fleet has begun since");
      await expect(commit(one, session("late"))).rejects.toThrow("another gateway has opened the store");
      expect(await fleet.beat(self)).toHaveLength(1);
    });
  },
);
