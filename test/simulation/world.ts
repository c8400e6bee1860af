/** A world of one gateway (its shipped core, driver and codec), devices, the air and a broker, all of one seed. */

import type { Core } from "../../src/core/core.ts";
import { GatewayCore } from "../../src/core/gateway-core.ts";
import type { CoreOptions } from "../../src/core/options.ts";
import type { Change } from "../../src/core/record.ts";
import type { Publication, QoS } from "../../src/core/types.ts";
import type { AnyDevice } from "../../src/device/device.ts";
import { GatewayError } from "../../src/errors.ts";
import { Driver } from "../../src/runtime/driver.ts";
import type { Edges } from "../../src/runtime/perform.ts";
import { StateTable } from "../../src/storage/state-table.ts";
import type { Store } from "../../src/storage/store.ts";
import { decode } from "../../src/wire/v12/codec.ts";
import { SimBroker, SimUpstream } from "./broker.ts";
import { CrashPoint, mortal } from "./crash.ts";
import { Judge, Violation } from "./judge.ts";
import { Network, SimTransport } from "./network.ts";
import { testOptions } from "./options.ts";
import { Rng } from "./rng.ts";
import { type DeviceHabits, SimDevice } from "./sim-device.ts";
import { VirtualClock, VirtualTime } from "./virtual-time.ts";
import { Witness } from "./witness.ts";

export type Mode = CoreOptions["upstream"]["mode"];

export interface WorldOptions {
  readonly seed: number;
  /** Each fault may be off, so that seeds differ in kind. */
  readonly loss: number;
  readonly duplicate: number;
  readonly delayMs: readonly [number, number];
  readonly brokerCut: number;
  readonly brokerForgets: number;
  readonly outages: boolean;
  readonly resets: boolean;
  readonly moves: boolean;
  /** Devices fall silent for minutes (out of range, a flat battery), and some say goodbye. */
  readonly absences: boolean;
  readonly crashes: boolean;
  readonly garbage: boolean;
  readonly devices: number;
  readonly storeFailure: number;
  readonly core: Partial<CoreOptions>;
  /** Puts something between the driver and the core: a planted bug. */
  readonly wrap?: (core: Core) => Core;
  /** Settings that only the core sees: the rules go on judging by the others. */
  readonly cheat?: Partial<CoreOptions>;
  /** Other devices than those of src/device. */
  readonly device?: (clientId: string) => AnyDevice;
}

/** Everything by the dice of the seed. */
export function swarm(seed: number, mode: Mode = "transparent"): WorldOptions {
  const rng = new Rng(seed ^ 0x5eed);
  const durable = new Rng(seed ^ 0xd0ab).chance(0.6);
  const stores = durable && new Rng(seed ^ 0x5703).chance(0.75);
  const some = (chance: number, value: () => number) => (rng.chance(chance) ? value() : 0);
  return {
    seed,
    loss: some(0.6, () => rng.between(0.01, 0.25)),
    duplicate: some(0.5, () => rng.between(0.01, 0.2)),
    delayMs: rng.chance(0.5) ? [5, 50] : [5, rng.between(100, 3_000)],
    brokerCut: some(0.4, () => rng.between(0.001, 0.02)),
    brokerForgets: some(0.2, () => 0.5),
    outages: rng.chance(0.3),
    resets: rng.chance(0.3),
    moves: rng.chance(0.4),
    absences: new Rng(seed ^ 0xab5e).chance(0.4),
    crashes: rng.chance(0.25),
    garbage: rng.chance(0.3),
    devices: rng.int(2, 6),
    storeFailure: some(0.2, () => 0.05),
    core: {
      durable,
      uplink: stores ? storing(new Rng(seed ^ 0x570e)) : testOptions.uplink,
      buffer: rng.chance(0.3) ? { ...testOptions.buffer, messagesMax: 5, extraPerWakeMax: 3 } : testOptions.buffer,
      upstream: {
        ...testOptions.upstream,
        mode,
        connections: new Rng(seed ^ 0xc099).chance(0.3) ? 2 : 1,
        will: { held: rng.chance(0.3) ? "gateway" : "broker", delaySeconds: 120 },
      },
    },
  };
}

