/**
 * Sessions of clients that are never heard, put into a store before a gateway starts. A gateway with `serveAfterSeconds: 0`
 * serves while it restores them: their names come before those of the clients of a test.
 */
import { shardName } from "../../src/config/shard-config.ts";
import type { Change } from "../../src/core/record.ts";
import { shardOf } from "../../src/fleet/shard.ts";
import { DiskStore } from "../../src/storage/disk.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { RedisStore } from "../../src/storage/redis.ts";
import type { Store } from "../../src/storage/store.ts";
import { commit, session } from "../conformance/store-suite.ts";

export type Mode = "transparent" | "aggregating";

/** Their topic names, of which an aggregating gateway has subscriptions. */
const silentTopics = 20;

export const silentNames = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `a-${String(i).padStart(6, "0")}`);

function silent(clientId: string, i: number, mode: Mode): Change {
  const isShared = mode === "aggregating";
  return session(clientId, {
    peer: undefined,
    state: isShared ? "asleep" : "disconnected",
    sleepSeconds: 60_000,
    will: undefined,
    topics: [],
    subscriptions: isShared ? [{ filter: `x/${i % silentTopics}`, qos: 1, by: "name", predefinedId: 0 }] : [],
    ...(isShared && { home: "/0" }),
  });
}

async function put(store: Store, names: readonly string[], mode: Mode): Promise<void> {
  await store.open();
  await commit(store, ...names.map((clientId, i) => silent(clientId, i, mode)));
  await store.close();
}

/** @param folder `store.folder` */
export function silentOnDisk(folder: string, count: number, mode: Mode): Promise<void> {
  return put(new DiskStore(storeOptions.parse({ folder })), silentNames(count), mode);
}

export function silentAtRedis(url: string, count: number, mode: Mode): Promise<void> {
  return put(new RedisStore(storeOptions.parse({ kind: "redis", redis: { url } }).redis), silentNames(count), mode);
}

/** For a fleet with so many shards that has not run yet: each session is in the store of its shard. */
export async function silentInFleet(url: string, count: number, mode: Mode, shards: number): Promise<void> {
  const { redis } = storeOptions.parse({ kind: "redis", redis: { url } });
  for (let shard = 0; shard < shards; shard++) {
    const prefix = `${redis.prefix}/${shardName(shard, shards)}`;
    const names = silentNames(count).filter((clientId) => shardOf(clientId, shards) === shard);
    await put(new RedisStore({ ...redis, prefix }), names, mode);
  }
}
