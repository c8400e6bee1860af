/** A world of one gateway (its shipped core, driver and codec), devices, the network and a broker, all of one seed. */

import { type AccessPolicy, admitAll } from "../../src/core/access.ts";
import type { GatewayEvent } from "../../src/core/event.ts";
import { GatewayCore } from "../../src/core/gateway-core.ts";
import type { CoreOptions } from "../../src/core/options.ts";
import { hashOfText } from "../../src/core/state/shared-connection.ts";
import type { Publication, QoS } from "../../src/core/types.ts";
import { Driver } from "../../src/runtime/driver.ts";
import type { Edges } from "../../src/runtime/perform.ts";
import { StateTable } from "../../src/storage/state-table.ts";
import type { UpstreamEvents } from "../../src/upstream/link.ts";
import { matches } from "../../src/wire/topic.ts";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import { CheckedCore } from "../helpers/checked-core.ts";
import { exactlyOnceMaximum, SimBroker } from "./broker.ts";
import { CrashPoint, mortal } from "./crash.ts";
import { Judge } from "./judge.ts";
import { Network, SimTransport } from "./network.ts";
import { Observer } from "./observer.ts";
import { testOptions } from "./options.ts";
import { PoisonLaw } from "./poison-law.ts";
import { PolicyLaw } from "./policy-law.ts";
import { SimProcess } from "./process.ts";
import { Rng } from "./rng.ts";
import { clientAt } from "./sim-address.ts";
import { type DeviceHabits, SimDevice } from "./sim-device.ts";
import { SimStore } from "./sim-store.ts";
import { SimUpstream } from "./sim-upstream.ts";
import { crowd, type WorldOptions } from "./swarm.ts";
import { isForAll, textOf } from "./texts.ts";
import { Violation } from "./violation.ts";
import { VirtualClock, VirtualTime } from "./virtual-time.ts";

/** The wall clock at the beginning of the world. */
const worldBeganAt = 1_800_000_000_000;
/** Sessions are taken up in slices. */
const statesPerSlice = 2;
const usualPublishMs = [500, 8_000] as const;
const usualReconnectMs = [500, 5_000] as const;