/** Store and forward, with limits that are reached now and then. */
function storing(rng: Rng): CoreOptions["uplink"] {
  const policy = {
    whenAway: "store",
    qos0: rng.chance(0.2),
    messagesMax: rng.chance(0.3) ? 4 : 1_000,
    bytesMax: 1_000_000,
    ageSecondsMax: 0,
    atLimit: rng.pick(["refuse", "oldest", "newest"] as const),
  } as const;
  return { ...testOptions.uplink, drainPerSecond: rng.pick([2, 50, 1_000]), policyOf: () => policy };
}

export class World {
  readonly time = new VirtualTime();
  readonly rng: Rng;
  readonly judge: Judge;
  readonly witness: Witness;
  readonly network: Network;
  readonly broker: SimBroker;
  readonly devices: SimDevice[] = [];
  readonly trace: string[] = [];
  readonly #options: WorldOptions;
  readonly #table = new StateTable();
  /** When a message was put on its way over a shared connection: a session that ended since need not have it. */
  readonly #routedAt = new Map<string, number>();
  /** Payloads of publications that were on disk at any time. */
  readonly #kept = new Set<string>();
  #core: GatewayCore | undefined;
  #crash: CrashPoint | undefined;
  #healed = false;
  #published = 0;
  lives = 0;

