/** The composition root: makes a running gateway from a configuration. It is the only place that knows all parts. */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { Managed, managedKeys } from "./config/managed.ts";
import type { GatewayConfig } from "./config/schema.ts";
import { payloadStart } from "./core/dialects/payload-start.ts";
import type { GatewayEvent } from "./core/event.ts";
import { GatewayCore, type SessionView } from "./core/gateway-core.ts";
import type { Input } from "./core/input.ts";
import type { CoreOptions } from "./core/options.ts";
import type { PeerId } from "./core/types.ts";
import { openRing, openTryOutBroker, upstreamInputs } from "./gateway-brokers.ts";
import { Lookout } from "./gateway-console.ts";
import { Desk } from "./gateway-desk.ts";
import { OwnConnections } from "./gateway-own-connections.ts";
import { type Drained, Pair } from "./gateway-pair.ts";
import { Settings } from "./gateway-settings.ts";
import type { ShardParts } from "./gateway-shard.ts";
import { createStore, openStore } from "./gateway-store.ts";
import { type Health, type NamedSecureReport, Vitals } from "./gateway-vitals.ts";
import type { Log } from "./observe/log.ts";
import { ReportLog } from "./observe/reports.ts";
import { Wakings } from "./observe/wakings.ts";
import { microsecondClock, SystemClock } from "./runtime/clock.ts";
import type { Answer } from "./runtime/command.ts";
import type { CommandName } from "./runtime/commands.ts";
import { CommitWatch } from "./runtime/commit-watch.ts";
import type { Asker } from "./runtime/desk.ts";
import { Driver } from "./runtime/driver.ts";
import { transportOf } from "./runtime/perform.ts";
import { restore } from "./runtime/restore.ts";
import { Steps } from "./runtime/steps.ts";
import { Tap } from "./runtime/tap.ts";
import { WallClock } from "./runtime/wall-clock.ts";
import type { PairFacts } from "./storage/lease.ts";
import { secureKeeper } from "./storage/secure-keeper.ts";
import type { Store, StoreReport } from "./storage/store.ts";
import { createTransport } from "./transports/index.ts";
import { systemTimers } from "./transports/timers.ts";
import type { LinkReport, Transport } from "./transports/transport.ts";
import type { TryOutBroker } from "./tryout-broker.ts";
import type { Upstream, UpstreamEvents } from "./upstream/link.ts";
import { MqttUpstream } from "./upstream/mqtt-upstream.ts";
import type { UpstreamOptions } from "./upstream/options.ts";
import type { TcpRing } from "./upstream/tcp-ring.ts";
import { TurnEnd } from "./upstream/turn-end.ts";
import { Upstreams } from "./upstream/upstreams.ts";
import type { WireOctets } from "./upstream/wire-octets.ts";

/** Time for DISCONNECT and FIN of every connection at the end. */
const shutdownMs = 3_000;
/** Milliseconds for the client of a command to read the answer, before the process ends. */
const answerMs = 200;
/** A gateway of a pair that starts alone usually serves within this time; otherwise it stands by. */
const firstLookMs = 1_000;

/** A random number from 0 to just below 1. */
const randomShare = () => randomInt(2 ** 32) / 2 ** 32;

/** Called with each step before the gateway serves, and its progress. */
export type StartProgress = (what: string, done: number) => void;

export class Gateway {
  readonly #settings: Settings;
  readonly #managed: Managed;
  readonly #lookout: Lookout;
  readonly #vitals: Vitals;
  readonly #log: Log;
  readonly #reports: ReportLog;
  readonly #transports = new Map<string, Transport>();
  /** The upstreams by name; "" is the default one. */
  readonly #mqtt: ReadonlyMap<string, MqttUpstream>;
  readonly #upstream: Upstream;
  readonly #store: Store;
  readonly #core: GatewayCore;
  readonly #driver: Driver;
  readonly #tap: Tap;
  readonly #clock = new SystemClock();
  readonly #wallClock = new WallClock();
  readonly #turnEnd: TurnEnd;
  readonly #pair: Pair | undefined;
  readonly #shard: ShardParts | undefined;
  readonly #owns: (() => boolean) | undefined;
  #isAbandoned = false;
  #takingOver: Promise<void> = Promise.resolve();
  readonly #ring: TcpRing | undefined;
  readonly #commits = new CommitWatch(() => this.#clock.now());
  readonly #steps = new Steps(() => this.#clock.now());
  readonly #wakings = new Wakings(() => this.#clock.now());
  #serves = false;
  #progress: StartProgress = () => {};
  readonly #own: OwnConnections;
  readonly #desk: Desk;
  #broker: TryOutBroker | undefined;
  #stopping: Promise<void> | undefined;
  #silence: Promise<void> | undefined;
  readonly #drained: (say: string) => void;

