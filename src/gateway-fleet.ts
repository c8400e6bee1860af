/**
 * Part of the composition root: a process of a fleet. It has the networks in front, the socket between gateways, and a
 * gateway for each shard that it owns. Parts that exist once in a process (health, metrics, commands) are in
 * gateway-fleet-service.ts.
 */
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Managed } from "./config/managed.ts";
import type { GatewayConfig } from "./config/schema.ts";
import { readScripts } from "./config/scripts.ts";
import { fleetPrefix, ownIdsOfFleet, shardConfig, shardPrefix } from "./config/shard-config.ts";
import { datagramWords } from "./core/dialects/glance.ts";
import { GatewayError } from "./errors.ts";
import { RedisAddressBook } from "./fleet/address-book.ts";
import type { Claim } from "./fleet/claim.ts";
import { Front } from "./fleet/front.ts";
import { ownPlace } from "./fleet/own-place.ts";
import { Owners } from "./fleet/owners.ts";
import { Gateway, type StartProgress } from "./gateway.ts";
import { FleetNetworks } from "./gateway-fleet-dtls.ts";
import { FleetService } from "./gateway-fleet-service.ts";
import { FleetStatus } from "./gateway-fleet-status.ts";
import { ownVersion } from "./gateway-parts.ts";
import { ScriptProcess } from "./gateway-scripts.ts";
import type { Log } from "./observe/log.ts";
import { EpochFile } from "./storage/epoch-file.ts";
import { newRun } from "./storage/redis.ts";
import { RedisBook } from "./storage/redis-book.ts";
import { RedisFleet } from "./storage/redis-fleet.ts";
import { SharedRedis } from "./storage/redis-source.ts";
import { createTransport } from "./transports/index.ts";
import { systemTimers } from "./transports/timers.ts";
import type { TurnedAway } from "./transports/transport.ts";
import { udpOptions } from "./transports/udp-options.ts";
import { readSecret } from "./upstream/credentials.ts";

/** A server that does not answer within this time counts as unreachable. */
const answerMsMax = 5_000;
/**
 * Connections to Redis for the stores of all shards. If commits wait for replicas, each one occupies its connection
 * meanwhile.
 */
const connections = 2;
const connectionsWaiting = 8;
/** Usually this gateway serves all its shards within this time. */
const firstLookMs = 3_000;
const lookEveryMs = 25;
const answerMs = 200;

interface Running {
  readonly gateway: Gateway;
  readonly claim: Claim;
}

export class FleetGateway {
  #config: GatewayConfig;
  readonly #log: Log;
  readonly #file: string | undefined;
  readonly #drained: (say: string) => void;
  readonly #managed: Managed;
  /** The real transports, and what encrypts them. */
  readonly #networks: FleetNetworks;
  readonly #leases: SharedRedis;
  readonly #stores: SharedRedis;
  readonly #run = newRun();
  readonly #owners: Owners;
  readonly #front: Front;
  readonly #running = new Map<number, Running>();
  readonly #reservedIds: ReturnType<typeof ownIdsOfFleet>;
  readonly #scripts: ScriptProcess;
  readonly #status: FleetStatus;
  readonly #service: FleetService;
  readonly #noticed = new Set<string>();
  #stopping: Promise<void> | undefined;
  #hasStarted = false;

