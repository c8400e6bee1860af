/**
 * Part of the composition root: the parts of one gateway, and how they refer to each other. Nothing runs yet when they
 * are made; gateway.ts starts and ends them.
 */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { Managed, managedKeys } from "./config/managed.ts";
import type { GatewayConfig } from "./config/schema.ts";
import { payloadStart } from "./core/dialects/payload-start.ts";
import type { GatewayEvent } from "./core/event.ts";
import { GatewayCore } from "./core/gateway-core.ts";
import type { CoreOptions } from "./core/options.ts";
import type { PeerId } from "./core/types.ts";
import { openQuickAck, openReads, openRing } from "./gateway-brokers.ts";
import { Lookout } from "./gateway-console.ts";
import { Desk } from "./gateway-desk.ts";
import { OwnConnections } from "./gateway-own-connections.ts";
import { type Drained, Pair } from "./gateway-pair.ts";
import { Settings } from "./gateway-settings.ts";
import type { ShardParts } from "./gateway-shard.ts";
import { createStore } from "./gateway-store.ts";
import { Vitals } from "./gateway-vitals.ts";
import type { Live } from "./observe/live.ts";
import type { Log } from "./observe/log.ts";
import { ReportLog } from "./observe/reports.ts";
import { Wakings } from "./observe/wakings.ts";
import { microsecondClock, SystemClock } from "./runtime/clock.ts";
import { CommitWatch } from "./runtime/commit-watch.ts";
import { Driver } from "./runtime/driver.ts";
import type { DrivenStore } from "./runtime/perform.ts";
import { transportOf } from "./runtime/perform.ts";
import { Steps } from "./runtime/steps.ts";
import { Tap } from "./runtime/tap.ts";
import { WallClock } from "./runtime/wall-clock.ts";
import { secureKeeper } from "./storage/secure-keeper.ts";
import type { Store } from "./storage/store.ts";
import { createTransport } from "./transports/index.ts";
import { systemTimers } from "./transports/timers.ts";
import type { Transport } from "./transports/transport.ts";
import type { Upstream } from "./upstream/link.ts";
import { MqttUpstream } from "./upstream/mqtt-upstream.ts";
import type { UpstreamOptions } from "./upstream/options.ts";
import type { TcpReads } from "./upstream/tcp-reads.ts";
import type { TcpRing } from "./upstream/tcp-ring.ts";
import { TurnEnd } from "./upstream/turn-end.ts";
import { Upstreams } from "./upstream/upstreams.ts";
import type { WireOctets } from "./upstream/wire-octets.ts";

/** A random number from 0 to just below 1. */
const randomShare = () => randomInt(2 ** 32) / 2 ** 32;

/** What the parts need from the gateway that starts and ends them. */
export interface PartsOwner {
  /** Devices are answered. */
  serves(): boolean;
  /** This gateway of a pair is not active any more, and must send nothing. */
  lost(why: string): void;
  /** Takes over the settings that can change while running. Returns the sections that need a restart. */
  reload(config: GatewayConfig): readonly string[];
  /** Hands over to the other gateway of the pair, or returns the reason why not. */
  drain(): Promise<Drained | string>;
  /** A step before the gateway serves, and its progress. */
  progress(what: string, done: number): void;
}

export class GatewayParts {
  readonly settings: Settings;
  readonly managed: Managed;
  readonly lookout: Lookout;
  readonly vitals: Vitals;
  readonly log: Log;
  readonly reports: ReportLog;
  readonly transports = new Map<string, Transport>();
  /** The upstreams by name; "" is the default one. */
  readonly mqtt: ReadonlyMap<string, MqttUpstream>;
  readonly upstream: Upstream;
  readonly store: Store;
  readonly core: GatewayCore;
  readonly driver: Driver;
  readonly tap: Tap;
  readonly clock = new SystemClock();
  readonly wallClock = new WallClock();
  readonly turnEnd: TurnEnd;
  readonly pair: Pair | undefined;
  /** Whether this gateway may send. Undefined: it always may. */
  readonly owns: (() => boolean) | undefined;
  readonly ring: TcpRing | undefined;
  readonly reads: TcpReads | undefined;
  readonly commits = new CommitWatch(() => this.clock.now());
  readonly steps = new Steps(() => this.clock.now());
  readonly wakings = new Wakings(() => this.clock.now());
  readonly own: OwnConnections;
  readonly desk: Desk;
  readonly #owner: PartsOwner;

