/** The composition root: makes a running gateway from a configuration. It is the only place that knows all parts. */
import { randomInt } from "node:crypto";
import { readFileSync } from "node:fs";
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import { createAccessPolicy } from "./config/access.ts";
import { coreOptions, predefinedTopics } from "./config/core-options.ts";
import { hostForLimits } from "./config/host-network.ts";
import { Managed, managedKeys, withManagedTopics } from "./config/managed.ts";
import { payloadPolicy } from "./config/payloads.ts";
import { afterReload, needRestart } from "./config/restart.ts";
import type { GatewayConfig } from "./config/schema.ts";
import { readScripts } from "./config/scripts.ts";
import type { AccessPolicy } from "./core/access.ts";
import { payloadStart } from "./core/dialects/payload-start.ts";
import type { GatewayEvent } from "./core/event.ts";
import { GatewayCore, type SessionView } from "./core/gateway-core.ts";
import type { Input } from "./core/input.ts";
import type { PayloadPolicy } from "./core/payloads.ts";
import type { PeerId } from "./core/types.ts";
import { openRing, openTryOutBroker, upstreamInputs } from "./gateway-brokers.ts";
import { Lookout } from "./gateway-console.ts";
import { Desk } from "./gateway-desk.ts";
import { HomeAssistant } from "./gateway-home.ts";
import { type Drained, Pair } from "./gateway-pair.ts";
import { RemoteControl } from "./gateway-remote.ts";
import { Scripts } from "./gateway-scripts.ts";
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
import type { ScriptSource } from "./script/question.ts";
import type { PairFacts } from "./storage/lease.ts";
import type { PairMember } from "./storage/redis.ts";
import type { RedisSource } from "./storage/redis-source.ts";
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

/** The parts that a shard's gateway gets from its process, in place of its own. */
export interface ShardParts {
  /** The ports of the fleet's front. */
  readonly transports: readonly Transport[];
  readonly managed: Managed;
  readonly member: PairMember;
  /** Called before anything is sent. False: another gateway owns the shard. */
  readonly owns: () => boolean;
  readonly redis: RedisSource;
  /** The MQTT client ids of all shards' own connections. */
  readonly reservedIds: ReadonlySet<string>;
  /** Called with notices about the store, as it was found. */
  readonly noticed: (say: string) => void;
}

/** Called with each step before the gateway serves, and its progress. */
export type StartProgress = (what: string, done: number) => void;

