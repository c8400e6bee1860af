/**
 * The composition root: a running gateway from a configuration. gateway-parts.ts makes the parts and connects them. This
 * file starts them, takes over in a pair, changes settings while they run, and ends them.
 */
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type { GatewayConfig } from "./config/schema.ts";
import type { GatewayCore, SessionView } from "./core/gateway-core.ts";
import type { Input } from "./core/input.ts";
import { openTryOutBroker, upstreamInputs } from "./gateway-brokers.ts";
import type { Drained, Pair } from "./gateway-pair.ts";
import { GatewayParts } from "./gateway-parts.ts";
import type { ShardParts } from "./gateway-shard.ts";
import { openStore } from "./gateway-store.ts";
import type { Health, NamedSecureReport, Vitals } from "./gateway-vitals.ts";
import type { Log } from "./observe/log.ts";
import type { Answer } from "./runtime/command.ts";
import type { CommandName } from "./runtime/commands.ts";
import type { Asker } from "./runtime/desk.ts";
import { type RestoreTo, restore } from "./runtime/restore.ts";
import type { PairFacts } from "./storage/lease.ts";
import type { StoreReport } from "./storage/store.ts";
import type { LinkReport, Transport } from "./transports/transport.ts";
import type { TryOutBroker } from "./tryout-broker.ts";
import type { UpstreamEvents } from "./upstream/link.ts";

/** Time for DISCONNECT and FIN of every connection at the end. */
const shutdownMs = 3_000;
/** Milliseconds for the client of a command to read the answer, before the process ends. */
const answerMs = 200;
/** A gateway of a pair that starts alone usually serves within this time; otherwise it stands by. */
const firstLookMs = 1_000;

/** Milliseconds until sessions that could not be read are read again, while clients are served. */
const readAgainMs = 2_000;

/** Called with each step before the gateway serves, and its progress. */
export type StartProgress = (what: string, done: number) => void;

