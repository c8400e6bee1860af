/**
 * Part of the composition root: the parts that exist once in a process of a fleet: health, metrics, and commands, which
 * are passed to the gateway of the right shard.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { ControlServer } from "./api/control.ts";
import { ApiServer } from "./api/server.ts";
import { coreOptions } from "./config/core-options.ts";
import { afterReload, needRestart } from "./config/restart.ts";
import type { GatewayConfig } from "./config/schema.ts";
import { shardConfig } from "./config/shard-config.ts";
import { admitAll } from "./core/access.ts";
import { GatewayCore } from "./core/gateway-core.ts";
import { GatewayError } from "./errors.ts";
import type { Front } from "./fleet/front.ts";
import type { Owners } from "./fleet/owners.ts";
import type { Gateway } from "./gateway.ts";
import { FleetDesk } from "./gateway-fleet-desk.ts";
import { FleetServiceTotals } from "./gateway-fleet-service-totals.ts";
import { FleetTotals } from "./gateway-fleet-totals.ts";
import { logAudit } from "./observe/audit.ts";
import { addFleetMetrics } from "./observe/fleet-metrics.ts";
import type { Log } from "./observe/log.ts";
import { createMetrics } from "./observe/metrics.ts";
import { addServiceMetrics } from "./observe/service-metrics.ts";
import type { Answer } from "./runtime/command.ts";
import type { CommandName } from "./runtime/commands.ts";
import { type Asker, OperatorDesk, routes } from "./runtime/desk.ts";
import type { FleetFacts } from "./runtime/fleet-facts.ts";
import { emptyInstallation } from "./runtime/installation.ts";
import { createOperator } from "./runtime/operator.ts";
import { backupOctets } from "./storage/backup.ts";
import { MemoryStore } from "./storage/memory.ts";

export interface FleetServiceParts {
  readonly config: () => GatewayConfig;
  readonly log: Log;
  readonly version: string;
  readonly owners: Owners;
  readonly front: Front;
  /** The gateways of this process, by shard. */
  readonly gateways: () => ReadonlyMap<number, Gateway>;
  readonly serves: () => boolean;
  readonly drain: () => Promise<{ readonly shards: number } | string>;
}

export class FleetService {
  readonly #parts: FleetServiceParts;
  readonly #totals: FleetTotals;
  readonly #serviceTotals: FleetServiceTotals;
  readonly #desk: FleetDesk;
  readonly #startedAt = performance.now();
  #api: ApiServer | undefined;
  #control: ControlServer | undefined;