  /**
   * @param file the path of the configuration, for people
   * @param place where the other gateways reach this one; see `placeInFleet`
   * @param drained called once, when this gateway has handed over all its shards. Its process must stop, and may be
   * started again.
   * @throws {GatewayError} when files or secrets that the configuration names cannot be read.
   */
  constructor(
    config: GatewayConfig,
    log: Log,
    file: string | undefined,
    place: string,
    drained: (say: string) => void,
  ) {
    this.#config = config;
    this.#log = log;
    this.#file = file;
    this.#drained = drained;
    const { fleet, store } = config;
    if (fleet.listen === undefined)
      throw new GatewayError("ERR_CONFIG_INVALID", { problems: ["fleet.listen: is missing"] });
    const { redis } = store;
    const password = () => redis.password && readSecret(redis.password);
    password(); // if the key cannot be read, the error is thrown now
    const leaseMs = fleet.leaseSeconds * 1_000;
    const version = ownVersion();
    const name = fleet.name ?? hostname();
    const self = { name, run: this.#run, place, version, isDraining: false };
    const told = (level: "debug" | "info" | "warn" | "error", say: string) => log[level](`fleet: ${say}`);
    // Renewals have their own connection, so that they do not wait behind a large read.
    this.#leases = new SharedRedis(redis, password, leaseMs / 2, 1);
    this.#stores = new SharedRedis(
      redis,
      password,
      answerMsMax,
      redis.waitReplicas > 0 ? connectionsWaiting : connections,
    );
    this.#managed = new Managed(store);
    this.#reservedIds = ownIdsOfFleet(config);
    const prefixOf = (shard: number | undefined) =>
      shard === undefined ? fleetPrefix(config) : shardPrefix(config, shard);
    this.#owners = new Owners({
      shards: fleet.shards,
      self,
      leaseMs,
      server: new RedisFleet(redis, this.#leases, { name, run: this.#run, leaseMs, version }, fleet.shards, prefixOf),
      host: {
        open: (claim) => this.#open(claim),
        close: (shard) => this.#close(shard),
        drop: (shard) => this.#drop(shard),
      },
      memory: new EpochFile(join(store.folder, "fleet-epochs"), (say) => told("warn", say)),
      timers: systemTimers,
      told,
    });
    const key = fleet.key && Buffer.from(readSecret(fleet.key));
    this.#networks = new FleetNetworks(config, key, this.#turnedAway);
    const { transports, doors } = this.#networks;
    this.#front = new Front({
      name,
      transports,
      doors,
      ownership: this.#owners,
      book: new RedisAddressBook({
        // Uses a connection that the stores use, too.
        server: new RedisBook(() => this.#stores.open()),
        prefix: fleetPrefix(config),
      }),
      words: datagramWords,
      between: { carrier: createTransport(betweenOptions(fleet.listen)), key: () => key, run: this.#run },
      timers: systemTimers,
      told,
      retryMs: retryMsMin(config),
    });
    this.#scripts = new ScriptProcess(config, (level, say) => log[level](say));
    this.#status = new FleetStatus(config, { log, managed: this.#managed, scripts: this.#scripts });
    this.#service = new FleetService({
      config: () => this.#config,
      log,
      version,
      file,
      managed: this.#managed,
      owners: this.#owners,
      front: this.#front,
      transports,
      encryption: () => this.#networks.reports(),
      scripts: this.#scripts,
      beside: () => this.#status.upstreams,
      gateways: () => new Map([...this.#running].map(([shard, { gateway }]) => [shard, gateway])),
      serves: () => this.serves,
      drain: () => this.#drain(),
      reload: (changed) => this.reload(changed),
    });
  }

  /**
   * Resolves when the shards that this gateway has by then are served; further shards come later.
   * @throws {GatewayError} when a port cannot be opened, or a script cannot be read. Nothing is left running then.
   */
  async start(_progress: StartProgress = () => {}): Promise<void> {
    try {
      this.#networks.read();
      for (const warning of this.#networks.warnings) this.#log.warn(`fleet: ${warning}`);
      await this.#scripts.start(readScripts(this.#config.payloads));
      await this.#service.start();
      await this.#front.start();
      await this.#status.start();
    } catch (error) {
      await this.stop();
      throw error;
    }
    this.#owners.start();
    for (let waited = 0; waited < firstLookMs && !this.#owners.isSettled; waited += lookEveryMs)
      await sleep(lookEveryMs);
    this.#hasStarted = true;
  }

  /** True if it has taken over the shards that it could, and receives datagrams. */
  get serves(): boolean {
    return this.#hasStarted && this.#stopping === undefined && (this.#owners.serving > 0 || this.#owners.isSettled);
  }

  /** A gateway of a fleet never stands by. */
  async takenOver(): Promise<void> {}

  pair(): undefined {}

  consoleLink(): readonly string[] | string {
    return this.#service.consoleLink();
  }

  /**
   * Reloads the configuration of each shard, and scripts, keys and certificates of devices once for all; see
   * `Gateway.reload`. If something cannot be read, everything else is reloaded before the error is thrown; shards that
   * are opened later begin with the earlier configuration.
   */
  reload(config: GatewayConfig): readonly string[] {
    const scripts = readScripts(config.payloads); // if one cannot be read, nothing is changed
    this.#scripts.load(scripts);
    const restart = new Set<string>(this.#service.needRestart(config));
    const failures: unknown[] = [];
    const attempt = (work: () => void): void => {
      try {
        work();
      } catch (error) {
        failures.push(error);
      }
    };
    attempt(() => this.#networks.read());
    for (const [shard, { gateway }] of this.#running)
      attempt(() => {
        for (const each of gateway.reload(shardConfig(config, shard))) restart.add(each);
      });
    attempt(() => this.#status.reload(config));
    this.#log.level = config.log.level;
    if (failures.length > 0) throw failures[0];
    this.#config = this.#service.afterReload(config);
    return [...restart];
  }

  /** Releases all shards, several at a time, and ends within a few seconds; idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  async #stop(): Promise<void> {
    await this.#owners.stop();
    for (const shard of [...this.#running.keys()]) this.#drop(shard);
    await this.#status.stop();
    await this.#front.close();
    await this.#service.close();
    await this.#scripts.close();
    this.#leases.close();
    this.#stores.close();
  }

  async #drain(): Promise<{ readonly shards: number } | string> {
    const began = performance.now();
    const drained = await this.#owners.drain();
    if (typeof drained === "string") return drained;
    const milliseconds = Math.round(performance.now() - began);
    const say = `drained: ${drained.shards} shards were handed over within ${milliseconds} ms`;
    setTimeout(() => this.#drained(say), answerMs); // the client of the command reads the answer first
    return drained;
  }

  async #open(claim: Claim): Promise<void> {
    const { shard, epoch } = claim;
    const config = shardConfig(this.#config, shard);
    const gateway = new Gateway(config, this.#log.child({ shard }), this.#file, undefined, undefined, {
      transports: this.#networks.ofShard(config, this.#front.transportsOf(shard)),
      managed: this.#managed,
      member: {
        run: this.#run,
        epoch: () => epoch,
        fenced: () => claim.lost("the store has a later epoch: another gateway has taken it over"),
      },
      owns: () => claim.owns(),
      redis: this.#stores,
      scripts: this.#scripts,
      reservedIds: this.#reservedIds,
      noticed: (say) => this.#notice(say),
      turnedAway: this.#turnedAway,
      page: this.#service.lookout.live,
      report: this.#service.lookout.report,
    });
    this.#running.set(shard, { gateway, claim });
    await gateway.start();
    this.#log.debug(`fleet: shard ${shard} is served here, epoch ${epoch}`);
  }

  async #close(shard: number): Promise<void> {
    const running = this.#running.get(shard);
    if (!running) return;
    await running.gateway.stop();
    this.#forget(shard, running);
  }

  #drop(shard: number): void {
    const running = this.#running.get(shard);
    if (!running) return;
    running.gateway.abandon();
    this.#forget(shard, running);
  }

  /** Keys of a fleet's devices are in files, so no command can add one. */
  readonly #turnedAway = (refusal: TurnedAway): void => this.#service.lookout.turnedAway(refusal, false);

  #forget(shard: number, running: Running): void {
    if (this.#running.get(shard) !== running) return;
    this.#running.delete(shard);
    this.#service.retire(running.gateway);
  }

  /** Each shard's store reports on the same server. An equal report is logged only once. */
  #notice(say: string): void {
    const { redis } = this.#config.store;
    const once = say.replaceAll(new RegExp(`${escaped(redis.prefix)}/s\\d+`, "g"), redis.prefix);
    if (this.#noticed.has(once)) return;
    this.#noticed.add(once);
    this.#log.error(`store: ${once}`);
  }
}

/**
 * The address and port where the other gateways of the fleet reach this one.
 * @throws {GatewayError} ERR_TRANSPORT_OPEN when it is not configured and cannot be found out: there is no route to
 * Redis, or no address of its name.
 */
export async function placeInFleet({ fleet, store }: GatewayConfig): Promise<string> {
  const { announce, listen = "" } = fleet;
  try {
    return announce ?? (await ownPlace(listen, store.redis.url));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const say = `fleet.announce is not set, and the address from which this machine reaches Redis cannot be found out: ${why}`;
    throw new GatewayError("ERR_TRANSPORT_OPEN", {}, { cause, say });
  }
}

function betweenOptions(listen: string) {
  const [, host = "", port = ""] = /^\[?([^\]]*?)\]?:(\d+)$/.exec(listen) ?? [];
  return udpOptions.parse({ type: "udp", name: "between", host, port: Number(port) });
}

/** The shortest time after which any device gets a repetition. */
function retryMsMin({ retry }: GatewayConfig): number {
  const { intervalSeconds, rules } = retry;
  return Math.min(intervalSeconds, ...rules.map((rule) => rule.intervalSeconds ?? intervalSeconds)) * 1_000;
}

function escaped(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
}
