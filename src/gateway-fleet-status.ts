/**
 * Part of the composition root: the state of a process of a fleet (`status.topic`). It is published over connections of
 * the process's own, one to each broker, by a gateway without networks and clients. So its will, and what it does at a
 * broker that accepts no wills or no retained messages, are those of a gateway outside a fleet.
 */
import type { Managed } from "./config/managed.ts";
import type { GatewayConfig } from "./config/schema.ts";
import { statusConfig } from "./config/shard-config.ts";
import { Gateway } from "./gateway.ts";
import type { ShardParts } from "./gateway-shard.ts";
import type { Log } from "./observe/log.ts";
import type { UpstreamSource } from "./observe/service-metrics.ts";

export interface FleetStatusParts {
  readonly log: Log;
  readonly managed: Managed;
  readonly scripts: ShardParts["scripts"];
}

export class FleetStatus {
  /** Undefined: no state is published. */
  readonly #gateway: Gateway | undefined;

  /** @throws {GatewayError} when files or secrets that the configuration names cannot be read. */
  constructor(config: GatewayConfig, { log, managed, scripts }: FleetStatusParts) {
    const own = statusConfig(config);
    if (!own) return;
    this.#gateway = new Gateway(own, log.child({ connection: "status" }), undefined, undefined, undefined, {
      transports: [],
      managed,
      // Its store is in memory, so it needs no lease and no server.
      member: { run: "", epoch: () => 0, fenced: () => {} },
      owns: () => true,
      redis: { open: () => Promise.reject(new Error("the state of a gateway is not stored")), done: () => {} },
      scripts,
      reservedIds: new Set(),
      noticed: () => {},
      page: { tap: undefined },
      turnedAway: () => {},
      report: () => {},
    });
  }

  /** Connects, and publishes `online`. Does not wait for the brokers. */
  async start(): Promise<void> {
    await this.#gateway?.start();
  }

  /** Takes over credentials and certificates. */
  reload(config: GatewayConfig): void {
    const own = statusConfig(config);
    if (own) this.#gateway?.reload(own);
  }

  /** Publishes `offline`, and ends the connections. */
  async stop(): Promise<void> {
    await this.#gateway?.stop();
  }

  /** For the octets that its connections have sent and received. */
  get upstreams(): readonly UpstreamSource[] {
    return this.#gateway?.vitals.serviceSources().upstreams() ?? [];
  }
}