  /**
   * @param file the path of the configuration, for people
   * @param shard set for the gateway of a shard in a fleet
   * @throws {GatewayError} when files or secrets that the configuration names cannot be read.
   */
  constructor(
    config: GatewayConfig,
    log: Log,
    file: string | undefined,
    shard: ShardParts | undefined,
    owner: PartsOwner,
  ) {
    this.#owner = owner;
    const version = ownVersion();
    this.pair = Pair.of(config, {
      version,
      told: (level, say) => log[level](`pair: ${say}`),
      lost: (why) => owner.lost(why),
    });
    this.owns = shard?.owns ?? this.pair?.owns;
    this.turnEnd = new TurnEnd(this.owns);
    this.log = log;
    this.managed = shard?.managed ?? new Managed(config.store);
    for (const each of shard?.transports ?? config.transports.map(createTransport))
      this.transports.set(each.name, each);
    const upstreams = [config.upstream, ...config.upstreams];
    this.ring = openRing(upstreams, this.turnEnd, log);
    const batch = (work: () => void) => this.steps.measure("input", () => this.turnEnd.around(work));
    this.reads = openReads(upstreams, batch, log);
    const together = { ring: this.ring, reads: this.reads, quickAck: openQuickAck(upstreams, log) };
    const upstream = (options: UpstreamOptions) =>
      new MqttUpstream(options, this.wallClock, randomShare, this.turnEnd, together);
    const named = config.upstreams.map((options) => [options.name, upstream(options)] as const);
    const general = upstream(config.upstream);
    this.mqtt = new Map([["", general], ...named]);
    this.upstream = named.length === 0 ? general : new Upstreams(this.mqtt);
    this.own = this.#newOwnConnections(config, version, general.counters.wire);
    this.settings = this.#newSettings(config, shard?.scripts);
    const options = { ...this.settings.coreOptions(), ...(shard && { reservedIds: shard.reservedIds }) };
    this.core = this.#newCore(options);
    this.reports = new ReportLog(log);
    const looked = (records: number) => owner.progress("checking the store", records);
    this.store = createStore(config.store, log, shard?.member ?? this.pair?.member, looked, shard?.redis);
    const watched = this.commits.watched(this.store);
    for (const each of this.transports.values()) {
      if (this.owns) each.sendsWhile?.(this.owns);
      each.takeKeys?.(() => managedKeys(this.managed));
      if (config.store.kind !== "memory") each.keepBondsIn?.(config.store.folder);
      each.keepBy?.(secureKeeper(each.name, this.store, (changes, done) => watched.commit(changes, done)));
    }
    this.vitals = this.#newVitals(version);
    this.lookout = this.#newLookout(version, file);
    this.tap = this.#newTap(shard?.page ?? this.lookout.live);
    this.driver = this.#newDriver(watched, shard?.report);
    this.desk = this.#newDesk();
    this.settings.loadScripts(options.payloads);
  }

