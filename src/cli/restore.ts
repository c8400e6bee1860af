/** `restore`: puts a backup in the place of the store, on a disk, at Redis, or of all shards of a fleet. */
import { loadConfig } from "../config/load.ts";
import type { GatewayConfig } from "../config/schema.ts";
import type { RestoredFleet } from "../gateway-way-in.ts";
import { restoreBackup, restoreInto } from "../storage/backup.ts";
import { RedisStore } from "../storage/redis.ts";
import { readSecret } from "../upstream/credentials.ts";
import { Progress } from "./progress.ts";
import { say } from "./table.ts";

/** @throws {GatewayError} when the backup cannot be restored; then nothing has changed. */
export async function restore(file: string, configFile: string): Promise<void> {
  const config = loadConfig(configFile);
  const progress = new Progress("restore", "records");
  try {
    for (const line of await restored(config, file, (done, total) => progress.at(done, total))) {
      progress.end();
      say(line);
    }
  } finally {
    progress.end();
  }
}

type Told = (done: number, total?: number) => void;

async function restored(config: GatewayConfig, file: string, told: Told): Promise<readonly string[]> {
  const { store, fleet } = config;
  const { redis } = store;
  if (fleet.enabled) {
    const { restoreFleet } = await import("../gateway-way-in.ts");
    return fleetLines(config, await restoreFleet(config, file, told));
  }
  if (store.kind === "redis") {
    const there = new RedisStore(redis, () => redis.password && readSecret(redis.password));
    const { records, leftOut } = await restoreInto(file, there, told);
    return [`${records} records are at ${redis.url}, prefix ${redis.prefix}`, ...leftOutLines(leftOut)];
  }
  const { records, aside } = await restoreBackup(file, store.folder, told);
  return [`${records} records are in ${store.folder}${aside === undefined ? "" : `; what was there is at ${aside}`}`];
}

function fleetLines({ store: { redis }, fleet: { shards } }: GatewayConfig, made: RestoredFleet): string[] {
  const { records, sessions, addresses, elsewhere, mqttSessions, leftOut } = made;
  const lines = [
    `${records} records of ${sessions} clients are in ${shards} shards at ${redis.url}, prefix ${redis.prefix}; ${addresses} of the clients are connected, and continue at their addresses`,
  ];
  for (const [transport, clients] of elsewhere)
    lines.push(
      `${clients} of the clients are at the transport ${transport}, which this configuration does not have: they have to connect again`,
    );
  if (mqttSessions.length > 0)
    lines.push(
      `the broker keeps these MQTT sessions, which no gateway of the fleet uses: ${mqttSessions.join(", ")}; end them, as docs/guide/fleet.md says`,
    );
  return [...lines, ...leftOutLines(leftOut)];
}

function leftOutLines(leftOut: readonly string[]): string[] {
  return leftOut.length === 0 ? [] : [`left out, as a later version wrote it: ${leftOut.join(", ")}`];
}