export class World {
  readonly time = new VirtualTime();
  readonly rng: Rng;
  readonly judge: Judge;
  readonly observer: Observer;
  readonly law: PolicyLaw;
  /** Where the broker closes for some packets. */
  readonly poison: PoisonLaw | undefined;
  readonly network: Network;
  readonly broker: SimBroker;
  readonly devices: SimDevice[] = [];
  readonly trace: string[] = [];
  readonly #options: WorldOptions;
  readonly #table = new StateTable();
  /** When a message was put on its way over a shared connection: a session that ended since need not have it. */
  readonly #routedAt = new Map<string, number>();
  /** Put into the broker's queue for a client's own connection, by client and payload: behind a full window it may wait. */
  readonly #queuedFor = new Set<string>();
  /** Decides about sizes of messages and buffers. */
  readonly #sizes: Rng;
  /** Decides about what is for everybody, so that the rest of a life does not depend on it. */
  readonly #groupRng: Rng;
  /** Payloads of publications that were on disk at any time. */
  readonly #kept = new Set<string>();
  #core: GatewayCore | undefined;
  #crash: CrashPoint | undefined;
  #process: SimProcess | undefined;
  #healed = false;
  #published = 0;
  lives = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.rng = new Rng(options.seed);
    const buffer = options.core.buffer ?? testOptions.buffer;
    const { retryIntervalSeconds, retryLimit } = options.core.retry ?? testOptions.retry;
    const copiesPerRound = retryLimit + 1;
    this.law = new PolicyLaw({
      copiesMin: 3 * copiesPerRound,
      now: () => this.time.now(),
      policyOf: buffer.policyOf,
      clockIsRight: options.clock === "always",
      brokerKeeps: options.core.upstream?.mode !== "aggregating",
      canTake: (clientId, publication) =>
        !options.smallClients ||
        this.devices.find((device) => device.clientId === clientId)?.canTake(publication) === true,
    });
    const stores = options.core.uplink?.policyOf("").whenAway === "store";
    this.#groupRng = new Rng(options.seed ^ 0x6207);
    this.#sizes = new Rng(options.seed ^ 0x512e);
    if (options.poison || options.sickness) {
      const isShared = options.core.upstream?.mode === "aggregating";
      const lineOf = (clientId: string) => (isShared ? this.#sharedOf(clientId) : clientId);
      const mayClose = options.mayBePoison ?? (() => false);
      const { silenceMaxMs } = options;
      this.poison = new PoisonLaw({ now: () => this.time.now(), lineOf, mayClose, silenceMaxMs });
    }
    this.judge = new Judge(this.time, {
      stores,
      isShared: options.core.upstream?.mode === "aggregating",
      law: options.core.durable === true ? this.law : undefined,
      poison: this.poison,
      copiesPerRound,
      // From an address that the gateway does not know yet, a device is not heard.
      roundMs: options.moves ? 0 : copiesPerRound * retryIntervalSeconds * 1_000,
    });
    const fullWake = buffer.messagesMax + testOptions.upstream.receiveMaximum + buffer.extraPerWakeMax;
    this.observer = new Observer(() => this.time.now(), {
      isKept: (payload) => this.#kept.has(payload) || options.core.uplink?.policyOf("").atLimit === "newest",
      isDropped: (clientId, payload) => this.law.isDropped(clientId, payload),
      storeFails: options.storeFailure > 0,
      copiesPerRound,
      perWakeMax: Math.min(fullWake, buffer.perWakeMaxOf("")),
    });
    const { loss, duplicate, delayMs } = options;
    this.network = new Network(this.time, this.rng, { loss, duplicate, delayMs });
    this.network.onToDevice = (to, bytes) => {
      this.#note(`to   ${to} ${Buffer.from(bytes).toString("hex")}`);
      this.judge.fromGateway(to, bytes);
      const decoded = decode(bytes);
      if (!decoded.ok) return;
      this.poison?.fromGateway(clientAt(to), decoded.message);
      this.observer.fromGateway(to, decoded.message);
    };
    this.network.onAtGateway = (from, bytes) => {
      this.#note(`from ${from} ${Buffer.from(bytes).toString("hex")}`);
      this.judge.atGateway(from, bytes);
      const decoded = decode(bytes);
      if (!decoded.ok || !this.network.gateway) return;
      this.poison?.atGateway(clientAt(from), decoded.message);
      this.observer.atGateway(from, decoded.message);
    };
    this.broker = new SimBroker(
      this.time,
      this.rng,
      {
        cut: options.brokerCut,
        away: false,
        forgets: options.brokerForgets,
        exactlyOnceMaximum,
        lateMs: options.lateMs ?? 0,
        ...(options.copies && { copies: options.copies }),
        cutsBlame: options.cutsBlame ?? false,
        notesBeforeClosing: options.notes,
        closesForWill: (will) => {
          const closes = !this.#healed && options.willPoison?.(will) === true;
          if (closes) {
            this.#note(`broker closes at CONNECT for the will "${textOf(will)}"`);
            this.judge.closedForWill(will.topicName);
          }
          return closes;
        },
        closesFor: (packet) => {
          const isPoison = options.poison?.(packet) === true;
          const closes = isPoison || (!this.#healed && options.sickness?.(packet) === true);
          if (isPoison) this.poison?.closedFor(packet);
          else if (closes) this.poison?.closedWhileSick(packet);
          if (closes) this.#note(`broker closes ${packet.connection} for ${JSON.stringify(packet)}`);
          return closes;
        },
      },
      {
        accepted: (publication, from) => {
          this.#note(`broker saved "${Buffer.from(publication.payload)}" from ${from}`);
          this.judge.accepted(publication);
          this.observer.brokerSaved(publication);
        },
        routed: (clientId, publication) => {
          if (!isSharedId(clientId)) this.#queuedFor.add(`${clientId} ${textOf(publication)}`);
          else if (!publication.retain) this.#routedAt.set(textOf(publication), this.time.now());
        },
        acknowledged: (clientId, publication) => {
          if (!isSharedId(clientId)) return this.judge.promised(clientId, publication);
          const at = this.#routedAt.get(textOf(publication));
          for (const recipient of this.#recipientsOf(clientId, publication)) {
            // Its SUBSCRIBE reached the broker, and was refused to it because the answer was lost: it wants nothing yet.
            if (this.#core?.session(recipient)?.view.subscriptions === 0) continue;
            // At QoS 0 a client is promised nothing, whatever the broker gave the shared connection.
            if (this.devices.some((device) => device.clientId === recipient && device.habits.subscribeQoS > 0))
              this.judge.promised(recipient, publication, at);
          }
        },
        willFired: (clientId, will, cause) => {
          this.#note(`broker fires the will of ${clientId}: ${cause}`);
          this.judge.willFired(clientId, will, cause);
          this.observer.willFired(clientId, cause);
        },
        forgot: (clientId) => {
          const clients = isSharedId(clientId) ? this.devices.map((device) => device.clientId) : [clientId];
          for (const each of clients) this.judge.brokerForgot(each);
        },
        broke: (clientId) => this.poison?.broke(clientId),
        heard: (clientId, ack, packetId) => this.#note(`broker got ${ack} ${packetId} of ${clientId}`),
        strayAck: (clientId, ack, packetId) => {
          throw new Violation(`${ack} ${packetId} for ${clientId}, which the broker does not wait for`);
        },
      },
    );
    this.broker.latencyMs = options.latencyMs ?? this.broker.latencyMs;
    this.#startGateway();
    for (let i = 0; i < options.devices; i++) this.#addDevice(`c${i}`);
    this.#planPublisher();
    this.#planTroubles();
    this.#planFlaps();
    this.#planSquatters();
  }

  /** A whole life: with all troubles of the seed, then without, until all is settled. */
  live(): void {
    const minutes = this.#options.devices < crowd ? { troubled: 20, healed: 15 } : { troubled: 2, healed: 10 };
    this.run(minutes.troubled * 60_000);
    this.heal();
    // A will that was refused is so for an hour, and for two the next time.
    this.run((this.#options.willPoison ? 130 : minutes.healed) * 60_000);
    this.checkLiveness();
  }

  /** Lives on, judged at every step. */
  run(ms: number): void {
    const bufferMax =
      (this.#options.core.buffer ?? testOptions.buffer).messagesMax + testOptions.upstream.receiveMaximum;
    this.time.runUntil(this.time.now() + ms, () => {
      const core = this.#core;
      if (core) this.judge.everyStep({ sessions: core.sessions(), nextDeadline: core.nextDeadline(), bufferMax });
      this.poison?.everyStep();
    });
    this.#calls.set(this.time.now(), this.#crash?.passed ?? 0);
  }

  /** The process that lives is gone, and starts again a while later. */
  cutPower(): void {
    this.#crash?.die();
  }

  /** Edge calls of the process that lived at this time, as far as it came. */
  callsUntil(ms: number): number {
    return this.#calls.get(ms) ?? 0;
  }
  readonly #calls = new Map<number, number>();

  /** No more faults and no new work. */
  heal(): void {
    this.#healed = true;
    if (this.#crash) this.#crash.spared = true;
    Object.assign(this.network.faults, { loss: 0, duplicate: 0, delayMs: [5, 50] });
    Object.assign(this.broker.faults, { cut: 0, away: false, forgets: 0, lateMs: 0 });
    for (const device of this.devices) device.resting = true;
  }

  /** What is on disk for the broker. */
  #onItsWay(): ReadonlySet<string> {
    const texts = [...this.#table.states()].flatMap(({ session, uplink }) => [
      ...uplink.map(([, { publication }]) => textOf(publication)),
      ...this.#table
        .read(session.clientId, 0, Number.POSITIVE_INFINITY)
        .map(([, { publication }]) => textOf(publication)),
    ]);
    return new Set(texts);
  }

  /** What stands aside for a client with a small buffer may wait long, if others come all the time. */
  #waitingFor(clientId: string): ReadonlySet<string> {
    if (!this.#options.smallClients) return new Set();
    const state = this.#table.state(clientId);
    return new Set(state?.queued.map(([, { publication }]) => textOf(publication)));
  }

  /** Everybody is connected (or sleeps in order), nothing waits that could have gone, tables are small. */
  checkLiveness(): void {
    // A sleeper takes so much per wake-up: a long queue needs several.
    this.#emptyQueues();
    // Sleepers come and go: one may be in the middle of a CONNECT at this very moment, or a small client lost over silence.
    const isConnecting = () =>
      (this.#core?.sizes.pendingConnects ?? 0) > 0 ||
      (this.#options.smallClients === true && this.devices.some(({ device }) => device.state === "disconnected"));
    for (let tries = 0; tries < 30 && isConnecting(); tries++) this.run(1_000);
    this.judge.nothingPromisedIsMissing((clientId) => this.#waitingFor(clientId));
    this.judge.nothingToldIsMissing();
    this.poison?.nothingIsLost(this.#onItsWay());
    for (const device of this.devices) {
      if (device.device.state !== "disconnected" || this.poison?.isSick(device.clientId)) continue;
      if (this.judge.isRefusedForWill(device.clientId) || (this.poison && this.#core?.brokerThere === false)) continue;
      throw new Error(`${device.clientId} is still disconnected`);
    }
    const sizes = this.#core?.sizes;
    const most = this.devices.length + 2;
    if (
      sizes &&
      (sizes.pendingConnects > 0 || sizes.links > most || sizes.sessions > most || sizes.deadlines > 4 * most)
    ) {
      throw new Error(`tables have not settled: ${JSON.stringify(sizes)}`);
    }
    for (const session of this.#core?.sessions() ?? []) {
      // What a client cannot take may wait for its proof a long time.
      const isSmall = this.#options.smallClients === true;
      if (!isSmall && session.state !== "disconnected" && session.waitingMessages > 0)
        throw new Error(`${session.clientId} is ${session.state}, ${session.waitingMessages} wait`);
      // Of several poisons and nothing else nobody can tell that it is not the broker.
      if (session.owedToBroker > 0 && !this.#options.poison)
        throw new Error(`${session.owedToBroker} publications of ${session.clientId} wait for the broker`);
    }
    this.#checkSubscriptions();
  }

  /**
   * One more message to each, and one to all, for everybody who was told that it is subscribed, and no new SUBSCRIBE before
   * it; and somebody new, who gets what is retained.
   */
  #checkSubscriptions(): void {
    const late = this.#addDevice("late", {
      clean: true,
      sleepSeconds: 0,
      publishEveryMs: 0,
      subscribeQoS: 1,
      will: false,
      joins: ["d/all/#"],
      bufferBytes: Number.POSITIVE_INFINITY,
      knowsRegister: true,
    });
    late.resting = true;
    const topics = ["all", ...this.devices.map(({ clientId }) => clientId)].map((whose) => `d/${whose}/0`);
    this.run(60_000);
    // At QoS 0 it may have come while the client had no connection.
    const sure = this.devices.filter(({ habits }) => habits.subscribeQoS > 0);
    const owed = topics.flatMap((topicName) =>
      sure.flatMap(({ clientId }) =>
        this.judge.isOwed(clientId, topicName) ? [[clientId, `${topicName}|999999`] as const] : [],
      ),
    );
    for (const topicName of topics) {
      this.broker.publish({ topicName, payload: Buffer.from(`${topicName}|999999`), qos: 1, retain: false });
    }
    this.run(60_000);
    const isMissing = (clientId: string, payload: string) =>
      !this.law.wasHanded(clientId, payload) && !this.#queuedFor.has(`${clientId} ${payload}`);
    const missing = owed.filter((each) => isMissing(...each) && !this.poison?.isSick(each[0]));
    if (missing.length > 0)
      throw new Violation(`${missing.join("; ")}: subscribed, and the broker knows nothing of it`);
    this.#emptyQueues();
    this.judge.nothingPromisedIsMissing((clientId) => this.#waitingFor(clientId));
    // Where connections still end, its SUBSCRIBE may have come between two of them.
    const isSubscribed = !this.poison?.isSick("late") && (!this.poison || this.judge.isOwed("late", "d/all/0"));
    for (const kept of isSubscribed ? this.#keptBy("d/all/#") : []) {
      if (!this.judge.hasGot("late", textOf(kept)))
        throw new Violation(`late never got the retained "${textOf(kept)}"`);
    }
  }

  #emptyQueues(): void {
    for (let i = 0; i < this.#patience && this.#somebodyWaits(); i++) {
      for (let minutes = 10; minutes > 0; minutes--) {
        if (this.#options.smallClients) this.#sendSmall();
        this.run(60_000);
      }
    }
    // What was sent last may wait behind a round, or for a wake-up.
    if (this.#options.smallClients && this.#somebodyWaits()) this.run(10 * 60_000);
  }

  /** Tens of minutes that queues are given to empty. */
  get #patience(): number {
    if (this.poison) return 40; // some may wait for ever: see the law
    return this.#options.smallClients ? 9 : 60;
  }

  /** Something that each can take, and answers: what it never does comes to an end. */
  #sendSmall(): void {
    for (const { clientId } of this.devices) {
      const topicName = `d/${clientId}/0`;
      const payload = new TextEncoder().encode(`${topicName}|${++this.#published}`);
      this.broker.publish({ topicName, payload, qos: 1, retain: false });
    }
  }

  #somebodyWaits(): boolean {
    return [...(this.#core?.sessions() ?? [])].some(
      ({ waitingMessages, owedToBroker }) => waitingMessages + owedToBroker > 0,
    );
  }

  get #reconnectMs(): readonly [number, number] | undefined {
    return this.#options.pauses ? undefined : (this.#options.pace?.reconnectMs ?? usualReconnectMs);
  }

  #startGateway(): void {
    this.lives++;
    this.judge.gatewayBegins();
    const { core: overrides, crashes, wrap, cheat } = this.#options;
    const core = new (this.#options.unchecked ? GatewayCore : CheckedCore)(
      { ...testOptions, ...overrides, ...cheat, ...this.#access() },
      {
        maxMessageBytes: () => 1_024,
        hostOf: (peer) => peer,
        identityOf: (peer) => ({ name: peer, by: "address", verified: false }),
        wallClock: () => this.#wallClock(),
        random: () => this.rng.next(),
      },
    );
    const process = new SimProcess(this.time);
    const clock = new VirtualClock(process.timers);
    const upstream = new SimUpstream(this.broker, process, this.rng, this.#reconnectMs);
    upstream.onSent = (connection, packetId, packet) => {
      if (!this.poison) return;
      this.#note(`sends ${packetId} "${typeof packet === "string" ? packet : textOf(packet)}" to ${connection}`);
      this.poison.sends(connection, packetId, packet);
    };
    const store = this.#newStore(process);
    const edges: Edges = {
      transports: new Map([["sim", new SimTransport(this.network)]]),
      upstream,
      store: store.store,
      report: (event) => {
        this.#note(`core ${JSON.stringify(event)}`);
        this.judge.onReport(event);
        if (isSilence(event) && event.peer !== undefined && process.hasUnread(event.peer))
          throw new Violation(`${event.clientId} is lost (${event.why}), and its words wait to be read`);
        this.observer.reported(event);
      },
    };
    const dies = crashes && !this.#healed;
    const { crashAt } = this.#options;
    const lastCall = crashAt && this.lives === 1 ? crashAt.call : Number.POSITIVE_INFINITY;
    const point = new CrashPoint(dies ? this.rng.int(50, 3_000) : lastCall, () => {
      store.crash(crashAt?.share ?? this.rng.next());
      this.#note("the gateway dies");
      clock.stop();
      upstream.die();
      process.die();
      this.network.gateway = undefined;
      this.network.socket = undefined;
      this.#core = undefined;
      const durable = this.#options.core.durable === true;
      this.poison?.died();
      this.judge.gatewayCrashed({ kept: durable && this.#options.storeFailure === 0, durable });
      this.observer.gatewayDied();
      this.time.plan(this.rng.between(100, 20_000), () => this.#startGateway());
    });
    this.#crash = point;
    const driver = new Driver(wrap ? wrap(core) : core, mortal(edges, point), clock);
    const handle: Driver["handle"] = (input) => {
      if (!point.dead) driver.handle(input);
    };
    const comes: Driver["handle"] = (input) => process.comes(() => handle(input));
    const delivered: UpstreamEvents["delivered"] = (linkId, delivery) => {
      const clientId = upstream.clientOf(linkId);
      if (clientId !== undefined) {
        const { publication } = delivery;
        const recipients = this.#recipientsOf(clientId, publication);
        for (const { clientId: each } of isForAll(publication.topicName) ? this.devices : [])
          if (!recipients.includes(each)) this.law.mayHaveBeenHanded(each, publication);
        for (const recipient of recipients) {
          this.observer.handedToGateway(recipient, publication);
          this.law.handed(recipient, publication);
        }
      }
      this.#note(
        `handed "${Buffer.from(delivery.publication.payload)}" QoS ${delivery.publication.qos} as ${delivery.packetId}${delivery.dup ? " again" : ""} on ${linkId}`,
      );
      handle({ kind: "delivered", linkId, ...delivery });
    };
    upstream.startNow({
      up: (linkId, sessionPresent, limits) => {
        this.poison?.up(upstream.clientOf(linkId) ?? "");
        comes({ kind: "linkUp", linkId, sessionPresent, limits });
      },
      refused: (linkId, refusal, reason) => comes({ kind: "linkRefused", linkId, refusal, reason }),
      down: (linkId, end) => comes({ kind: "linkDown", linkId, ...end }),
      pong: (linkId) => comes({ kind: "pong", linkId }),
      congested: (linkId, congested) => comes({ kind: "linkCongested", linkId, congested }),
      delivered: (linkId, delivery) => process.comes(() => delivered(linkId, delivery)),
      released: (linkId, packetId) => {
        this.#note(`released ${packetId} on ${linkId}`);
        comes({ kind: "released", linkId, packetId });
      },
      acked: (linkId, ack, packetId, code) =>
        process.comes(() => {
          this.poison?.acked(upstream.clientOf(linkId) ?? "", packetId);
          handle({ kind: "brokerAck", linkId, ack, packetId, code });
        }),
    });
    this.network.gateway = {
      datagram: (from, bytes) => handle({ kind: "datagram", from, bytes }),
      peerGone: () => {},
      failed: () => {},
      notice: () => {},
    };
    this.network.socket = (from, arrive) => process.datagram(from, arrive);
    this.#process = process;
    this.#core = core;
    this.#startClock(comes);
    const states = [...this.#table.states()];
    const letters = [...this.#table.letters].map(([id, [clientId]]) => [id, clientId] as const);
    if (this.#options.core.durable === true && states.length > 0) {
      handle({ kind: "restored", known: [...this.#table.known], letters });
      for (let at = 0; at < states.length; at += statesPerSlice)
        handle({ kind: "restored", states: states.slice(at, at + statesPerSlice) });
    }
    driver.start();
  }

  /** Of the process that lives now: since when its clock is right. */
  #clockSetAt = Number.POSITIVE_INFINITY;

  #startClock(handle: Driver["handle"]): void {
    const { clock } = this.#options;
    this.#clockSetAt = clock === "always" ? 0 : Number.POSITIVE_INFINITY;
    if (clock !== "late") return;
    const at = this.time.now() + this.rng.between(0, 600_000);
    this.#clockSetAt = at;
    this.time.plan(at - this.time.now(), () => {
      if (this.#clockSetAt === at) handle({ kind: "clockSet" });
    });
  }

  /** Before it is set, a Pi's clock begins anew with each start. */
  #wallClock(): number | undefined {
    if (this.time.now() >= this.#clockSetAt) return worldBeganAt + this.time.now();
    return this.#options.believes ? worldBeganAt - 86_400_000 : undefined;
  }

  /** Commits take time, in order, and fail now and then. */
  #newStore(process: SimProcess): SimStore {
    return new SimStore({
      time: process,
      rng: this.rng,
      table: this.#table,
      fails: () => !this.#healed && this.rng.chance(this.#options.storeFailure),
      asked: (changes) => {
        this.law.decided(changes);
        this.poison?.decided(changes);
      },
      onDisk: (change) => {
        this.poison?.onDisk(change);
        if ((change.of === "backlog" || change.of === "uplink") && change.record)
          this.#kept.add(Buffer.from(change.record.publication.payload).toString());
      },
    });
  }

  /** A buffer that many messages do not fit into, and now and then no code for a REGISTER from a gateway. */
  #smallness(): Partial<DeviceHabits> {
    const bufferBytes = this.#sizes.int(60, 330);
    if (this.#sizes.chance(0.6)) return { bufferBytes };
    return {
      bufferBytes,
      knowsRegister: false,
      wildcard: false,
      joins: this.#sizes.pick([[], ["d/all/0", "d/all/#"]]),
    };
  }

  #addDevice(clientId: string, more: Partial<DeviceHabits> = {}): SimDevice {
    const { rng } = this;
    const sleepy = rng.chance(0.5);
    const habits: DeviceHabits = {
      clean: rng.chance(0.3),
      sleepSeconds: sleepy ? rng.int(10, 90) : 0,
      keepAliveSeconds: rng.int(20, 120),
      publishEveryMs: rng.chance(0.8) ? rng.between(2_000, 60_000) : 0,
      subscribeQoS: rng.int(0, 2) as QoS,
      will: rng.chance(0.4),
      wildcard: rng.chance(0.5),
      joins: this.#groupRng.pick(
        this.#options.copies === "each"
          ? [[], ["d/all/#"], ["d/all/0"], ["d/all/+"]]
          : [[], ["d/all/#"], ["d/all/0", "d/all/#"]],
      ),
      bufferBytes: Number.POSITIVE_INFINITY,
      knowsRegister: true,
      ...(this.#options.smallClients && this.#smallness()),
      ...(this.#options.toys && { plays: new Rng(this.#options.seed ^ hashOfText(clientId)) }),
      ...this.#options.habits,
      ...more,
    };
    const device = new SimDevice({
      clientId,
      habits,
      time: this.time,
      rng,
      network: this.network,
      judge: this.judge,
      keptBy: (filter) => this.#keptBy(filter),
      device: this.#options.device?.(clientId),
    });
    this.devices.push(device);
    this.judge.announces(clientId, habits);
    return device;
  }

  #planPublisher(): void {
    this.time.plan(this.rng.between(...(this.#options.pace?.publishMs ?? usualPublishMs)), () => {
      this.#planPublisher();
      if (this.#healed) return;
      const device = this.rng.pick(this.devices);
      const own = `d/${device.clientId}/${this.rng.int(0, 3)}`;
      const retain = this.#groupRng.chance(0.05);
      const topicName = retain ? "d/all/9" : this.#groupRng.chance(0.15) ? `d/all/${this.#groupRng.int(0, 3)}` : own;
      const burst = this.rng.chance(0.1) ? 20 : 1;
      for (let i = 0; i < burst; i++) {
        const text = `${topicName}|${++this.#published}`;
        const isLong = this.#options.smallClients === true && this.#sizes.chance(0.12);
        const padding = isLong ? `|${".".repeat(this.#sizes.int(0, 300))}` : "";
        const payload = new TextEncoder().encode(text + padding);
        this.broker.publish({
          topicName,
          payload,
          qos: this.rng.int(0, 2) as QoS,
          retain,
        } satisfies Publication);
      }
    });
  }

  #keptBy(filter: string): Publication[] {
    return [...this.broker.retained.values()].filter(({ topicName, qos }) => qos > 0 && matches(filter, topicName));
  }

  /** To whom a packet of the broker goes, as far as they were told that they are subscribed; noted when it comes first. */
  #recipientsOf(mqttClientId: string, publication: Publication): readonly string[] {
    if (!isSharedId(mqttClientId)) return [mqttClientId];
    const { topicName, retain } = publication;
    if (!isForAll(topicName)) return [topicName.split("/")[1] ?? ""];
    if (retain) return []; // whoever waits for it: see the judge
    const key = `${mqttClientId} ${textOf(publication)}`;
    let recipients = this.#recipients.get(key);
    if (!recipients) {
      recipients = this.devices
        .map(({ clientId }) => clientId)
        .filter(
          (clientId) => this.#sharedOf(clientId) === mainOf(mqttClientId) && this.judge.isOwed(clientId, topicName),
        )
        .filter((clientId) => this.#options.copies !== "each" || this.#goesBy(clientId, mqttClientId, topicName));
      this.#recipients.set(key, recipients);
    }
    return recipients;
  }

  /** Where a copy comes for each filter: is this the connection on which the client's one stands? */
  #goesBy(clientId: string, mqttClientId: string, topicName: string): boolean {
    const joins = this.devices.find((device) => device.clientId === clientId)?.habits.joins ?? [];
    const standing = this.broker.filtersOf(mqttClientId);
    return joins.some((filter) => matches(filter, topicName) && standing.includes(filter));
  }

  /** A client keeps to one of the connections. */
  #sharedOf(clientId: string): string {
    const { upstream } = this.#options.core;
    const index = hashOfText(clientId) % (upstream?.connections ?? 1);
    return testOptions.upstream.serviceClientId + (index === 0 ? "" : `-${index}`);
  }
  readonly #recipients = new Map<string, readonly string[]>();

  #planTroubles(): void {
    this.time.plan(this.rng.between(10_000, 120_000), () => {
      this.#planTroubles();
      if (this.#healed) return;
      const { outages, resets, moves, absences, garbage, stalls } = this.#options;
      if (outages && this.rng.chance(0.3)) this.#outage();
      if (resets && this.rng.chance(0.3)) this.rng.pick(this.devices).reset();
      if (moves && this.rng.chance(0.5)) this.rng.pick(this.devices).move();
      if (absences && this.rng.chance(0.5)) this.rng.pick(this.devices).fallSilent(this.rng.between(20_000, 400_000));
      if (absences && this.rng.chance(0.3)) this.rng.pick(this.devices).sayGoodbye();
      if (garbage) this.#garbage();
      if (stalls && this.rng.chance(0.5)) this.standStill(this.rng.between(500, 60_000));
    });
  }

  #planSquatters(): void {
    if (!this.#options.squatters) return;
    this.time.plan(this.rng.between(1_000, 10_000), () => {
      this.#planSquatters();
      if (this.#healed) return;
      const number = ++this.#squatters;
      const connect = { type: "CONNECT", protocolId: 1, will: false, cleanSession: false, duration: 65_535 } as const;
      this.network.fromDevice(`sim/squatter${number}:1`, encode({ ...connect, clientId: `squatter${number}` }));
    });
  }
  #squatters = 0;

  /** From the second life on one client is not let in. */
  #access(): Partial<CoreOptions> {
    const { denied } = this.#options;
    if (denied === undefined || this.lives < 2) return {};
    this.judge.denies(denied);
    const client: AccessPolicy["client"] = (clientId) =>
      clientId === denied ? { admitted: false, hint: "" } : { admitted: true };
    return { access: { ...admitAll, client } };
  }

  #planFlaps(): void {
    const { flapMs } = this.#options;
    if (!flapMs) return;
    this.time.plan(this.rng.between(...flapMs), () => {
      this.#planFlaps();
      if (!this.#healed) this.broker.cutAll();
    });
  }

  #outage(): void {
    this.brokerLeaves(this.rng.between(1_000, 120_000));
  }

  /** The broker is away for so long, and every connection to it is cut. */
  brokerLeaves(ms: number): void {
    this.#note("the broker is away");
    this.broker.faults.away = true;
    this.broker.cutAll();
    this.poison?.away();
    this.time.plan(ms, () => {
      this.broker.faults.away = false;
    });
  }

  /** The process of the gateway does not run for so long. */
  standStill(ms: number): void {
    const process = this.#process;
    if (!process || process.isStopped || !this.#core) return; // between two lives there is nobody to stand still
    this.#note(`the gateway stands still for ${ms} ms`);
    process.stop();
    this.poison?.stops();
    this.time.plan(ms, () => {
      if (!process.isStopped) return; // it died
      this.poison?.goesOn();
      this.#note("the gateway goes on");
      if (ms >= noticedMs) this.judge.goesOn();
      this.observer.goesOn();
      this.law.goesOn();
      process.goOn();
    });
  }

  #garbage(): void {
    for (let i = 0; i < 20; i++) {
      const bytes = Uint8Array.from({ length: this.rng.int(0, 40) }, () => this.rng.int(0, 255));
      if (this.rng.chance(0.7) && bytes.length > 1) bytes[0] = bytes.length;
      if (bytes.length > 1 && this.rng.chance(0.7)) bytes[1] = this.rng.int(0, 0x1e);
      this.network.fromDevice(`sim/stranger${this.rng.int(0, 5)}:1`, bytes);
    }
  }

  #note(what: string): void {
    this.trace.push(`${(this.time.now() / 1_000).toFixed(3).padStart(10)} ${what}`);
    if (this.trace.length > 60_000) this.trace.splice(0, 30_000);
  }
}

/** A shorter pause may not be noticed; but then, too, what waits is read first. */
const noticedMs = 2_000;

function isSilence(event: GatewayEvent): event is Extract<GatewayEvent, { event: "client_state" }> {
  return event.event === "client_state" && event.state === "lost" && /ran out|too long/.test(event.why);
}

/** MQTT client ids of shared connections begin like the gateway's own. */
function isSharedId(mqttClientId: string): boolean {
  return mqttClientId.startsWith(testOptions.upstream.serviceClientId);
}

/** Of a lane that of its main connection. */
function mainOf(mqttClientId: string): string {
  return mqttClientId.replace(/-lane-\d+$/, "");
}
