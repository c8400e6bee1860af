/**
 * Derives the configuration of a shard's gateway from that of the fleet, and that of the connections for the state of a
 * process. No other file does this.
 */
import { ownIdsOf } from "../core/own-ids.ts";
import { clientsStatusTopic, gatewayNameLevel, gatewayStatusTopic } from "./fleet-status.ts";
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
  const { clients, buffer, uplink, deadLetters, fleet, status } = config;
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
    status: status.topic === undefined ? status : { topic: clientsStatusTopic(status.topic) },
    api: { ...config.api, enabled: false },
  };
}

/**
 * A gateway without clients, whose own connections publish the state of a process of the fleet. Undefined: no state is
 * published.
 */
export function statusConfig(config: GatewayConfig): GatewayConfig | undefined {
  const { topic } = config.status;
  if (topic === undefined) return undefined;
  const name = gatewayNameLevel(config);
  return {
    ...config,
    gateway: { ...config.gateway, advertiseSeconds: 0 },
    upstream: ofStatus(config.upstream, name),
    upstreams: config.upstreams.map((each) => ofStatus(each, name)),
    store: { ...config.store, kind: "memory" },
    payloads: [],
    status: { topic: gatewayStatusTopic(topic, config) },
    fleet: { ...config.fleet, enabled: false },
    api: { ...config.api, enabled: false },
  };
}

function ofStatus<T extends GatewayConfig["upstream"]>(options: T, name: string): T {
  const serviceClientId = `${statusIdStart(options)}${name}`;
  // In this mode, the gateway's own connection is the only one that exists without clients.
  return { ...options, mode: "transparent", serviceClientId, ioUring: false, readTogether: false };
}

function statusIdStart({ serviceClientId }: GatewayConfig["upstream"]): string {
  return `${serviceClientId}-status-`;
}

function ofShard<T extends GatewayConfig["upstream"]>(options: T, shard: number, shards: number): T {
  const serviceClientId = `${options.serviceClientId}-${shardName(shard, shards)}`;
  // Each ring is the kernel's memory, and a shard has few connections.
  return { ...options, serviceClientId, ioUring: false, readTogether: false };
}

/**
 * The MQTT client ids of all shards' own connections, and of those for the states of all gateways: no client of any
 * shard may have one of them.
 */
export function ownIdsOfFleet({ upstream, upstreams, fleet }: GatewayConfig): Pick<ReadonlySet<string>, "has"> {
  const ids = new Set<string>();
  for (let shard = 0; shard < fleet.shards; shard++)
    for (const options of [upstream, ...upstreams])
      for (const id of ownIdsOf(ofShard(options, shard, fleet.shards))) ids.add(id);
  // A gateway does not know the names of the others before they run.
  const statusIds = [upstream, ...upstreams].map((options) => options.clientIdPrefix + statusIdStart(options));
  return { has: (id) => ids.has(id) || statusIds.some((start) => id.startsWith(start)) };
}
