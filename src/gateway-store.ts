/** Part of the composition root: the store of the configuration, opened also when its disk is full at first. */
import { setTimeout as sleep } from "node:timers/promises";
import type { GatewayConfig } from "./config/schema.ts";
import { GatewayError } from "./errors.ts";
import type { Log } from "./observe/log.ts";
import { DiskStore } from "./storage/disk.ts";
import { MemoryStore } from "./storage/memory.ts";
import { type PairMember, RedisStore } from "./storage/redis.ts";
import type { RedisSource } from "./storage/redis-source.ts";
import type { Store, StoreReport } from "./storage/store.ts";
import { readSecret } from "./upstream/credentials.ts";

const pauseMs = 2_000;

/**
 * @param looked called with the number of records that were read so far, while a store on disk is opened
 * @param source connections to Redis that this store shares with others; absent: the store opens its own
 */
export function createStore(
  options: GatewayConfig["store"],
  log: Log,
  member: PairMember | undefined,
  looked: (records: number) => void,
  source?: RedisSource,
): Store {
  const { kind, redis } = options;
  if (kind === "memory") return new MemoryStore();
  const told = (say: string) => log.error(`store: ${say}`);
  if (kind === "disk") return new DiskStore(options, told, undefined, looked);
  const password = () => redis.password && readSecret(redis.password);
  return new RedisStore(redis, password, told, undefined, member, source);
}

/**
 * Opens the store. If its disk is full or read-only, it tries again every 2 s, because a process that ends would only
 * be started again. `isGivenUp`: the caller does not need the store any more.
 * @throws {GatewayError} when the store cannot be opened for another reason.
 */
export async function openStore(
  store: Store,
  log: Log,
  { noticed, isGivenUp }: { noticed: (say: string) => void; isGivenUp: () => boolean },
): Promise<StoreReport["highest"]> {
  for (;;) {
    try {
      const { notices, highest } = await store.open();
      for (const notice of notices) noticed(notice);
      return highest;
    } catch (error) {
      if (!(error instanceof GatewayError) || error.details["ailment"] !== "disk" || isGivenUp()) throw error;
      log.error(`${error.message}; next attempt in ${pauseMs / 1_000} s. Until then no device gets an answer`);
    }
    await sleep(pauseMs);
    if (isGivenUp()) throw new GatewayError("ERR_STORE_OPEN", {}, { say: "the store is not needed any more" });
  }
}