  /**
   * @param file the path of the configuration, for people
   * @param lost called once, when this gateway of a pair is not active any more, and does not stand by either. Its
   * process must end at once without sending anything, and must be started again.
   * @param drained called once, when this gateway of a pair has handed over. Its process must stop, and must be started
   * again.
   * @param shard set for the gateway of a shard in a fleet. It then opens no API, no control socket and no network of
   * its own.
   * @throws {GatewayError} when files or secrets that the configuration names cannot be read.
   */
  constructor(
    config: GatewayConfig,
    log: Log,
    file?: string,
    lost: (why: string) => void = () => {},
    drained: (say: string) => void = () => {},
    shard?: ShardParts,
  ) {
    this.#shard = shard;
    this.#drained = drained;
    const version = ownVersion();
    this.#pair = Pair.of(config, {
      version,
      told: (level, say) => log[level](`pair: ${say}`),
      lost: (why) => {
        this.#serves = false;
        this.#driver.stop();
        lost(why);
      },
    });
    this.#owns = shard?.owns ?? this.#pair?.owns;
    this.#turnEnd = new TurnEnd(this.#owns);
    this.#log = log;
    this.#managed = shard?.managed ?? new Managed(config.store);
    for (const each of shard?.transports ?? config.transports.map(createTransport))
      this.#transports.set(each.name, each);
    this.#ring = openRing([config.upstream, ...config.upstreams], this.#turnEnd, log);
    const upstream = (options: UpstreamOptions) =>
      new MqttUpstream(options, this.#wallClock, randomShare, this.#turnEnd, this.#ring);
    const named = config.upstreams.map((options) => [options.name, upstream(options)] as const);
    const general = upstream(config.upstream);
    this.#mqtt = new Map([["", general], ...named]);
    this.#upstream = named.length === 0 ? general : new Upstreams(this.#mqtt);
    this.#own = this.#newOwnConnections(config, version, general.counters.wire);
    this.#settings = this.#newSettings(config);
    const options = { ...this.#settings.coreOptions(), ...(shard && { reservedIds: shard.reservedIds }) };
    this.#core = this.#newCore(options);
    this.#reports = new ReportLog(log);
    const looked = (records: number) => this.#progress("checking the store", records);
    this.#store = createStore(config.store, log, shard?.member ?? this.#pair?.member, looked, shard?.redis);
    const watched = this.#commits.watched(this.#store);
    for (const each of this.#transports.values()) {
      if (this.#owns) each.sendsWhile?.(this.#owns);
      each.takeKeys?.(() => managedKeys(this.#managed));
      if (config.store.kind !== "memory") each.keepBondsIn?.(config.store.folder);
      each.keepBy?.(secureKeeper(each.name, this.#store, (changes, done) => watched.commit(changes, done)));
    }
    this.#vitals = this.#newVitals(version);
    this.#lookout = this.#newLookout(version, file);
    this.#tap = this.#newTap();
    this.#driver = this.#newDriver(watched);
    this.#desk = this.#newDesk();
    this.#settings.loadScripts(options.payloads);
  }

  /**
   * Resolves when the gateway serves. A gateway of a pair may stand by then, and serves when `takenOver` resolves.
   * @throws {GatewayError} when a port cannot be opened, or the try-out broker not started. Nothing is left running
   * then.
   */
  async start(progress: StartProgress = () => {}): Promise<void> {
    this.#progress = progress;
    if (this.#shard) {
      try {
        return await this.#serve();
      } catch (error) {
        this.abandon();
        throw error;
      }
    }
    try {
      if (this.#pair) {
        await this.#desk.start(this.#settings.config);
        this.#takingOver = this.#takeOver(this.#pair);
        // A gateway without an active partner soon serves, so the start waits for this time.
        await Promise.race([this.#takingOver, sleep(firstLookMs)]);
        return;
      }
      this.#broker = await openTryOutBroker(this.#settings.config, this.#log);
      await this.#serve();
      await this.#desk.start(this.#settings.config);
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /**
   * Resolves when this gateway serves: immediately, or in a pair when it has become the active one. Fails as `start`.
   */
  takenOver(): Promise<void> {
    return this.#takingOver;
  }

  /** Undefined: this gateway is not part of a pair. */
  pair(): PairFacts | undefined {
    return this.#pair?.facts();
  }

  /** Hands over to the other gateway of the pair, or returns the reason why not. */
  async #drain(): Promise<Drained | string> {
    if (!this.#pair) return "this gateway does not belong to a pair (store.pair)";
    if (this.#pair.owns() && !this.#serves)
      return "this gateway has just taken over, and reads the sessions; try again";
    const silence = async () => {
      await this.#fallSilent();
      await this.#store.close();
    };
    return this.#pair.drain(silence, (say) => setTimeout(() => this.#drained(say), answerMs));
  }

  /** Devices are answered. */
  get serves(): boolean {
    return this.#serves;
  }

  async #takeOver(pair: Pair): Promise<void> {
    const epoch = await pair.acquire();
    if (epoch === undefined) return;
    const began = this.#clock.now();
    this.#log.info(`pair: ${pair.facts().name} is active now, epoch ${epoch}. It reads all sessions, then it serves`);
    await this.#serve();
    this.#log.info(`pair: it serves, ${Math.round(this.#clock.now() - began)} ms after it became active`);
  }

  async #serve(): Promise<void> {
    const noticed = this.#shard?.noticed ?? ((say: string) => this.#log.error(`store: ${say}`));
    const highest = await openStore(this.#store, this.#log, { noticed, isGivenUp: () => this.#isAbandoned });
    await this.#settings.startScripts();
    const notice: UpstreamEvents["notice"] = (level, say, kind) => this.#reports.notice(level, say, kind);
    await this.#upstream.start(upstreamInputs((input) => this.#handle(input), notice));
    await this.#restore(highest);
    // A gateway of a pair may be told to end while it reads the sessions.
    if (this.#stopping || this.#isAbandoned) return;
    this.#driver.start();
    this.#watchClock();
    for (const transport of this.#transports.values()) await this.#startTransport(transport);
    if (this.#isAbandoned) return this.abandon();
    this.#serves = true;
    this.#own.start();
  }

  /**
   * Another gateway owns this shard, or may own it. Nothing is sent any more, beginning before this call returns.
   * Devices and brokers get no message, and connections are destroyed without DISCONNECT.
   */
  abandon(): void {
    this.#isAbandoned = true;
    this.#serves = false;
    this.#driver.stop();
    this.#wallClock.stop();
    for (const upstream of this.#mqtt.values()) upstream.tear();
    for (const transport of this.#transports.values()) void transport.close();
    this.#store.abandon?.();
    this.#tap.close();
    this.#lookout.stop();
  }

  /** Executes one command of the operator here. */
  ask(who: Asker, name: CommandName, query: URLSearchParams): Promise<Answer> {
    return this.#desk.operator().ask(who, name, query);
  }

  /** The sources of probes and metrics, for a caller that adds several gateways. */
  get vitals(): Vitals {
    return this.#vitals;
  }

  /** Ends in order, within a few seconds; idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /**
   * Takes over the settings that can change while running: predefined topics, access rules, payloads, credentials and
   * certificates, the log level.
   * @returns the sections that take effect only after a restart
   * @throws {GatewayError} when secrets or certificates cannot be read; only those keep their old values then. When a
   * script cannot be read, nothing is changed.
   */
  reload(config: GatewayConfig): readonly string[] {
    const restart = this.#settings.reload(config);
    this.#log.level = config.log.level;
    for (const transport of this.#transports.values()) transport.reload?.();
    for (const [name, upstream] of this.#mqtt) {
      const options = name === "" ? config.upstream : config.upstreams.find((each) => each.name === name);
      if (options) upstream.reload(options);
    }
    this.#settings.taken(config);
    this.#own.reload(this.#settings.config);
    return restart;
  }

  health(): Health {
    return this.#vitals.health();
  }

  /** Every session, as it is now. */
  sessions(): SessionView[] {
    return [...this.#core.sessions()];
  }

  /** Networks whose devices have links, by the transport's name. */
  links(): (LinkReport & { readonly transport: string })[] {
    return this.#vitals.links();
  }

  /** The addresses of the transports, e.g. after listening on port 0. */
  places(): string[] {
    return [...this.#transports.values()].map(({ place }) => place);
  }

  /**
   * Addresses of the console for a browser, with a token for one login; a sentence: there is no console. For a terminal
   * only.
   */
  consoleLink(): readonly string[] | string {
    return this.#lookout.installation.link("operator");
  }

  /** The number of browsers that show the console now. */
  get browsersLooking(): number {
    return this.#lookout.live.watched;
  }

  /** The address that health and metrics are served at; "" = none. */
  get apiPlace(): string {
    return this.#desk.place;
  }

  /** Restores the sessions of an earlier run. */
  async #restore(highest: StoreReport["highest"]): Promise<void> {
    const { sessions, down, up } = await restore(this.#store, highest, {
      handle: (input) => this.#handle(input),
      hasTransport: (name) => this.#transports.has(name),
      pause: () => nextTurn(),
      progress: (sessions) => this.#progress("restoring sessions", sessions),
    });
    if (sessions > 0)
      this.#log.info(`${sessions} sessions were restored, with ${down} messages for devices and ${up} for the broker`);
  }

  async #startTransport(transport: Transport): Promise<void> {
    await transport.start({
      datagram: (from, bytes) => {
        this.#tap.heard(from, bytes);
        this.#handle({ kind: "datagram", from, bytes });
      },
      batch: (work) => this.#steps.measure("datagrams", () => this.#turnEnd.around(work)),
      peerGone: (peer) => this.#handle({ kind: "peerGone", peer }),
      failed: (error) => this.#log.error({ code: error.code, ...error.details }, error.message),
      notice: (level, say) => this.#log[level](say),
      turnedAway: (refusal) => this.#lookout.turnedAway(refusal),
    });
    if (this.#shard) return;
    for (const warning of transport.warnings) this.#log.warn(warning);
    this.#log.info(`MQTT-SN on ${transport.name} ${transport.place}`);
  }

  #watchClock(): void {
    const say = (clock: string) =>
      `the clock of this machine ${clock}: ${new Date(this.#wallClock.now()).toISOString()}`;
    if (this.#wallClock.trusted() === undefined) {
      this.#log.warn(`${say("cannot be trusted yet")}; messages do not age while the gateway is down`);
    }
    this.#wallClock.start(() => {
      this.#log.info(say("was set"));
      for (const upstream of this.#mqtt.values()) upstream.onClockSet();
      if (this.#wallClock.trusted() !== undefined) this.#handle({ kind: "clockSet" });
    });
  }

  /** A report for each transport that encrypts. */
  secureReports(): readonly NamedSecureReport[] {
    return this.#vitals.secureReports();
  }

  #handle(input: Input): void {
    this.#settings.handle(input);
  }

  /** Sends what may still be sent, and accepts no more input. */
  #fallSilent(): Promise<void> {
    this.#silence ??= this.#becomeSilent();
    return this.#silence;
  }

  async #becomeSilent(): Promise<void> {
    this.#serves = false;
    this.#wallClock.stop();
    this.#handle({ kind: "shutdown" });
    this.#driver.stop();
    await Promise.all([this.#upstream.shutdown(shutdownMs), this.#own.close(), this.#settings.scripts?.close()]);
    for (const transport of this.#transports.values()) await transport.close();
    this.#tap.close();
  }

  async #stop(): Promise<void> {
    this.#lookout.stop();
    await this.#fallSilent();
    await this.#desk.close();
    await this.#store.close();
    await this.#pair?.release();
    this.#ring?.close();
    if (this.#broker?.kind === "started") await this.#broker.close();
  }

  #newOwnConnections(config: GatewayConfig, version: string, wire: WireOctets): OwnConnections {
    return new OwnConnections(config, {
      version,
      core: () => this.#core,
      handle: (input) => this.#driver.handle(input),
      ask: (who, name, query) => this.ask(who, name, query),
      now: () => this.#clock.now(),
      wallClock: () => this.#wallClock.now(),
      told: (level, say) => this.#log[level](say),
      random: randomShare,
      wire,
    });
  }

  #newSettings(config: GatewayConfig): Settings {
    return new Settings(config, {
      managed: this.#managed,
      transports: this.#transports,
      core: () => this.#core,
      submit: (input) => this.#driver.handle(input),
      watching: (declared) => this.#own.watching(declared),
      told: (level, say) => this.#log[level](say),
      wallClock: () => this.#wallClock.now(),
    });
  }

  #newCore(options: CoreOptions): GatewayCore {
    const transport = (peer: PeerId) => transportOf(peer, this.#transports);
    return new GatewayCore(options, {
      maxMessageBytes: (peer) => transport(peer).maxMessageBytes(peer),
      hostOf: (peer) => this.#settings.hostOf(peer),
      identityOf: (peer) => transport(peer).identityOf(peer),
      rssiOf: (peer) => transport(peer).rssiOf?.(peer),
      wallClock: () => this.#wallClock.trusted(),
      random: randomShare,
    });
  }

  #newVitals(version: string): Vitals {
    return new Vitals({
      core: this.#core,
      transports: this.#transports,
      mqtt: this.#mqtt,
      store: this.#store,
      log: this.#log,
      version,
      now: () => this.#clock.now(),
      wallClock: this.#wallClock,
      commits: this.#commits,
      wakings: this.#wakings,
      steps: this.#steps,
      scripts: () => this.#settings.scripts?.counters,
      serves: () => this.#serves,
      pair: () => this.pair(),
    });
  }

  #newLookout(version: string, file: string | undefined): Lookout {
    return new Lookout({
      core: this.#core,
      transports: this.#transports,
      managed: this.#managed,
      wallClock: this.#wallClock,
      version,
      file,
      now: () => this.#clock.now(),
      config: () => this.#settings.config,
      scriptValue: (way, clientId, topicName, payload) =>
        this.#settings.scripts?.values.of(way, clientId, topicName, payload),
      accessChanged: () => this.#settings.accessChanged(),
      predefinedChanged: () => this.#settings.predefinedChanged(),
      wakingsOf: (clientId) => this.#wakings.of(clientId),
      reload: (changed) => this.reload(changed),
      place: () => this.apiPlace,
      pair: () => this.pair(),
      drain: () => this.#drain(),
      octets: () => new Map([...this.#mqtt].map(([name, { counters }]) => [name, counters.wire.total])),
    });
  }

  #newTap(): Tap {
    return new Tap({
      transports: [...this.#transports.keys()],
      timers: systemTimers,
      wallClockUs: microsecondClock(),
      whoSays: (from, bytes) => this.#core.whoSays(from, bytes),
      clientAt: (peer) => this.#core.clientAt(peer),
      payloadStart,
      saidIn: (way, clientId, bytes) => this.#lookout.live.valueIn(way, clientId, bytes),
      page: this.#lookout.live,
    });
  }

  #newDriver(store: Pick<Store, "commit" | "fetch">): Driver {
    const edges = {
      transports: this.#transports,
      upstream: this.#upstream,
      store,
      tap: this.#tap,
      report: (event: GatewayEvent) => {
        this.#wakings.see(event);
        this.#lookout.report(event);
        this.#reports.report(event);
        this.#own.happened(event);
      },
    };
    return new Driver(this.#core, edges, this.#clock, { owns: this.#owns, steps: this.#steps });
  }

  #newDesk(): Desk {
    return new Desk({
      log: this.#log,
      core: this.#core,
      store: this.#store,
      transports: this.#transports,
      lookout: this.#lookout,
      vitals: this.#vitals,
      capture: (options) => this.#tap.capture(options),
      orders: {
        handle: (input) => this.#driver.handle(input),
        answersFor: async (letters) => this.#settings.scripts?.stage.answersFor(letters),
      },
      now: () => this.#clock.now(),
      saysWhyNot: () => this.#pair?.saysWhyNot(),
    });
  }
}

export function ownVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
