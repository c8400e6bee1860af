/**
 * Part of the composition root: the parts that exist once in a process of a fleet: health, metrics, the console, and
 * commands, which are passed to the gateway of the right shard.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { ControlServer } from "./api/control.ts";
import { ApiServer } from "./api/server.ts";
import { coreOptions } from "./config/core-options.ts";
import type { Managed } from "./config/managed.ts";
import { afterReload, needRestart } from "./config/restart.ts";
import type { GatewayConfig } from "./config/schema.ts";
import { shardConfig } from "./config/shard-config.ts";
import { admitAll } from "./core/access.ts";
import { GatewayCore } from "./core/gateway-core.ts";
import { GatewayError } from "./errors.ts";
import type { Front } from "./fleet/front.ts";
import type { Owners } from "./fleet/owners.ts";
import type { Gateway } from "./gateway.ts";
import type { Lookout } from "./gateway-console.ts";
import { FleetDesk } from "./gateway-fleet-desk.ts";
import type { NamedReport } from "./gateway-fleet-dtls.ts";
import { fleetLookout, sessionsOf } from "./gateway-fleet-lookout.ts";
import { FleetServiceTotals } from "./gateway-fleet-service-totals.ts";
import { FleetTotals } from "./gateway-fleet-totals.ts";
import type { ScriptProcess } from "./gateway-scripts.ts";
import { logAudit } from "./observe/audit.ts";
import { addFleetMetrics } from "./observe/fleet-metrics.ts";
import type { Log } from "./observe/log.ts";
import { createMetrics } from "./observe/metrics.ts";
import { addServiceMetrics, type UpstreamSource } from "./observe/service-metrics.ts";
import { OperatorDesk } from "./runtime/desk.ts";
import { pageOf } from "./runtime/device-views.ts";
import type { FleetFacts } from "./runtime/fleet-facts.ts";
import type { Installation } from "./runtime/installation.ts";
import { createOperator, type Operator } from "./runtime/operator.ts";
import { RememberedViews } from "./runtime/remembered-views.ts";
import { WallClock } from "./runtime/wall-clock.ts";
import { backupOctets } from "./storage/backup.ts";
import { MemoryStore } from "./storage/memory.ts";
import type { Transport } from "./transports/transport.ts";

export interface FleetServiceParts {
  readonly config: () => GatewayConfig;
  readonly log: Log;
  readonly version: string;
  /** The configuration's file; undefined: none. */
  readonly file: string | undefined;
  readonly managed: Managed;
  readonly owners: Owners;
  readonly front: Front;
  /** The real transports. */
  readonly transports: readonly Transport[];
  /** Reports of DTLS that belong to no shard. */
  readonly encryption: () => readonly NamedReport[];
  /** Runs the scripts for the payloads of all shards. */
  readonly scripts: ScriptProcess;
  /** Connections to the brokers beside those of the shards. */
  readonly beside: () => readonly UpstreamSource[];
  /** The gateways of this process, by shard. */
  readonly gateways: () => ReadonlyMap<number, Gateway>;
  readonly serves: () => boolean;
  readonly drain: () => Promise<{ readonly shards: number } | string>;
  /** Takes over the settings that can change while running. Returns the sections that need a restart. */
  readonly reload: (config: GatewayConfig) => readonly string[];
}

export class FleetService {
  /** The operator's view, which the console shows. */
  readonly lookout: Lookout;
  readonly #parts: FleetServiceParts;
  readonly #totals: FleetTotals;
  readonly #serviceTotals: FleetServiceTotals;
  readonly #desk: FleetDesk;
  readonly #startedAt = performance.now();
  readonly #wallClock = new WallClock();
  #api: ApiServer | undefined;
  #control: ControlServer | undefined;

  constructor(parts: FleetServiceParts) {
    this.#parts = parts;
    const here = () => [...parts.gateways().values()];
    this.#totals = new FleetTotals(here, parts.encryption);
    this.#serviceTotals = new FleetServiceTotals(parts.version, here, () => parts.scripts.counters, parts.beside);
    const { config, version, owners, front, gateways } = parts;
    this.lookout = fleetLookout({
      ...parts,
      wallClock: this.#wallClock,
      gateways: here,
      counters: this.#totals.sources.core,
      place: () => this.#api?.place ?? "",
    });
    const own = new OperatorDesk(this.#operator(here), (entry) => logAudit(parts.log, entry));
    this.#desk = new FleetDesk({
      ...{ config, version, owners, gateways, own },
      front: front.counters,
      facts: () => this.facts(),
      knocks: () => this.lookout.installation.knocks.all.length,
      uptimeSeconds: () => this.#uptimeSeconds,
    });
  }

  /** For commands about the process. Of those about devices, it has only the list of devices. */
  #operator(gateways: () => readonly Gateway[]): Operator {
    const now = () => performance.now();
    const installation: Installation = {
      ...this.lookout.installation,
      fleet: () => this.facts(),
      leave: () => this.#parts.drain(),
    };
    const views = new RememberedViews(now);
    const all = { sessions: () => sessionsOf(gateways()) };
    return {
      ...createOperator(
        nobodysCore(this.#parts.config()),
        new MemoryStore(),
        { handle: () => {} },
        now,
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
      devices: (query) => pageOf(all, installation, views, query),
    };
  }

  get #uptimeSeconds(): number {
    return Math.floor((performance.now() - this.#startedAt) / 1_000);
  }

  /** If a port cannot be opened, the log says so, and the gateway runs without it. */
  async start(): Promise<void> {
    const { api, store } = this.#parts.config();
    const { log } = this.#parts;
    if (api.enabled) {
      const said = (who: string, what: string) => logAudit(log, { who, command: "console", input: "", outcome: what });
      const console = api.console ? this.lookout.console(this.#desk, said) : undefined;
      const server = new ApiServer(api, this.#sources(), console);
      if (await this.#started(server)) {
        this.#api = server;
        this.lookout.start();
        log.info(`health and metrics at ${server.place}`);
        if (console) log.info(`console at ${server.place}/ (for a link that logs in: mqtt-sn-gateway console)`);
      }
    }
    mkdirSync(store.folder, { recursive: true, mode: 0o700 });
    const control = new ControlServer(join(store.folder, "control.sock"), this.#desk);
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

  /** See `Gateway.consoleLink`. */
  consoleLink(): readonly string[] | string {
    return this.lookout.installation.link("operator");
  }

  async close(): Promise<void> {
    this.lookout.stop();
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

/** A core without sessions, because commands about the process need none. */
function nobodysCore(config: GatewayConfig): GatewayCore {
  return new GatewayCore(coreOptions(shardConfig(config, 0), admitAll), {
    maxMessageBytes: () => 0,
    hostOf: () => "",
    identityOf: (peer) => ({ name: peer, by: "address", verified: false }),
    wallClock: () => undefined,
    random: () => 0,
  });
}