export class Gateway {
  readonly #parts: GatewayParts;
  readonly #shard: ShardParts | undefined;
  readonly #drained: (say: string) => void;
  #isAbandoned = false;
  #takingOver: Promise<void> = Promise.resolve();
  #serves = false;
  /** Clients are served, and sessions of the last run are still being restored. */
  #isRestoring = false;
  /** Resolves when no more sessions are restored. */
  #restored: Promise<void> = Promise.resolve();
  #progress: StartProgress = () => {};
  #broker: TryOutBroker | undefined;
  #stopping: Promise<void> | undefined;
  #silence: Promise<void> | undefined;

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
    this.#parts = new GatewayParts(config, log, file, shard, {
      serves: () => this.#serves,
      lost: (why) => {
        this.#serves = false;
        this.#parts.driver.stop();
        lost(why);
      },
      reload: (changed) => this.reload(changed),
      drain: () => this.#drain(),
      progress: (what, done) => this.#progress(what, done),
    });
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
      if (this.#parts.pair) {
        await this.#parts.desk.start(this.#parts.settings.config);
        this.#takingOver = this.#takeOver(this.#parts.pair);
        // A gateway without an active partner soon serves, so the start waits for this time.
        await Promise.race([this.#takingOver, sleep(firstLookMs)]);
        return;
      }
      this.#broker = await openTryOutBroker(this.#parts.settings.config, this.#parts.log);
      await this.#serve();
      await this.#parts.desk.start(this.#parts.settings.config);
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
    return this.#parts.pair?.facts();
  }

  /** Hands over to the other gateway of the pair, or returns the reason why not. */
  async #drain(): Promise<Drained | string> {
    if (!this.#parts.pair) return "this gateway does not belong to a pair (store.pair)";
    if (this.#parts.pair.owns() && (!this.#serves || this.#isRestoring))
      return "this gateway has just taken over, and reads the sessions; try again";
    const silence = async () => {
      await this.#fallSilent();
      await this.#restored;
      await this.#parts.store.close();
    };
    return this.#parts.pair.drain(silence, (say) => setTimeout(() => this.#drained(say), answerMs));
  }

  /** Devices are answered. */
  get serves(): boolean {
    return this.#serves;
  }

  async #takeOver(pair: Pair): Promise<void> {
    const epoch = await pair.acquire();
    if (epoch === undefined) return;
    const began = this.#parts.clock.now();
    this.#parts.log.info(`pair: ${pair.facts().name} is active now, epoch ${epoch}. It reads the sessions`);
    await this.#serve();
    this.#parts.log.info(`pair: it serves, ${Math.round(this.#parts.clock.now() - began)} ms after it became active`);
  }

  async #serve(): Promise<void> {
    const noticed = this.#shard?.noticed ?? ((say: string) => this.#parts.log.error(`store: ${say}`));
    const highest = await openStore(this.#parts.store, this.#parts.log, {
      noticed,
      isGivenUp: () => this.#isAbandoned,
    });
    await this.#parts.settings.startScripts();
    const notice: UpstreamEvents["notice"] = (level, say, kind) => this.#parts.reports.notice(level, say, kind);
    await this.#parts.upstream.start(upstreamInputs((input) => this.#handle(input), notice));
    await this.#restoreAndServe(highest);
  }

  /**
   * Resolves when clients are served. If the store has very many sessions, most of them are restored after that.
   */
  async #restoreAndServe(highest: StoreReport["highest"]): Promise<void> {
    const began = this.#parts.clock.now();
    const { serveAfterSeconds } = this.#parts.settings.config.store;
    let served: () => void = () => {};
    const early = new Promise<void>((resolve) => {
      served = resolve;
    });
    const all = this.#restore(highest, {
      isDue: () => this.#parts.clock.now() - began >= serveAfterSeconds * 1_000,
      begin: async () => {
        this.#isRestoring = true;
        await this.#beginToServe();
        served();
      },
      failed: (error) => this.#waitForStore(error),
      isOver: () => this.#stopping !== undefined || this.#isAbandoned || !this.#serves,
    });
    this.#restored = all.then(
      () => {
        this.#isRestoring = false;
      },
      (error: unknown) => {
        if (this.#isRestoring) throw error; // a fault of this program; otherwise it is thrown below
      },
    );
    await Promise.race([early, all]);
    if (!this.#serves) await this.#beginToServe();
  }

  /** Sessions could not be read while clients are served. */
  async #waitForStore(error: unknown): Promise<boolean> {
    const why = error instanceof Error ? error.message : String(error);
    this.#parts.log.error(`sessions of the last run cannot be read: ${why}; next attempt in ${readAgainMs / 1_000} s`);
    await sleep(readAgainMs);
    return this.#stopping !== undefined || this.#isAbandoned;
  }

  async #beginToServe(): Promise<void> {
    // A gateway of a pair may be told to end while it reads the sessions.
    if (this.#stopping || this.#isAbandoned) return;
    this.#parts.driver.start();
    this.#watchClock();
    for (const transport of this.#parts.transports.values()) await this.#startTransport(transport);
    if (this.#isAbandoned) return this.abandon();
    this.#serves = true;
    this.#parts.own.start();
  }

  /**
   * Another gateway owns this shard, or may own it. Nothing is sent any more, beginning before this call returns.
   * Devices and brokers get no message, and connections are destroyed without DISCONNECT.
   */
  abandon(): void {
    this.#isAbandoned = true;
    this.#serves = false;
    this.#parts.driver.stop();
    void this.#parts.settings.endScripts();
    this.#parts.wallClock.stop();
    for (const upstream of this.#parts.mqtt.values()) upstream.tear();
    for (const transport of this.#parts.transports.values()) void transport.close();
    this.#parts.store.abandon?.();
    this.#parts.tap.close();
    this.#parts.lookout.stop();
  }

  /** For a caller that shows several gateways together. */
  get view(): Pick<GatewayCore, "sessions" | "brokers" | "clientAt" | "topicName"> {
    return this.#parts.core;
  }

  /** The list of admitted clients has changed: all connected clients are checked again. */
  accessChanged(): void {
    this.#parts.settings.accessChanged();
  }

  /** Executes one command of the operator here. */
  ask(who: Asker, name: CommandName, query: URLSearchParams): Promise<Answer> {
    return this.#parts.desk.operator().ask(who, name, query);
  }

  /** The sources of probes and metrics, for a caller that adds several gateways. */
  get vitals(): Vitals {
    return this.#parts.vitals;
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
    const restart = this.#parts.settings.reload(config);
    this.#parts.log.level = config.log.level;
    for (const transport of this.#parts.transports.values()) transport.reload?.();
    for (const [name, upstream] of this.#parts.mqtt) {
      const options = name === "" ? config.upstream : config.upstreams.find((each) => each.name === name);
      if (options) upstream.reload(options);
    }
    this.#parts.settings.taken(config);
    this.#parts.own.reload(this.#parts.settings.config);
    return restart;
  }

  health(): Health {
    return this.#parts.vitals.health();
  }

  /** Every session, as it is now. */
  sessions(): SessionView[] {
    return [...this.#parts.core.sessions()];
  }

  /** Networks whose devices have links, by the transport's name. */
  links(): (LinkReport & { readonly transport: string })[] {
    return this.#parts.vitals.links();
  }

  /** The addresses of the transports, e.g. after listening on port 0. */
  places(): string[] {
    return [...this.#parts.transports.values()].map(({ place }) => place);
  }

  /**
   * Addresses of the console for a browser, with a token for one login; a sentence: there is no console. For a terminal
   * only.
   */
  consoleLink(): readonly string[] | string {
    return this.#parts.lookout.installation.link("operator");
  }

  /** The number of browsers that show the console now. */
  get browsersLooking(): number {
    return this.#parts.lookout.live.watched;
  }

  /** The address that health and metrics are served at; "" = none. */
  get apiPlace(): string {
    return this.#parts.desk.place;
  }

  /** Restores the sessions of an earlier run. */
  async #restore(highest: StoreReport["highest"], serve: RestoreTo["serve"]): Promise<void> {
    const { sessions, down, up } = await restore(this.#parts.store, highest, {
      serve,
      handle: (input) => this.#handle(input),
      hasTransport: (name) => this.#parts.transports.has(name),
      pause: () => nextTurn(),
      progress: (sessions) => !this.#isRestoring && this.#progress("restoring sessions", sessions),
    });
    if (sessions === 0) return;
    const meanwhile = this.#isRestoring ? "; clients were served meanwhile" : "";
    this.#parts.log.info(
      `${sessions} sessions were restored, with ${down} messages for devices and ${up} for the broker${meanwhile}`,
    );
  }

  async #startTransport(transport: Transport): Promise<void> {
    await transport.start({
      datagram: (from, bytes) => {
        this.#parts.tap.heard(from, bytes);
        this.#handle({ kind: "datagram", from, bytes });
      },
      batch: (work) => this.#parts.steps.measure("datagrams", () => this.#parts.turnEnd.around(work)),
      peerGone: (peer) => this.#handle({ kind: "peerGone", peer }),
      failed: (error) => this.#parts.log.error({ code: error.code, ...error.details }, error.message),
      notice: (level, say) => this.#parts.log[level](say),
      turnedAway: this.#shard?.turnedAway ?? ((refusal) => this.#parts.lookout.turnedAway(refusal, true)),
    });
    if (this.#shard) return;
    for (const warning of transport.warnings) this.#parts.log.warn(warning);
    this.#parts.log.info(`MQTT-SN on ${transport.name} ${transport.place}`);
  }

  #watchClock(): void {
    const say = (clock: string) =>
      `the clock of this machine ${clock}: ${new Date(this.#parts.wallClock.now()).toISOString()}`;
    if (this.#parts.wallClock.trusted() === undefined) {
      this.#parts.log.warn(`${say("cannot be trusted yet")}; messages do not age while the gateway is down`);
    }
    this.#parts.wallClock.start(() => {
      this.#parts.log.info(say("was set"));
      for (const upstream of this.#parts.mqtt.values()) upstream.onClockSet();
      if (this.#parts.wallClock.trusted() !== undefined) this.#handle({ kind: "clockSet" });
    });
  }

  /** A report for each transport that encrypts. */
  secureReports(): readonly NamedSecureReport[] {
    return this.#parts.vitals.secureReports();
  }

  #handle(input: Input): void {
    this.#parts.settings.handle(input);
  }

  /** Sends what may still be sent, and accepts no more input. */
  #fallSilent(): Promise<void> {
    this.#silence ??= this.#becomeSilent();
    return this.#silence;
  }

  async #becomeSilent(): Promise<void> {
    this.#serves = false;
    this.#parts.wallClock.stop();
    this.#handle({ kind: "shutdown" });
    this.#parts.driver.stop();
    await Promise.all([
      this.#parts.upstream.shutdown(shutdownMs),
      this.#parts.own.close(),
      this.#parts.settings.endScripts(),
    ]);
    for (const transport of this.#parts.transports.values()) await transport.close();
    this.#parts.tap.close();
  }

  async #stop(): Promise<void> {
    this.#parts.lookout.stop();
    await this.#fallSilent();
    await this.#restored;
    await this.#parts.desk.close();
    await this.#parts.store.close();
    await this.#parts.pair?.release();
    this.#parts.ring?.close();
    this.#parts.reads?.close();
    if (this.#broker?.kind === "started") await this.#broker.close();
  }
}