  constructor(options: WorldOptions) {
    this.#options = options;
    this.rng = new Rng(options.seed);
    this.judge = new Judge(this.time, options.core.uplink?.policyOf("").whenAway === "store");
    const buffer = options.core.buffer ?? testOptions.buffer;
    this.witness = new Witness(() => this.time.now(), {
      isKept: (payload) => this.#kept.has(payload) || options.core.uplink?.policyOf("").atLimit === "newest",
      perWakeMax: buffer.messagesMax + testOptions.upstream.receiveMaximum + buffer.extraPerWakeMax,
    });
    const { loss, duplicate, delayMs } = options;
    this.network = new Network(this.time, this.rng, { loss, duplicate, delayMs });
    this.network.onToDevice = (to, bytes) => {
      this.#note(`to   ${to} ${Buffer.from(bytes).toString("hex")}`);
      this.judge.fromGateway(to, bytes);
      const decoded = decode(bytes);
      if (decoded.ok) this.witness.fromGateway(to, decoded.message);
    };
    this.network.onAtGateway = (from, bytes) => {
      this.#note(`from ${from} ${Buffer.from(bytes).toString("hex")}`);
      this.judge.atGateway(from, bytes);
      const decoded = decode(bytes);
      if (decoded.ok && this.network.gateway) this.witness.atGateway(from, decoded.message);
    };
    this.broker = new SimBroker(
      this.time,
      this.rng,
      { cut: options.brokerCut, away: false, forgets: options.brokerForgets },
      {
        accepted: (publication, from) => {
          this.#note(`broker saved "${Buffer.from(publication.payload)}" from ${from}`);
          this.judge.accepted(publication);
          this.witness.brokerSaved(publication);
        },
        routed: (clientId, publication) => {
          if (isTrunk(clientId)) this.#routedAt.set(textOf(publication), this.time.now());
        },
        acknowledged: (clientId, publication) =>
          isTrunk(clientId)
            ? this.judge.promised(recipientOf(publication), publication, this.#routedAt.get(textOf(publication)))
            : this.judge.promised(clientId, publication),
        willFired: (clientId, will, cause) => {
          this.#note(`broker fires the will of ${clientId}: ${cause}`);
          this.judge.willFired(clientId, will, cause);
          this.witness.willFired(clientId, cause);
        },
        forgot: (clientId) => {
          const clients = isTrunk(clientId) ? this.devices.map((device) => device.clientId) : [clientId];
          for (const each of clients) this.judge.brokerForgot(each);
        },
        strayAck: (clientId, ack, packetId) => {
          throw new Violation(`${ack} ${packetId} for ${clientId}, which the broker does not wait for`);
        },
      },
    );
    this.#startGateway();
    for (let i = 0; i < options.devices; i++) this.#addDevice(`c${i}`);
    this.#planPublisher();
    this.#planTroubles();
  }

  /** Lives on, judged at every step. */
  run(ms: number): void {
    const bufferMax =
      (this.#options.core.buffer ?? testOptions.buffer).messagesMax + testOptions.upstream.receiveMaximum;
    this.time.runUntil(this.time.now() + ms, () => {
      const core = this.#core;
      if (core) this.judge.everyStep({ sessions: core.sessions(), nextDeadline: core.nextDeadline(), bufferMax });
    });
  }

  /** No more faults and no new work. */
  heal(): void {
    this.#healed = true;
    if (this.#crash) this.#crash.spared = true;
    Object.assign(this.network.faults, { loss: 0, duplicate: 0, delayMs: [5, 50] });
    Object.assign(this.broker.faults, { cut: 0, away: false, forgets: 0 });
    for (const device of this.devices) device.resting = true;
  }

  /** Everybody is connected (or sleeps in order), nothing waits that could have gone, tables are small. */
  checkLiveness(): void {
    // A sleeper takes so much per wake-up: a long queue needs several.
    for (let i = 0; i < 12 && this.#somebodyWaits(); i++) this.run(10 * 60_000);
    // Sleepers come and go: one may be in the middle of a CONNECT at this very moment.
    for (let tries = 0; tries < 10 && (this.#core?.sizes.setups ?? 0) > 0; tries++) this.run(1_000);
    this.judge.nothingPromisedIsMissing();
    this.judge.nothingToldIsMissing();
    for (const device of this.devices) {
      if (device.device.state === "disconnected") throw new Error(`${device.clientId} is still disconnected`);
    }
    const sizes = this.#core?.sizes;
    const most = this.devices.length + 2;
    if (sizes && (sizes.setups > 0 || sizes.links > most || sizes.sessions > most || sizes.deadlines > 4 * most)) {
      throw new Error(`tables have not settled: ${JSON.stringify(sizes)}`);
    }
    for (const session of this.#core?.sessions() ?? []) {
      if (session.state !== "disconnected" && session.waitingMessages > 0)
        throw new Error(`${session.clientId} is ${session.state}, ${session.waitingMessages} wait`);
      if (session.owedToBroker > 0)
        throw new Error(`${session.owedToBroker} publications of ${session.clientId} wait for the broker`);
    }
  }

  #somebodyWaits(): boolean {
    return [...(this.#core?.sessions() ?? [])].some(
      ({ waitingMessages, owedToBroker }) => waitingMessages + owedToBroker > 0,
    );
  }

  #startGateway(): void {
    this.lives++;
    const { core: overrides, crashes, wrap, cheat } = this.#options;
    const core = new GatewayCore(
      { ...testOptions, ...overrides, ...cheat },
      {
        maxMessageBytes: () => 1_024,
        hostOf: (peer) => peer,
        wallClock: () => undefined,
        random: () => this.rng.next(),
      },
    );
    const clock = new VirtualClock(this.time);
    const upstream = new SimUpstream(this.broker, this.time, this.rng);
    const edges: Edges = {
      transports: new Map([["sim", new SimTransport(this.network)]]),
      upstream,
      store: this.#slowStore(),
      report: (event) => {
        this.#note(`core ${JSON.stringify(event)}`);
        this.judge.onReport(event);
        this.witness.reported(event);
      },
    };
    const dies = crashes && !this.#healed;
    const point = new CrashPoint(dies ? this.rng.int(50, 3_000) : Number.POSITIVE_INFINITY, () => {
      this.#note("the gateway dies");
      clock.stop();
      upstream.die();
      this.network.gateway = undefined;
      this.#core = undefined;
      this.judge.gatewayCrashed(this.#options.core.durable === true && this.#options.storeFailure === 0);
      this.witness.gatewayDied();
      this.time.plan(this.rng.between(100, 20_000), () => this.#startGateway());
    });
    this.#crash = point;
    const driver = new Driver(wrap ? wrap(core) : core, mortal(edges, point), clock);
    const handle: Driver["handle"] = (input) => {
      if (!point.dead) driver.handle(input);
    };
    upstream.startNow({
      up: (linkId, sessionPresent, limits) => handle({ kind: "linkUp", linkId, sessionPresent, limits }),
      refused: (linkId, refusal, reason) => handle({ kind: "linkRefused", linkId, refusal, reason }),
      down: (linkId, reason, takenOver) => handle({ kind: "linkDown", linkId, reason, takenOver }),
      congested: (linkId, congested) => handle({ kind: "linkCongested", linkId, congested }),
      delivered: (linkId, delivery) => {
        const clientId = upstream.clientOf(linkId);
        if (clientId !== undefined) {
          const { publication } = delivery;
          this.witness.handedToGateway(isTrunk(clientId) ? recipientOf(publication) : clientId, publication);
        }
        this.#note(
          `handed "${Buffer.from(delivery.publication.payload)}" QoS ${delivery.publication.qos} as ${delivery.packetId}${delivery.dup ? " again" : ""} on ${linkId}`,
        );
        handle({ kind: "delivered", linkId, ...delivery });
      },
      released: (linkId, packetId) => handle({ kind: "released", linkId, packetId }),
      acked: (linkId, ack, packetId, code) => handle({ kind: "brokerAck", linkId, ack, packetId, code }),
    });
    this.network.gateway = {
      datagram: (from, bytes) => handle({ kind: "datagram", from, bytes }),
      peerGone: () => {},
      failed: () => {},
      told: () => {},
    };
    this.#core = core;
    const states = [...this.#table.states()];
    if (this.#options.core.durable === true && states.length > 0)
      handle({ kind: "restored", states, known: [...this.#table.known] });
    driver.start();
  }

  /** Commits take time, in order, and fail now and then. */
  #slowStore(): Store {
    let freeAt = 0;
    const owed: Change[] = [];
    return {
      open: async () => ({ notices: [] }),
      all: async function* () {},
      known: async () => [],
      letters: async () => [],
      snapshot: () => undefined,
      fetch: (clientId, from, limit, done) => {
        freeAt = Math.max(freeAt, this.time.now());
        this.time.plan(freeAt - this.time.now() + 1, () => {
          if (!this.#healed && this.rng.chance(this.#options.storeFailure))
            return done([], new GatewayError("ERR_STORE_OPEN"));
          done(this.#table.read(clientId, from, limit), undefined);
        });
      },
      close: async () => {},
      commit: (changes, done) => {
        freeAt = Math.max(freeAt, this.time.now()) + this.rng.between(0, 30);
        this.time.plan(freeAt - this.time.now(), () => {
          owed.push(...changes);
          if (!this.#healed && this.rng.chance(this.#options.storeFailure))
            return done(new GatewayError("ERR_STORE_WRITE"));
          for (const change of owed.splice(0)) {
            this.#table.apply(change);
            if ((change.of === "backlog" || change.of === "uplink") && change.record)
              this.#kept.add(Buffer.from(change.record.publication.payload).toString());
          }
          done(undefined);
        });
      },
    };
  }

  #addDevice(clientId: string): void {
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
    };
    this.devices.push(
      new SimDevice({
        clientId,
        habits,
        time: this.time,
        rng,
        network: this.network,
        judge: this.judge,
        device: this.#options.device?.(clientId),
      }),
    );
  }

  #planPublisher(): void {
    this.time.plan(this.rng.between(500, 8_000), () => {
      this.#planPublisher();
      if (this.#healed) return;
      const device = this.rng.pick(this.devices);
      const topicName = `d/${device.clientId}/${this.rng.int(0, 3)}`;
      const burst = this.rng.chance(0.1) ? 20 : 1;
      for (let i = 0; i < burst; i++) {
        const payload = new TextEncoder().encode(`${topicName}|${++this.#published}`);
        this.broker.publish({
          topicName,
          payload,
          qos: this.rng.int(0, 2) as QoS,
          retain: false,
        } satisfies Publication);
      }
    });
  }

  #planTroubles(): void {
    this.time.plan(this.rng.between(10_000, 120_000), () => {
      this.#planTroubles();
      if (this.#healed) return;
      const { outages, resets, moves, absences, garbage } = this.#options;
      if (outages && this.rng.chance(0.3)) this.#outage();
      if (resets && this.rng.chance(0.3)) this.rng.pick(this.devices).reset();
      if (moves && this.rng.chance(0.5)) this.rng.pick(this.devices).move();
      if (absences && this.rng.chance(0.5)) this.rng.pick(this.devices).fallSilent(this.rng.between(20_000, 400_000));
      if (absences && this.rng.chance(0.3)) this.rng.pick(this.devices).sayGoodbye();
      if (garbage) this.#garbage();
    });
  }

  #outage(): void {
    this.#note("the broker is away");
    this.broker.faults.away = true;
    this.broker.cutAll();
    this.time.plan(this.rng.between(1_000, 120_000), () => {
      this.broker.faults.away = false;
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

/** MQTT client ids of shared connections begin like the gateway's own. */
function isTrunk(mqttClientId: string): boolean {
  return mqttClientId.startsWith(testOptions.upstream.serviceClientId);
}

/** Every device has a topic of its own, and subscribes to nothing else. */
function recipientOf({ topicName }: Publication): string {
  return topicName.split("/")[1] ?? "";
}

function textOf({ payload }: Publication): string {
  return Buffer.from(payload).toString();
}
