/** Part of the composition root: restores the backup of a single gateway, or of a pair, into the stores of a fleet. */
import type { GatewayConfig } from "./config/schema.ts";
import { fleetPrefix, shardPrefix } from "./config/shard-config.ts";
import { ownId } from "./core/own-ids.ts";
import { GatewayError } from "./errors.ts";
import { fillFleet, type WayIn } from "./fleet/way-in.ts";
import { backupContents, checkBackup, committed } from "./storage/backup.ts";
import { newRun, RedisStore } from "./storage/redis.ts";
import { RedisBook } from "./storage/redis-book.ts";
import { RedisFill } from "./storage/redis-fill.ts";
import { SharedRedis } from "./storage/redis-source.ts";
import { readSecret } from "./upstream/credentials.ts";

/** Removing the records of a shard may take this long. Milliseconds. */
const answerMsMax = 30_000;
/** The interval in milliseconds at which the server is told that the restore continues. */
const goOnMs = 5_000;

export interface RestoredFleet extends WayIn {
  /**
   * MQTT client ids of the sessions that the clients of the gateway in the backup shared, as this configuration names
   * them.
   */
  readonly mqttSessions: readonly string[];
}

/**
 * @param progress called with the number of records so far, and their total; first all records are checked, then they
 * are written
 * @throws {GatewayError} ERR_BACKUP when the file is not a complete backup, a gateway of the fleet runs, its stores are
 * not empty, or it has another number of shards; ERR_STORE_OPEN, ERR_STORE_WRITE when Redis fails. Nothing of the
 * backup is stored then. If that cannot be made sure, no gateway of the fleet claims a shard before a restore has
 * succeeded.
 */
export async function restoreFleet(
  config: GatewayConfig,
  file: string,
  progress: (done: number, total?: number) => void = () => {},
): Promise<RestoredFleet> {
  const { store, fleet, transports } = config;
  const { redis } = store;
  const total = await checkBackup(file, progress);
  const password = () => redis.password && readSecret(redis.password);
  const source = new SharedRedis(redis, password, answerMsMax, 1);
  const prefixOf = (shard: number | undefined) =>
    shard === undefined ? fleetPrefix(config) : shardPrefix(config, shard);
  const leaseMs = fleet.leaseSeconds * 1_000;
  const fill = new RedisFill(source, { run: newRun(), shards: fleet.shards, leaseMs, prefixOf });
  const stores = new Map<number, RedisStore>();
  const storeOf = async (shard: number): Promise<RedisStore> => {
    const there = stores.get(shard);
    if (there) return there;
    const options = { ...redis, prefix: shardPrefix(config, shard) };
    const made = new RedisStore(options, undefined, undefined, undefined, undefined, source);
    await made.open();
    stores.set(shard, made);
    return made;
  };
  let [done, saidAt] = [0, performance.now()];
  try {
    await fill.begin();
    try {
      const filled = await fillFleet({
        shards: fleet.shards,
        transports: new Set(transports.map(({ name }) => name)),
        contents: backupContents(file),
        write: async (shard, changes) => committed(await storeOf(shard), changes),
        book: new RedisBook(() => source.open()),
        prefix: fleetPrefix(config),
        read: () => {
          progress(Math.min(++done, total), total);
          if (performance.now() - saidAt < goOnMs) return undefined;
          saidAt = performance.now();
          return fill.goOn();
        },
      });
      await fill.end();
      const mqttSessions = filled.sharedConnections.flatMap((name) => mqttSessionOf(config, name) ?? []);
      return { ...filled, mqttSessions };
    } catch (error) {
      await fill.giveUp().catch((left: unknown) => {
        throw notUndone(error, left);
      });
      throw error;
    }
  } finally {
    for (const each of stores.values()) await each.close();
    source.close();
  }
}

/** The next restore removes these records. Until then no gateway claims a shard. */
function notUndone(cause: unknown, left: unknown): GatewayError {
  const [why, whyLeft] = [cause, left].map((each) => (each instanceof Error ? each.message : String(each)));
  const say = `${why}. The records that were restored before that could not be removed (${whyLeft}): run \`mqtt-sn-gateway restore\` again, before a gateway of the fleet can serve`;
  return new GatewayError(cause instanceof GatewayError ? cause.code : "ERR_BACKUP", {}, { cause, say });
}

/** Undefined: the configuration has no such upstream. */
function mqttSessionOf({ upstream, upstreams }: GatewayConfig, name: string): string | undefined {
  const [, of, index, lane] = /^(.*)\/(\d+)(?:\.(\d+))?$/.exec(name) ?? [];
  const options = of === "" ? upstream : upstreams.find((each) => each.name === of);
  return options && ownId(options, Number(index), Number(lane ?? 0));
}