  constructor(parts: FleetServiceParts) {
    this.#parts = parts;
    const here = () => [...parts.gateways().values()];
    this.#totals = new FleetTotals(here);
    this.#serviceTotals = new FleetServiceTotals(parts.version, here);
    const installation = {
      ...emptyInstallation,
      version: parts.version,
      fleet: () => this.facts(),
      leave: () => parts.drain(),
    };
    const own = new OperatorDesk(
      createOperator(
        nobodysCore(parts.config()),
        new MemoryStore(),
        { handle: () => {} },
        () => performance.now(),
        backupOctets,
        {
          links: () => [],
          forgetCounter: () => false,
          bonds: () => [],
          removeBond: () => false,
          transports: [],
          capture: () => undefined,
        },
        installation,
      ),
      (entry) => logAudit(parts.log, entry),
    );
    const { config, version, owners, front, gateways } = parts;
    this.#desk = new FleetDesk({
      ...{ config, version, owners, gateways, own },
      front: front.counters,
      facts: () => this.facts(),
      uptimeSeconds: () => this.#uptimeSeconds,
    });
  }

  get #uptimeSeconds(): number {
    return Math.floor((performance.now() - this.#startedAt) / 1_000);
  }

  /** If a port cannot be opened, the log says so, and the gateway runs without it. */
  async start(): Promise<void> {
    const { api, store } = this.#parts.config();
    const { log } = this.#parts;
    if (api.enabled) {
      const server = new ApiServer(api, this.#sources());
      if (await this.#started(server)) {
        this.#api = server;
        log.info(`health and metrics at ${server.place}`);
      }
    }
    mkdirSync(store.folder, { recursive: true, mode: 0o700 });
    const control = new ControlServer(join(store.folder, "control.sock"), {
      routes,
      ask: (who, name, query) => this.ask(who, name, query),
    });
    if (await this.#started(control)) this.#control = control;
  }

  async #started(server: { start(): Promise<void> }): Promise<boolean> {
    try {
      await server.start();
      return true;
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      this.#parts.log.warn(`${error.message}. The gateway runs without it`);
      return false;
    }
  }

  /** A fleet has no console page yet. */
  consoleLink(): string {
    return "a fleet has no console: see mqtt-sn-gateway fleet status, and /metrics";
  }

  async close(): Promise<void> {
    await this.#api?.close();
    await this.#control?.close();
  }

  /** Keeps the counts of this gateway in the sums. */
  retire(gateway: Gateway): void {
    this.#totals.retire(gateway);
    this.#serviceTotals.retire(gateway);
  }

  needRestart(config: GatewayConfig): readonly string[] {
    return needRestart(this.#parts.config(), config);
  }

  afterReload(config: GatewayConfig): GatewayConfig {
    return afterReload(this.#parts.config(), config);
  }

  facts(): FleetFacts {
    const { owners, config } = this.#parts;
    const all = owners.facts();
    const shardsOf = (name: string) => all.filter(({ owner }) => owner === name).length;
    const member = (is: Owners["self"], silentMs: number, sinceMs: number) => ({
      name: is.name,
      version: is.version,
      place: is.place,
      isDraining: is.isDraining,
      secondsAgo: Math.round(silentMs / 100) / 10,
      sinceSeconds: Math.floor(sinceMs / 1_000),
      shards: shardsOf(is.name),
    });
    const members = [
      member(owners.self, 0, performance.now() - this.#startedAt),
      ...owners.known().map(({ is, silentMs, sinceMs }) => member(is, silentMs, sinceMs)),
    ];
    members.sort((a, b) => (a.name < b.name ? -1 : 1));
    return {
      name: owners.self.name,
      leaseSeconds: config().fleet.leaseSeconds,
      shards: owners.shards,
      trouble: owners.trouble,
      members,
      owners: all,
      counters: owners.counters,
    };
  }

  /** Executes one command. */
  ask(who: Asker, name: CommandName, query: URLSearchParams): Promise<Answer> {
    return this.#desk.ask(who, name, query);
  }

  #sources() {
    const metrics = createMetrics(this.#totals.sources);
    addServiceMetrics(metrics, this.#serviceTotals.sources);
    addFleetMetrics(metrics, { facts: () => this.facts(), front: this.#parts.front.counters });
    return {
      health: () => this.#health(),
      probes: {
        commitWaitsSeconds: () => this.#totals.commitWaitsSeconds,
        storeFails: () => this.#totals.sources.storeFails(),
        serves: () => this.#parts.serves(),
      },
      metrics: async () => ({ contentType: metrics.contentType, text: await metrics.metrics() }),
    };
  }

  #health() {
    const { owners, serves } = this.#parts;
    const { name, members, shards, trouble } = this.facts();
    const { sources } = this.#totals;
    const isThere = owners.serving === 0 || sources.brokerThere();
    return {
      ok: serves() && isThere && !sources.storeFails() && trouble === "",
      broker: isThere ? "connected" : "away",
      store: sources.storeFails() ? "failing" : "ok",
      uptimeSeconds: this.#uptimeSeconds,
      clients: this.#totals.clients,
      fleet: { name, members: members.length, shards, serving: owners.serving, trouble },
    };
  }
}

/** A core without sessions, because commands about the fleet need none. */
function nobodysCore(config: GatewayConfig): GatewayCore {
  return new GatewayCore(coreOptions(shardConfig(config, 0), admitAll), {
    maxMessageBytes: () => 0,
    hostOf: () => "",
    identityOf: (peer) => ({ name: peer, by: "address", verified: false }),
    wallClock: () => undefined,
    random: () => 0,
  });
}
