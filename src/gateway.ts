/** The composition root: a configuration goes in, a running gateway comes out. The one place that knows everybody. */
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ControlServer } from "./api/control.ts";
import { ApiServer } from "./api/server.ts";
import { createAccessPolicy } from "./config/access.ts";
import { coreOptions, predefinedTopics } from "./config/core-options.ts";
import type { GatewayConfig } from "./config/schema.ts";
import { GatewayCore, type SessionView } from "./core/gateway-core.ts";
import type { Input } from "./core/input.ts";
import { transportNameOf } from "./core/peer-id.ts";
import type { StoredState } from "./core/record.ts";
import type { PeerId } from "./core/types.ts";
import { GatewayError } from "./errors.ts";
import { logAudit } from "./observe/audit.ts";
import type { Log } from "./observe/log.ts";
import { createMetrics } from "./observe/metrics.ts";
import { ReportLog } from "./observe/reports.ts";
import { SystemClock } from "./runtime/clock.ts";
import { OperatorDesk } from "./runtime/desk.ts";
import { Driver } from "./runtime/driver.ts";
import { createOperator } from "./runtime/operator.ts";
import { transportOf } from "./runtime/perform.ts";
import { WallClock } from "./runtime/wall-clock.ts";
import { backupOctets } from "./storage/backup.ts";
import { DiskStore } from "./storage/disk.ts";
import { MemoryStore } from "./storage/memory.ts";
import type { Store } from "./storage/store.ts";
import { createTransport } from "./transports/index.ts";
import type { LinkReport, Transport } from "./transports/transport.ts";
import { startTryOutBroker, type TryOutBroker } from "./tryout-broker.ts";
import type { Upstream } from "./upstream/link.ts";
import { MqttUpstream } from "./upstream/mqtt-upstream.ts";
import type { UpstreamOptions } from "./upstream/options.ts";
import { TurnEnd } from "./upstream/turn-end.ts";
import { Upstreams } from "./upstream/upstreams.ts";

/** Time for DISCONNECT and FIN of every connection at the end. */
const shutdownMs = 3_000;
const storePauseMs = 2_000;

/** From 0 to just below 1. */
const randomShare = () => randomInt(2 ** 32) / 2 ** 32;

export class Gateway {
  readonly #config: GatewayConfig;
  readonly #log: Log;
  readonly #transports = new Map<string, Transport>();
  readonly #mqtt: readonly MqttUpstream[];
  readonly #upstream: Upstream;
  readonly #store: Store;
  readonly #core: GatewayCore;
  readonly #driver: Driver;
  readonly #clock = new SystemClock();
  readonly #wallClock = new WallClock();
  readonly #turnEnd = new TurnEnd();
  readonly #startedAt = this.#clock.now();
  #api: ApiServer | undefined;
  #control: ControlServer | undefined;
  #broker: TryOutBroker | undefined;
  #stopping: Promise<void> | undefined;

