/** A world of one gateway (its shipped core, driver and codec), devices, the network and a broker, all of one seed. */
import { hashOfText } from "../../src/core/state/shared-connection.ts";
import type { Publication, QoS } from "../../src/core/types.ts";
import { matches } from "../../src/wire/topic.ts";
import { decode } from "../../src/wire/v12/codec.ts";
import { exactlyOnceMaximum, SimBroker } from "./broker.ts";
import { Judge } from "./judge.ts";
import { Network } from "./network.ts";
import { Observer } from "./observer.ts";
import { testOptions } from "./options.ts";
import { PoisonLaw } from "./poison-law.ts";
import { PolicyLaw } from "./policy-law.ts";
import { isSharedId, Recipients } from "./recipients.ts";
import { Rng } from "./rng.ts";
import { SecureNetwork } from "./secure-network.ts";
import { Settled } from "./settled.ts";
import { clientAt } from "./sim-address.ts";
import { type DeviceHabits, SimDevice } from "./sim-device.ts";
import { SimGateway } from "./sim-gateway.ts";
import { crowd, type WorldOptions } from "./swarm.ts";
import { textOf } from "./texts.ts";
import { Troubles } from "./troubles.ts";
import { Violation } from "./violation.ts";
import { VirtualTime } from "./virtual-time.ts";

const usualPublishMs = [500, 8_000] as const;

export class World {
  readonly time = new VirtualTime();
  readonly rng: Rng;
  readonly judge: Judge;
  readonly observer: Observer;
  readonly law: PolicyLaw;
  /** Where the broker closes for some packets. */
  readonly poison: PoisonLaw | undefined;
  readonly network: Network;
  /** The same where devices have keys. */
  readonly secure: SecureNetwork | undefined;
  readonly broker: SimBroker;
  readonly devices: SimDevice[] = [];
  readonly trace: string[] = [];
  readonly options: WorldOptions;
  readonly gateway: SimGateway;
  readonly recipients: Recipients;
  /** When a message was sent on a shared connection: a session that ended since need not have it. */
  readonly #routedAt = new Map<string, number>();
  /** Put into the broker's queue for a client's own connection, by client and payload: behind a full window it may wait. */
  readonly queuedFor = new Set<string>();
  /** Decides about sizes of messages and buffers. */
  readonly #sizes: Rng;
  /** Decides about what is for everybody, so that the rest of a run does not depend on it. */
  readonly #groupRng: Rng;
  #healed = false;
  #published = 0;