export class Gateway {
  /** The configuration at the start, with the parts that were read again since. */
  #config: GatewayConfig;
  readonly #managed: Managed;
  readonly #lookout: Lookout;
  readonly #vitals: Vitals;
  readonly #log: Log;
  readonly #reports: ReportLog;
  readonly #transports = new Map<string, Transport>();
  /** The upstreams by name; "" is the default one. */
  readonly #mqtt: ReadonlyMap<string, MqttUpstream>;
  readonly #upstream: Upstream;
  readonly #accessPolicy: (options: GatewayConfig["access"]) => AccessPolicy;
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
  readonly #home: HomeAssistant | undefined;
  readonly #remote: RemoteControl | undefined;
  /** Undefined until the first declaration with a script. */
  #scripts: Scripts | undefined;
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
    this.#config = config;
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
    this.#managed = shard?.managed ?? new Managed(config.store);
    this.#log = log;
    for (const each of shard?.transports ?? config.transports.map(createTransport))
      this.#transports.set(each.name, each);
    const transport = (peer: PeerId) => transportOf(peer, this.#transports);
    const hostOf = (peer: PeerId) => transport(peer).hostOf(peer);
    this.#ring = openRing([config.upstream, ...config.upstreams], this.#turnEnd, log);
    const upstream = (options: UpstreamOptions) =>
      new MqttUpstream(options, this.#wallClock, randomShare, this.#turnEnd, this.#ring);
    const named = config.upstreams.map((options) => [options.name, upstream(options)] as const);
    const general = upstream(config.upstream);
    this.#mqtt = new Map([["", general], ...named]);
    this.#upstream = named.length === 0 ? general : new Upstreams(this.#mqtt);
    let policy: AccessPolicy | undefined;
    this.#accessPolicy = (options) => {
      const { admitted } = this.#managed.state;
      policy = createAccessPolicy(options, hostOf, admitted, (clientId) => this.#hasKey(clientId));
      return policy;
    };
    this.#home = config.homeAssistant.enabled ? this.#homeAssistant(config, general.counters.wire) : undefined;
    const settings = coreOptions(
      { ...config, topics: withManagedTopics(config.topics, this.#managed.state) },
      this.#accessPolicy(config.access),
    );
    const sources = readScripts(config.payloads);
    const payloads = this.#payloads(config);
    const options = { ...settings, payloads, ...(shard && { reservedIds: shard.reservedIds }) };
    this.#core = new GatewayCore(options, {
      maxMessageBytes: (peer) => transport(peer).maxMessageBytes(peer),
      hostOf: (peer) => {
        const isInside = () => policy?.isInside(peer, transport(peer).identityOf(peer)) === true;
        return hostForLimits(hostOf(peer), isInside);
      },
      identityOf: (peer) => transport(peer).identityOf(peer),
      rssiOf: (peer) => transport(peer).rssiOf?.(peer),
      wallClock: () => this.#wallClock.trusted(),
      random: randomShare,
    });
    this.#reports = new ReportLog(log);
    const looked = (records: number) => this.#progress("looking through the store", records);
    this.#store = createStore(config.store, log, shard?.member ?? this.#pair?.member, looked, shard?.redis);
    const watched = this.#commits.watched(this.#store);
    for (const each of this.#transports.values()) {
      if (this.#owns) each.sendsWhile?.(this.#owns);
      each.takeKeys?.(() => managedKeys(this.#managed));
      if (config.store.kind !== "memory") each.keepBondsIn?.(config.store.folder);
      each.keepBy?.(secureKeeper(each.name, this.#store, (changes, done) => watched.commit(changes, done)));
    }
    this.#vitals = new Vitals({
      core: this.#core,
      transports: this.#transports,
      mqtt: this.#mqtt,
      store: this.#store,
      log,
      version,
      now: () => this.#clock.now(),
      wallClock: this.#wallClock,
      commits: this.#commits,
      wakings: this.#wakings,
      steps: this.#steps,
      scripts: () => this.#scripts?.counters,
      serves: () => this.#serves,
      pair: () => this.pair(),
    });
    this.#lookout = new Lookout({
      core: this.#core,
      transports: this.#transports,
      managed: this.#managed,
      wallClock: this.#wallClock,
      version,
      file,
      now: () => this.#clock.now(),
      config: () => this.#config,
      scriptValue: (way, clientId, topicName, payload) => this.#scripts?.values.of(way, clientId, topicName, payload),
      accessChanged: () => this.#accessChanged(),
      predefinedChanged: () => this.#predefinedChanged(this.#config),
      wakingsOf: (clientId) => this.#wakings.of(clientId),
      reload: (changed) => this.reload(changed),
      place: () => this.apiPlace,
      pair: () => this.pair(),
      drain: () => this.#drain(),
      octets: () => new Map([...this.#mqtt].map(([name, { counters }]) => [name, counters.wire.total])),
    });
    this.#tap = new Tap({
      transports: [...this.#transports.keys()],
      timers: systemTimers,
      wallClockUs: microsecondClock(),
      whoSays: (from, bytes) => this.#core.whoSays(from, bytes),
      clientAt: (peer) => this.#core.clientAt(peer),
      payloadStart,
      saidIn: (way, clientId, bytes) => this.#lookout.live.valueIn(way, clientId, bytes),
      page: this.#lookout.live,
    });
    const edges = {
      transports: this.#transports,
      upstream: this.#upstream,
      store: watched,
      tap: this.#tap,
      report: (event: GatewayEvent) => {
        this.#wakings.see(event);
        this.#lookout.report(event);
        this.#reports.report(event);
        this.#home?.happened(event);
        this.#remote?.happened(event);
      },
    };
    this.#driver = new Driver(this.#core, edges, this.#clock, { owns: this.#owns, steps: this.#steps });
    this.#desk = new Desk({
      log,
      core: this.#core,
      store: this.#store,
      transports: this.#transports,
      lookout: this.#lookout,
      vitals: this.#vitals,
      capture: (options) => this.#tap.capture(options),
      orders: {
        handle: (input) => this.#driver.handle(input),
        answersFor: async (letters) => this.#scripts?.stage.answersFor(letters),
      },
      now: () => this.#clock.now(),
      saysWhyNot: () => this.#pair?.saysWhyNot(),
    });
    if (sources.length > 0) this.#scripts = this.#newScripts(config);
    this.#scripts?.load(config, payloads);
    this.#remote = this.#remoteControl(config, general.counters.wire);
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
        await this.#desk.start(this.#config);
        this.#takingOver = this.#takeOver(this.#pair);
        // A gateway without an active partner soon serves, so the start waits for this time.
        await Promise.race([this.#takingOver, sleep(firstLookMs)]);
        return;
      }
      this.#broker = await openTryOutBroker(this.#config, this.#log);
      await this.#serve();
      await this.#desk.start(this.#config);
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
    if (!this.#pair) return "this gateway is none of a pair (store.pair)";
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
    this.#log.info(`pair: ${pair.facts().name} is active now, epoch ${epoch}: it reads all sessions, then it serves`);
    await this.#serve();
    this.#log.info(`pair: it serves ${Math.round(this.#clock.now() - began)} ms after it became the active one`);
  }

  async #serve(): Promise<void> {
    const noticed = this.#shard?.noticed ?? ((say: string) => this.#log.error(`store: ${say}`));
    const highest = await openStore(this.#store, this.#log, { noticed, isGivenUp: () => this.#isAbandoned });
    await this.#scripts?.start(readScripts(this.#config.payloads));
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
    this.#home?.start();
    this.#remote?.start();
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

  /** The console or the operator changed the admission: of a client, or of a device's key. */
  #accessChanged(): void {
    for (const transport of this.#transports.values()) transport.keysChanged?.();
    this.#handle({ kind: "accessChanged", access: this.#accessPolicy(this.#config.access) });
  }

  /** Topic ids that were given by hand have priority over those of the configuration. */
  #predefinedChanged({ topics }: GatewayConfig): void {
    const predefined = predefinedTopics(withManagedTopics(topics, this.#managed.state));
    this.#handle({ kind: "predefinedChanged", predefined });
  }

  /** If there is a key of this name, only a device with this key may use the name. */
  #hasKey(clientId: string): boolean {
    if (managedKeys(this.#managed).has(clientId)) return true;
    return [...this.#transports.values()].some((transport) => transport.reserves?.(clientId) === true);
  }

  #homeAssistant(config: GatewayConfig, wire: WireOctets): HomeAssistant {
    return new HomeAssistant({
      config,
      version: ownVersion(),
      core: () => this.#core,
      handle: (input) => this.#driver.handle(input),
      told: (level, say) => this.#log[level](say),
      random: randomShare,
      wire,
    });
  }

  #remoteControl(config: GatewayConfig, wire: WireOctets): RemoteControl | undefined {
    const { topic } = config.control;
    if (topic === undefined) return undefined;
    return new RemoteControl(config, topic, {
      desk: { ask: (who, name, query) => this.#desk.operator().ask(who, name, query) },
      now: () => this.#clock.now(),
      wallClock: () => this.#wallClock.now(),
      told: (level, say) => this.#log[level](say),
      random: randomShare,
      wire,
    });
  }

  #newScripts(config: GatewayConfig): Scripts {
    return new Scripts(config, {
      core: this.#core,
      handle: (input) => this.#driver.handle(input),
      told: (level, say) => this.#log[level](say),
      wallClock: () => this.#wallClock.now(),
    });
  }

  #payloads({ payloads }: GatewayConfig): PayloadPolicy | undefined {
    const policy = payloadPolicy(payloads);
    return this.#home ? this.#home.watching(policy) : policy;
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
    const sources = readScripts(config.payloads);
    const restart = needRestart(this.#config, config);
    this.#predefinedChanged(config);
    this.#handle({ kind: "accessChanged", access: this.#accessPolicy(config.access) });
    const payloads = this.#payloads(config);
    this.#handle({ kind: "payloadsChanged", payloads });
    this.#reloadScripts(config, payloads, sources);
    this.#log.level = config.log.level;
    for (const transport of this.#transports.values()) transport.reload?.();
    for (const [name, upstream] of this.#mqtt) {
      const options = name === "" ? config.upstream : config.upstreams.find((each) => each.name === name);
      if (options) upstream.reload(options);
    }
    this.#config = afterReload(this.#config, config);
    this.#home?.reload(this.#config);
    this.#remote?.reload(this.#config);
    return restart;
  }

  #reloadScripts(config: GatewayConfig, payloads: PayloadPolicy | undefined, sources: readonly ScriptSource[]): void {
    if (this.#scripts) return this.#scripts.load(config, payloads, sources);
    if (sources.length === 0) return;
    this.#scripts = this.#newScripts(this.#config);
    this.#scripts.load(config, payloads);
    void this.#scripts.start(sources);
  }

  health(): Health {
    return this.#vitals.health();
  }

  /** Every session, as a picture of the moment. */
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
      progress: (sessions) => this.#progress("taking up sessions", sessions),
    });
    if (sessions > 0)
      this.#log.info(`${sessions} sessions are back, ${down} messages for them and ${up} for the broker`);
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
    if (this.#scripts) this.#scripts.stage.take(input);
    else this.#driver.handle(input);
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
    await Promise.all([
      this.#upstream.shutdown(shutdownMs),
      this.#home?.close(),
      this.#remote?.close(),
      this.#scripts?.close(),
    ]);
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
}

export function ownVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}