  /** @throws {GatewayError} when files or secrets that the configuration names cannot be read. */
  constructor(config: GatewayConfig, log: Log) {
    this.#config = config;
    this.#log = log;
    for (const options of config.transports) this.#transports.set(options.name, createTransport(options));
    const transport = (peer: PeerId) => transportOf(peer, this.#transports);
    const hostOf = (peer: PeerId) => transport(peer).hostOf(peer);
    const upstream = (options: UpstreamOptions) =>
      new MqttUpstream(options, this.#wallClock, randomShare, this.#turnEnd);
    const named = config.upstreams.map((options) => [options.name, upstream(options)] as const);
    const general = upstream(config.upstream);
    this.#mqtt = [general, ...named.map(([, upstream]) => upstream)];
    this.#upstream = named.length === 0 ? general : new Upstreams(new Map([["", general], ...named]));
    this.#core = new GatewayCore(coreOptions(config, createAccessPolicy(config.access, hostOf)), {
      maxMessageBytes: (peer) => transport(peer).maxMessageBytes(peer),
      hostOf,
      wallClock: () => this.#wallClock.trusted(),
      random: randomShare,
    });
    const report = new ReportLog(log).report;
    this.#store =
      config.store.kind === "disk"
        ? new DiskStore(config.store, (say) => log.error(`store: ${say}`))
        : new MemoryStore();
    const edges = { transports: this.#transports, upstream: this.#upstream, store: this.#store, report };
    this.#driver = new Driver(this.#core, edges, this.#clock);
  }

  /** @throws {GatewayError} when a port, or the try-out broker, cannot be had. Nothing is left running then. */
  async start(): Promise<void> {
    try {
      await this.#startTryOutBroker();
      await this.#openStore();
      await this.#startUpstream();
      await this.#restore();
      this.#driver.start();
      this.#watchClock();
      for (const transport of this.#transports.values()) await this.#startTransport(transport);
      await this.#startApi();
      await this.#startControl();
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Ends in order, within a few seconds; idempotent. */
  stop(): Promise<void> {
    this.#stopping ??= this.#stop();
    return this.#stopping;
  }

  /** Takes over what can change while running: predefined topics and the log level. */
  reload(config: GatewayConfig): void {
    this.#handle({ kind: "predefinedChanged", predefined: predefinedTopics(config.topics) });
    this.#log.level = config.log.level;
  }

  health(): { ok: boolean; broker: string; uptimeSeconds: number; clients: number; transports: string[] } {
    const there = this.#core.brokerThere;
    return {
      ok: there,
      broker: there ? "connected" : "away",
      uptimeSeconds: Math.floor((this.#clock.now() - this.#startedAt) / 1_000),
      clients: this.#core.sizes.sessions,
      transports: [...this.#transports.values()].map(({ name, place }) => `${name} ${place}`),
    };
  }

  /** Every session, as a picture of the moment. */
  sessions(): SessionView[] {
    return [...this.#core.sessions()];
  }

  /** Networks whose devices have links, by the transport's name. */
  links(): (LinkReport & { readonly transport: string })[] {
    return [...this.#transports.values()].flatMap((transport) => {
      const report = transport.links?.();
      return report ? [{ ...report, transport: transport.name }] : [];
    });
  }

  /** Where clients find each transport, e.g. after listening on port 0. */
  places(): string[] {
    return [...this.#transports.values()].map(({ place }) => place);
  }

  /** Where health and metrics are served; "" if nowhere. */
  get apiPlace(): string {
    return this.#api?.place ?? "";
  }

  /** A full or read-only disk is waited for: to end would only mean to be started again. */
  async #openStore(): Promise<void> {
    for (;;) {
      try {
        for (const notice of (await this.#store.open()).notices) this.#log.error(`store: ${notice}`);
        return;
      } catch (error) {
        if (!(error instanceof GatewayError) || error.details["ailment"] !== "disk") throw error;
        this.#log.error(`${error.message}; tried again in ${storePauseMs / 1_000} s, no device is answered until then`);
      }
      await sleep(storePauseMs);
    }
  }

  /** Takes up the sessions of an earlier life. */
  async #restore(): Promise<void> {
    const states: StoredState[] = [];
    for await (const state of this.#store.all()) states.push(this.#withKnownPeer(state));
    const known = await this.#store.known();
    const letters = (await this.#store.letters()).map(({ id, clientId }) => [id, clientId] as const);
    this.#handle({ kind: "restored", states, known, letters });
    if (states.length === 0) return;
    const down = states.reduce((sum, { queued }) => sum + queued.length, 0);
    const up = states.reduce((sum, { backlog, uplink }) => sum + (backlog?.count ?? 0) + uplink.length, 0);
    this.#log.info(`${states.length} sessions are back, ${down} messages for them and ${up} for the broker`);
  }

  /** A transport may have gone from the configuration: its clients are known by their ids alone. */
  #withKnownPeer(state: StoredState): StoredState {
    const { peer } = state.session;
    if (peer === undefined || this.#transports.has(transportNameOf(peer))) return state;
    return { ...state, session: { ...state.session, peer: undefined } };
  }

  async #startTryOutBroker(): Promise<void> {
    if (!this.#config.tryOutBroker) return;
    const { hostname, port } = new URL(this.#config.upstream.url);
    const host = hostname === "localhost" ? "127.0.0.1" : hostname.replace(/^\[|\]$/g, "");
    this.#broker = await startTryOutBroker({ host, port: Number(port) || 1_883 });
    const { url } = this.#config.upstream;
    if (this.#broker.kind === "found") this.#log.info(`a broker answers at ${url}: using that one`);
    else {
      this.#log.warn(
        `the built-in broker serves ${url}: for trying out only, it stores and protects nothing. ` +
          'For a real broker set "tryOutBroker": false and "upstream": { "url": "mqtts://your-broker:8883" }',
      );
    }
  }

  async #startUpstream(): Promise<void> {
    await this.#upstream.start({
      up: (linkId, sessionPresent, limits) => this.#handle({ kind: "linkUp", linkId, sessionPresent, limits }),
      refused: (linkId, refusal, reason, reasonCode) =>
        this.#handle({ kind: "linkRefused", linkId, refusal, reason, ...(reasonCode !== undefined && { reasonCode }) }),
      down: (linkId, end) => this.#handle({ kind: "linkDown", linkId, ...end }),
      pong: (linkId) => this.#handle({ kind: "pong", linkId }),
      congested: (linkId, congested) => this.#handle({ kind: "linkCongested", linkId, congested }),
      delivered: (linkId, delivery) => this.#handle({ kind: "delivered", linkId, ...delivery }),
      released: (linkId, packetId) => this.#handle({ kind: "released", linkId, packetId }),
      acked: (linkId, ack, packetId, code) => this.#handle({ kind: "brokerAck", linkId, ack, packetId, code }),
    });
  }

  async #startTransport(transport: Transport): Promise<void> {
    await transport.start({
      datagram: (from, bytes) => this.#handle({ kind: "datagram", from, bytes }),
      together: (work) => this.#turnEnd.around(work),
      peerGone: (peer) => this.#handle({ kind: "peerGone", peer }),
      failed: (error) => this.#log.error({ code: error.code, ...error.details }, error.message),
      told: (level, say) => this.#log[level](say),
    });
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
      for (const upstream of this.#mqtt) upstream.onClockSet();
      if (this.#wallClock.trusted() !== undefined) this.#handle({ kind: "clockSet" });
    });
  }

  async #startApi(): Promise<void> {
    const { api } = this.#config;
    if (!api.enabled) return;
    const metrics = createMetrics({
      core: this.#core.counters,
      sessionsByState: () => {
        const states: Record<string, number> = { active: 0, asleep: 0, awake: 0, disconnected: 0, lost: 0 };
        for (const { state } of this.#core.sessions()) states[state] = (states[state] ?? 0) + 1;
        return states;
      },
      transports: () =>
        [...this.#transports.values()].map((transport) => ({ name: transport.name, stats: transport.stats() })),
      links: () => this.links(),
      linksUp: () => this.#mqtt.reduce((sum, { linksUp }) => sum + linksUp, 0),
      brokerThere: () => this.#core.brokerThere,
      storeFails: () => this.#core.storeFails,
      droppedCongested: () => this.#mqtt.reduce((sum, { counters }) => sum + counters.droppedCongested, 0),
    });
    const server = new ApiServer(api, {
      health: () => this.health(),
      metrics: async () => ({ contentType: metrics.contentType, text: await metrics.metrics() }),
    });
    try {
      await server.start();
      this.#api = server;
      this.#log.info(`health and metrics at ${server.place}`);
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      this.#log.warn(`${error.message}. The gateway runs without`);
    }
  }

  async #startControl(): Promise<void> {
    const { store } = this.#config;
    if (store.kind !== "disk") return;
    const now = () => this.#clock.now();
    const operator = createOperator(this.#core, this.#store, this.#driver, now, backupOctets);
    const desk = new OperatorDesk(operator, (entry) => logAudit(this.#log, entry));
    const server = new ControlServer(join(store.folder, "control.sock"), desk);
    try {
      await server.start();
      this.#control = server;
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error;
      this.#log.warn(`${error.message}. The gateway runs without`);
    }
  }

  #handle(input: Input): void {
    this.#driver.handle(input);
  }

  async #stop(): Promise<void> {
    this.#wallClock.stop();
    this.#driver.handle({ kind: "shutdown" });
    this.#driver.stop();
    await this.#upstream.shutdown(shutdownMs);
    for (const transport of this.#transports.values()) await transport.close();
    await this.#api?.close();
    await this.#control?.close();
    await this.#store.close();
    if (this.#broker?.kind === "started") await this.#broker.close();
  }
}