  constructor(options: WorldOptions) {
    this.options = options;
    this.gateway = new SimGateway(this);
    this.recipients = new Recipients(this);
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
      const lineOf = (clientId: string) => (isShared ? this.recipients.sharedOf(clientId) : clientId);
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
      // The gateway does not know this address yet, so the device is not heard.
      roundMs: options.moves || options.secure ? 0 : copiesPerRound * retryIntervalSeconds * 1_000,
    });
    const fullWake = buffer.messagesMax + testOptions.upstream.receiveMaximum + buffer.extraPerWakeMax;
    this.observer = new Observer(() => this.time.now(), {
      isKept: (payload) => this.gateway.kept.has(payload) || options.core.uplink?.policyOf("").atLimit === "newest",
      isDropped: (clientId, payload) => this.law.isDropped(clientId, payload),
      storeFails: options.storeFailure > 0,
      copiesPerRound,
      perWakeMax: Math.min(fullWake, buffer.perWakeMaxOf("")),
    });
    const { loss, duplicate, delayMs } = options;
    const faults = { loss, duplicate, delayMs };
    if (options.secure)
      this.secure = new SecureNetwork(this.time, new Rng(options.seed ^ 0x5ec4), faults, options.seed, options.secure);
    this.network = this.secure ?? new Network(this.time, this.rng, faults);
    if (this.secure) this.secure.onNote = (what) => this.note(what);
    this.network.onToDevice = (to, bytes) => {
      this.note(`to   ${to} ${Buffer.from(bytes).toString("hex")}`);
      this.judge.fromGateway(to, bytes);
      const decoded = decode(bytes);
      if (!decoded.ok) return;
      this.poison?.fromGateway(clientAt(to), decoded.message);
      this.observer.fromGateway(to, decoded.message);
    };
    this.network.onAtGateway = (from, bytes) => {
      this.note(`from ${from} ${Buffer.from(bytes).toString("hex")}`);
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
            this.note(`broker closes at CONNECT for the will "${textOf(will)}"`);
            this.judge.closedForWill(will.topicName);
          }
          return closes;
        },
        closesFor: (packet) => {
          const isPoison = options.poison?.(packet) === true;
          const closes = isPoison || (!this.#healed && options.sickness?.(packet) === true);
          if (isPoison) this.poison?.closedFor(packet);
          else if (closes) this.poison?.closedWhileSick(packet);
          if (closes) this.note(`broker closes ${packet.connection} for ${JSON.stringify(packet)}`);
          return closes;
        },
      },
      {
        accepted: (publication, from) => {
          this.note(`broker saved "${Buffer.from(publication.payload)}" from ${from}`);
          this.judge.accepted(publication);
          this.observer.brokerSaved(publication);
        },
        routed: (clientId, publication) => {
          if (!isSharedId(clientId)) this.queuedFor.add(`${clientId} ${textOf(publication)}`);
          else if (!publication.retain) this.#routedAt.set(textOf(publication), this.time.now());
        },
        acknowledged: (clientId, publication) => {
          if (!isSharedId(clientId)) return this.judge.promised(clientId, publication);
          const at = this.#routedAt.get(textOf(publication));
          for (const recipient of this.recipients.of(clientId, publication)) {
            // Its SUBSCRIBE reached the broker, and was refused to it: the answer was lost, or its new session has not subscribed yet.
            const { topicName } = publication;
            if (this.gateway.core?.session(recipient)?.view.subscriptions === 0) continue;
            if (!this.judge.isOwed(recipient, topicName)) continue;
            // At QoS 0 a client is promised nothing, even if the broker delivered the message on the shared connection.
            if (this.devices.some((device) => device.clientId === recipient && device.habits.subscribeQoS > 0))
              this.judge.promised(recipient, publication, at);
          }
        },
        willFired: (clientId, will, cause) => {
          this.note(`broker fires the will of ${clientId}: ${cause}`);
          this.judge.willFired(clientId, will, cause);
          this.observer.willFired(clientId, cause);
        },
        forgot: (clientId) => {
          const clients = isSharedId(clientId) ? this.devices.map((device) => device.clientId) : [clientId];
          for (const each of clients) this.judge.brokerForgot(each);
        },
        broke: (clientId) => this.poison?.broke(clientId),
        heard: (clientId, ack, packetId) => this.note(`broker got ${ack} ${packetId} of ${clientId}`),
        strayAck: (clientId, ack, packetId) => {
          throw new Violation(`${ack} ${packetId} for ${clientId}, which the broker does not wait for`);
        },
      },
    );
    this.broker.latencyMs = options.latencyMs ?? this.broker.latencyMs;
    this.gateway.start();
    for (let i = 0; i < options.devices; i++) this.addDevice(`c${i}`);
    this.#planPublisher();
    new Troubles(this).plan();
  }

  /** No more faults come, and no new work. */
  get isHealed(): boolean {
    return this.#healed;
  }

  /** Processes of the gateway so far. */
  get runs(): number {
    return this.gateway.runs;
  }

  /** Of one more message. */
  nextNumber(): number {
    return ++this.#published;
  }

  /** A whole run: with all troubles of the seed, then without, until all is settled. */
  live(): void {
    const minutes = this.options.devices < crowd ? { troubled: 20, healed: 15 } : { troubled: 2, healed: 10 };
    this.run(minutes.troubled * 60_000);
    this.heal();
    // A will that was refused is so for an hour, and for two the next time.
    this.run((this.options.willPoison ? 130 : minutes.healed) * 60_000);
    this.checkLiveness();
  }

  /** Every device is connected (or sleeps in order), no message waits that could have been sent, tables are small. */
  checkLiveness(): void {
    new Settled(this).check();
  }

  /** Continues, judged at every step. */
  run(ms: number): void {
    const bufferMax =
      (this.options.core.buffer ?? testOptions.buffer).messagesMax + testOptions.upstream.receiveMaximum;
    this.time.runUntil(this.time.now() + ms, () => {
      const { core } = this.gateway;
      if (core) this.judge.everyStep({ sessions: core.sessions(), nextDeadline: core.nextDeadline(), bufferMax });
      this.poison?.everyStep();
    });
    this.#calls.set(this.time.now(), this.gateway.calls);
  }

  /** The running process is killed, and starts again some time later. */
  cutPower(): void {
    this.gateway.cutPower();
  }

  /** Edge calls of the process that lived at this time, as far as it came. */
  callsUntil(ms: number): number {
    return this.#calls.get(ms) ?? 0;
  }
  readonly #calls = new Map<number, number>();

  /** No more faults and no new work. */
  heal(): void {
    this.#healed = true;
    this.secure?.heal();
    this.gateway.spare();
    Object.assign(this.network.faults, { loss: 0, duplicate: 0, delayMs: [5, 50] });
    Object.assign(this.broker.faults, { cut: 0, away: false, forgets: 0, lateMs: 0 });
    for (const device of this.devices) device.resting = true;
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

  addDevice(clientId: string, more: Partial<DeviceHabits> = {}): SimDevice {
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
        this.options.copies === "each"
          ? [[], ["d/all/#"], ["d/all/0"], ["d/all/+"]]
          : [[], ["d/all/#"], ["d/all/0", "d/all/#"]],
      ),
      bufferBytes: Number.POSITIVE_INFINITY,
      knowsRegister: true,
      ...(this.options.smallClients && this.#smallness()),
      ...(this.options.toys && { plays: new Rng(this.options.seed ^ hashOfText(clientId)) }),
      ...this.options.habits,
      ...more,
    };
    const device = new SimDevice({
      clientId,
      habits,
      time: this.time,
      rng,
      network: this.network,
      judge: this.judge,
      keptBy: (filter) => this.keptBy(filter),
      device: this.options.device?.(clientId),
    });
    this.devices.push(device);
    this.judge.announces(clientId, habits);
    return device;
  }

  #planPublisher(): void {
    this.time.plan(this.rng.between(...(this.options.pace?.publishMs ?? usualPublishMs)), () => {
      this.#planPublisher();
      if (this.#healed) return;
      const device = this.rng.pick(this.devices);
      const own = `d/${device.clientId}/${this.rng.int(0, 3)}`;
      const retain = this.#groupRng.chance(0.05);
      const topicName = retain ? "d/all/9" : this.#groupRng.chance(0.15) ? `d/all/${this.#groupRng.int(0, 3)}` : own;
      const burst = this.rng.chance(0.1) ? 20 : 1;
      for (let i = 0; i < burst; i++) {
        const text = `${topicName}|${this.nextNumber()}`;
        const isLong = this.options.smallClients === true && this.#sizes.chance(0.12);
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

  /** What the broker retains under names that match, at QoS 1 and 2. */
  keptBy(filter: string): Publication[] {
    return [...this.broker.retained.values()].filter(({ topicName, qos }) => qos > 0 && matches(filter, topicName));
  }

  /** The broker is away for so long, and every connection to it is cut. */
  brokerLeaves(ms: number): void {
    this.note("the broker is away");
    this.broker.faults.away = true;
    this.broker.cutAll();
    this.poison?.away();
    this.time.plan(ms, () => {
      this.broker.faults.away = false;
    });
  }

  /** The process of the gateway does not run for so long. */
  standStill(ms: number): void {
    const { process, core } = this.gateway;
    if (!process || process.isStopped || !core) return; // between two runs there is no process to stop
    this.note(`the gateway stands still for ${ms} ms`);
    process.stop();
    this.poison?.stops();
    this.time.plan(ms, () => {
      if (!process.isStopped) return; // it died
      this.poison?.goesOn();
      this.note("the gateway goes on");
      if (ms >= noticedMs) this.judge.goesOn();
      this.observer.goesOn();
      this.law.goesOn();
      process.goOn();
    });
  }

  note(what: string): void {
    this.trace.push(`${(this.time.now() / 1_000).toFixed(3).padStart(10)} ${what}`);
    if (this.trace.length > 60_000) this.trace.splice(0, 30_000);
  }
}

/** A shorter pause may not be noticed; but then, too, what waits is read first. */
const noticedMs = 2_000;