  #newOwnConnections(config: GatewayConfig, version: string, wire: WireOctets): OwnConnections {
    return new OwnConnections(config, {
      version,
      core: () => this.core,
      handle: (input) => this.driver.handle(input),
      ask: (who, name, query) => this.desk.operator().ask(who, name, query),
      now: () => this.clock.now(),
      wallClock: () => this.wallClock.now(),
      told: (level, say) => this.log[level](say),
      random: randomShare,
      wire,
    });
  }

  #newSettings(config: GatewayConfig, sharedScripts: ShardParts["scripts"] | undefined): Settings {
    return new Settings(config, {
      managed: this.managed,
      transports: this.transports,
      core: () => this.core,
      submit: (input) => this.driver.handle(input),
      watching: (declared) => this.own.watching(declared),
      sharedScripts,
      told: (level, say) => this.log[level](say),
      wallClock: () => this.wallClock.now(),
    });
  }

  #newCore(options: CoreOptions): GatewayCore {
    const transport = (peer: PeerId) => transportOf(peer, this.transports);
    return new GatewayCore(options, {
      maxMessageBytes: (peer) => transport(peer).maxMessageBytes(peer),
      hostOf: (peer) => this.settings.hostOf(peer),
      identityOf: (peer) => transport(peer).identityOf(peer),
      rssiOf: (peer) => transport(peer).rssiOf?.(peer),
      wallClock: () => this.wallClock.trusted(),
      random: randomShare,
    });
  }

  #newVitals(version: string): Vitals {
    return new Vitals({
      core: this.core,
      transports: this.transports,
      mqtt: this.mqtt,
      store: this.store,
      log: this.log,
      version,
      now: () => this.clock.now(),
      wallClock: this.wallClock,
      commits: this.commits,
      wakings: this.wakings,
      steps: this.steps,
      scripts: () => this.settings.scripts?.counters,
      serves: () => this.#owner.serves(),
      pair: () => this.pair?.facts(),
    });
  }

  #newLookout(version: string, file: string | undefined): Lookout {
    return new Lookout({
      core: this.core,
      transports: this.transports,
      managed: this.managed,
      wallClock: this.wallClock,
      version,
      file,
      now: () => this.clock.now(),
      config: () => this.settings.config,
      scriptValue: (way, clientId, topicName, payload) =>
        this.settings.scripts?.values.of(way, clientId, topicName, payload),
      accessChanged: () => this.settings.accessChanged(),
      predefinedChanged: () => this.settings.predefinedChanged(),
      wakingsOf: (clientId) => this.wakings.of(clientId),
      reload: (changed) => this.#owner.reload(changed),
      place: () => this.desk.place,
      pair: () => this.pair?.facts(),
      drain: () => this.#owner.drain(),
      octets: () => new Map([...this.mqtt].map(([name, { counters }]) => [name, counters.wire.total])),
    });
  }

  #newTap(page: Pick<Live, "tap">): Tap {
    return new Tap({
      transports: [...this.transports.keys()],
      timers: systemTimers,
      wallClockUs: microsecondClock(),
      whoSays: (from, bytes) => this.core.whoSays(from, bytes),
      clientAt: (peer) => this.core.clientAt(peer),
      payloadStart,
      saidIn: (way, clientId, bytes) => this.lookout.live.valueIn(way, clientId, bytes),
      page,
    });
  }

  #newDriver(store: DrivenStore, reported: ((event: GatewayEvent) => void) | undefined): Driver {
    const edges = {
      transports: this.transports,
      upstream: this.upstream,
      store,
      tap: this.tap,
      report: (event: GatewayEvent) => {
        this.wakings.see(event);
        this.lookout.report(event);
        this.reports.report(event);
        reported?.(event);
        this.own.happened(event);
      },
    };
    return new Driver(this.core, edges, this.clock, { owns: this.owns, steps: this.steps });
  }

  #newDesk(): Desk {
    return new Desk({
      log: this.log,
      core: this.core,
      store: this.store,
      transports: this.transports,
      lookout: this.lookout,
      vitals: this.vitals,
      capture: (options) => this.tap.capture(options),
      orders: {
        handle: (input) => this.driver.handle(input),
        answersFor: async (letters) => this.settings.scripts?.stage.answersFor(letters),
      },
      now: () => this.clock.now(),
      saysWhyNot: () => this.pair?.saysWhyNot(),
    });
  }
}

export function ownVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
