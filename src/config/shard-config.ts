/** Derives the configuration of a shard's gateway from that of the fleet. No other file does this. */
import { ownIdsOf } from "../core/own-ids.ts";
import type { GatewayConfig } from "./schema.ts";

/** The name of a shard in key prefixes and MQTT client ids: `s07`, of 256 shards `s007`. */
export function shardName(shard: number, shards: number): string {
  return `s${String(shard).padStart(shards > 100 ? 3 : 2, "0")}`;
}

/** The prefix of the keys of the whole fleet (members). The keys of shards have their own prefixes. */
export function fleetPrefix({ store }: GatewayConfig): string {
  return `${store.redis.prefix}/fleet`;
}

export function shardPrefix({ store, fleet }: GatewayConfig, shard: number): string {
  return `${store.redis.prefix}/${shardName(shard, fleet.shards)}`;
}

/**
 * A shard has a complete gateway, with its own keys and MQTT client ids, and its share of the limits for all clients
 * together. Parts that exist once in a process (API, console, its connections) are not in a shard.
 */
export function shardConfig(config: GatewayConfig, shard: number): GatewayConfig {
  const { clients, buffer, uplink, deadLetters, fleet } = config;
  const share = (whole: number, least = 1) =>
    whole === 0 ? 0 : Math.max(least, Math.ceil((2 * whole) / fleet.shards));
  return {
    ...config,
    upstream: ofShard(config.upstream, shard, fleet.shards),
    upstreams: config.upstreams.map((each) => ofShard(each, shard, fleet.shards)),
    store: { ...config.store, redis: { ...config.store.redis, prefix: shardPrefix(config, shard) } },
    clients: {
      ...clients,
      sessionsMax: share(clients.sessionsMax),
      sessionsPerHostMax: share(clients.sessionsPerHostMax),
      pendingMax: share(clients.pendingMax),
      newPerSecondMax: share(clients.newPerSecondMax),
      newPerSecondPerHostMax: share(clients.newPerSecondPerHostMax),
    },
    buffer: { ...buffer, totalBytesMax: share(buffer.totalBytesMax, buffer.bytesMax) },
    uplink: {
      ...uplink,
      totalMessagesMax: share(uplink.totalMessagesMax, uplink.messagesMax),
      totalBytesMax: share(uplink.totalBytesMax, uplink.bytesMax),
      drainPerSecond: Math.max(1, (2 * uplink.drainPerSecond) / fleet.shards),
    },
    deadLetters: { ...deadLetters, max: share(deadLetters.max) },
    transports: config.transports.map((each) =>
      each.type === "dtls" ? { ...each, contextsMax: share(each.contextsMax) } : each,
    ),
    // The clients' wills are kept, because the shard continues in another process.
    shutdown: { wills: "keep" },
    api: { ...config.api, enabled: false },
  };
}

function ofShard<T extends GatewayConfig["upstream"]>(options: T, shard: number, shards: number): T {
  const serviceClientId = `${options.serviceClientId}-${shardName(shard, shards)}`;
  // Each ring is the kernel's memory, and a shard has few connections.
  return { ...options, serviceClientId, ioUring: false, readTogether: false };
}

/** The MQTT client ids of all shards' own connections: no client of any shard may have one of them. */
export function ownIdsOfFleet({ upstream, upstreams, fleet }: GatewayConfig): ReadonlySet<string> {
  const ids = new Set<string>();
  for (let shard = 0; shard < fleet.shards; shard++)
    for (const options of [upstream, ...upstreams])
      for (const id of ownIdsOf(ofShard(options, shard, fleet.shards))) ids.add(id);
  return ids;
}
