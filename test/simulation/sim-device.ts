/**
 * A device in the simulation: src/device with random plans. It connects, subscribes, publishes, sleeps and wakes, comes back after every
 * fault, loses power, moves to other addresses, and never gives up.
 */
import type { PeerId, Publication, QoS } from "../../src/core/types.ts";
import { type AnyDevice, Device, type DeviceEvent, type TopicNaming } from "../../src/device/device.ts";
import { decode } from "../../src/wire/v12/codec.ts";
import type { Judge } from "./judge.ts";
import type { Air } from "./network.ts";
import type { Rng } from "./rng.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface DeviceHabits {
  readonly clean: boolean;
  readonly sleepSeconds: number;
  readonly keepAliveSeconds: number;
  readonly publishEveryMs: number;
  readonly subscribeQoS: QoS;
  readonly will: boolean;
  readonly wildcard: boolean;
  /** Octets of the largest datagram that it sees; Infinity = all. */
  readonly bufferBytes: number;
  /** It has no code for a REGISTER that comes from a gateway. */
  readonly knowsRegister: boolean;
  /** It subscribes also to what is for everybody: to all of it, and to one topic of it once more, or not at all. */
  readonly joins: readonly string[];
  /** It says and asks for this and that besides: see `#play`. */
  readonly plays?: Rng | undefined;
}

const text = new TextEncoder();
/** No datagram takes longer. */
const onNetworkMs = 5_000;

export class SimDevice {
  readonly clientId: string;
  readonly habits: DeviceHabits;
  readonly device: AnyDevice;
  readonly #time: VirtualTime;
  readonly #rng: Rng;
  readonly #network: Air;
  readonly #judge: Judge;
  readonly #keptBy: (filter: string) => Iterable<Publication>;
  address: PeerId;
  #lastAddress = 0;
  #count = 0;
  #willVersion = 0;
  /** When the last CONNECT was answered; Infinity = it was not. */
  #answeredAt = Number.NEGATIVE_INFINITY;
  /** Filters of the session, as far as the device was told. */
  readonly #subscribed = new Set<string>();
  readonly #askedByRef = new Map<number, { readonly filter: string; readonly at: number }>();
  #wakePlanned = false;
  #reconnectPlanned = false;
  #timerAt: number | undefined;
  #generation = 0;
  readonly #payloadByRef = new Map<number, { payload: string; qos: QoS }>();
  /** No new work: it only finishes what is open. */
  resting = false;
  #silentUntil = 0;
  /** How often it was told, or found, that its connection has ended, without having asked for this. */
  unaskedEnds = 0;

  constructor(init: {
    clientId: string;
    habits: DeviceHabits;
    time: VirtualTime;
    rng: Rng;
    network: Air;
    judge: Judge;
    /** What the broker retains at QoS 1 and 2 and this filter matches. */
    keptBy: (filter: string) => Iterable<Publication>;
    device?: AnyDevice | undefined;
  }) {
    this.clientId = init.clientId;
    this.habits = init.habits;
    this.#time = init.time;
    this.#rng = init.rng;
    this.#network = init.network;
    this.#judge = init.judge;
    this.#keptBy = init.keptBy;
    this.device = init.device ?? new Device({ clientId: init.clientId, retryMs: 10_000, retryLimit: 4 });
    this.address = this.#newAddress();
    this.#judge.isAt(this.clientId, this.address);
    this.#reconnect(this.#rng.between(0, 5_000));
    this.#planPublish();
    this.#planPlay();
  }

  /** Battery out and in again. */
  reset(): void {
    this.#generation++;
    this.device.reset();
    this.#network.losesPower?.(this.address);
    this.#payloadByRef.clear();
    this.#subscribed.clear();
    this.#askedByRef.clear();
    this.#wakePlanned = false;
    this.#reconnectPlanned = false;
    this.#timerAt = undefined;
    this.#judge.deviceReset(this.clientId);
    this.#reconnect(this.#rng.between(100, 5_000));
  }

  /** NAT, or a new lease: the next datagram comes from elsewhere. */
  move(): void {
    const before = this.address;
    this.#network.detach(before);
    this.address = this.#newAddress();
    if (this.address !== before) this.#judge.isAt(this.clientId, this.address);
  }

  /** Out of range: its messages are not received, and it receives nothing. */
  fallSilent(ms: number): void {
    this.#silentUntil = this.#time.now() + ms;
  }

  /** DISCONNECT without a duration; back after a while. */
  sayGoodbye(): void {
    if (this.device.state === "active" && this.device.idle) this.#act(() => this.device.disconnect(this.#time.now()));
  }

  #silent(): boolean {
    return this.#time.now() < this.#silentUntil;
  }

  /** What it does not is as if it had been lost. */
  #sees(bytes: Uint8Array): boolean {
    const { bufferBytes, knowsRegister } = this.habits;
    if (bytes.byteLength > bufferBytes) return false;
    if (knowsRegister) return true;
    const decoded = decode(bytes);
    return !decoded.ok || decoded.message.type !== "REGISTER";
  }

  #keptAndTaken(filter: string): Publication[] {
    return [...this.#keptBy(filter)].filter((publication) => this.canTake(publication));
  }

  /** Can this message come to it at all? */
  canTake({ topicName, payload }: Publication): boolean {
    const { bufferBytes, knowsRegister } = this.habits;
    const size = 7 + payload.byteLength;
    if (size + (size > 255 ? 2 : 0) > bufferBytes) return false;
    return knowsRegister || this.#subscribed.has(topicName);
  }

  #newAddress(): PeerId {
    const address = this.#network.addressOf(this.clientId, ++this.#lastAddress);
    this.#network.attach(address, (bytes) => {
      if (!this.#silent() && this.#sees(bytes)) this.#act(() => this.device.receive(bytes, this.#time.now()));
    });
    return address;
  }

  #act(what: () => void): void {
    what();
    for (let output = this.device.take(); output.length > 0; output = this.device.take()) {
      for (const item of output) {
        if (item.kind === "event") this.#on(item.event);
        else if (!this.#silent()) this.#network.fromDevice(this.address, item.bytes);
      }
    }
    this.#arm();
  }

  #arm(): void {
    const at = this.device.nextDeadline();
    if (at === undefined || (this.#timerAt !== undefined && this.#timerAt <= at)) return;
    this.#timerAt = at;
    this.#later(at - this.#time.now(), () => {
      this.#timerAt = undefined;
      this.#act(() => this.device.timeout(this.#time.now()));
    });
  }

  /** Plans for this run only: a reset forgets. */
  #later(inMs: number, what: () => void): void {
    const generation = this.#generation;
    this.#time.plan(inMs, () => {
      if (generation === this.#generation) what();
    });
  }

  #reconnect(inMs: number): void {
    if (this.#reconnectPlanned) return;
    this.#reconnectPlanned = true;
    this.#later(inMs, () => {
      this.#reconnectPlanned = false;
      if (this.device.state !== "disconnected" || !this.device.idle) return;
      if (this.habits.clean) this.#judge.cleanConnect(this.clientId);
      this.#connect(this.habits.clean);
    });
  }

  #connect(clean: boolean): void {
    const will = this.habits.will ? this.#nextWill() : undefined;
    this.#act(() =>
      this.device.connect({ clean, keepAliveSeconds: this.habits.keepAliveSeconds, will }, this.#time.now()),
    );
  }

  /** No new one while a CONNACK of an earlier attempt may still come: it would count for this one. [§5.4.5] */
  #nextWill() {
    if (this.#time.now() - this.#answeredAt > onNetworkMs) this.#willVersion++;
    this.#answeredAt = Number.POSITIVE_INFINITY;
    return {
      topicName: `w/${this.clientId}`,
      payload: text.encode(`${this.clientId} will ${this.#willVersion}`),
      qos: 1 as const,
      retain: false,
    };
  }

  #on(event: DeviceEvent): void {
    this.#judge.deviceEvent(this.clientId, event);
    switch (event.event) {
      case "connected":
        this.#answeredAt = this.#time.now();
        this.#judge.willSet(this.clientId, this.habits.will ? `${this.clientId} will ${this.#willVersion}` : undefined);
        if (this.habits.clean) this.#subscribed.clear();
        for (const topicName of [`d/${this.clientId}/${this.habits.wildcard ? "#" : "0"}`, ...this.habits.joins]) {
          if (this.#subscribed.has(topicName)) continue;
          const ref = this.device.subscribe({ by: "name", topicName }, this.habits.subscribeQoS, this.#time.now());
          this.#askedByRef.set(ref, { filter: topicName, at: this.#time.now() });
        }
        if (this.habits.will && this.#rng.chance(0.3)) {
          this.device.updateWillMessage(text.encode(`${this.clientId} will ${++this.#willVersion}`), this.#time.now());
        }
        if (this.habits.sleepSeconds > 0) this.device.sleep(this.habits.sleepSeconds, this.#time.now());
        return;
      case "willUpdated":
        return this.#judge.willSet(this.clientId, `${this.clientId} will ${this.#willVersion}`);
      case "subscribed": {
        const asked = this.#askedByRef.get(event.ref);
        if (!asked) return;
        this.#subscribed.add(asked.filter);
        return this.#judge.subscribed(this.clientId, asked, event.qos > 0 ? this.#keptAndTaken(asked.filter) : []);
      }
      case "asleep":
      case "drained":
        return this.#planWake();
      case "published": {
        const sent = this.#payloadByRef.get(event.ref);
        if (sent) this.#judge.devicePublished(this.clientId, sent.payload, sent.qos);
        this.#payloadByRef.delete(event.ref);
        return;
      }
      case "message":
        return this.#judge.deviceReceived(this.clientId, Buffer.from(event.payload).toString(), event);
      case "failed":
        if (event.request.kind !== "connect") return;
        if (event.returnCode === undefined) this.#network.isUnanswered?.(this.address);
        return this.#reconnect(this.#rng.between(1_000, 20_000));
      case "disconnected":
        if (!event.asked) this.unaskedEnds++;
        return this.#reconnect(event.asked ? this.#rng.between(5_000, 120_000) : this.#rng.between(500, 20_000));
      default:
        return;
    }
  }

  #planWake(): void {
    if (this.#wakePlanned) return;
    this.#wakePlanned = true;
    this.#later(this.habits.sleepSeconds * this.#rng.between(300, 950), () => {
      this.#wakePlanned = false;
      if (this.device.state !== "asleep") return;
      if (!this.device.idle) return this.#planWake(); // a publication is open: next time
      const now = this.#time.now();
      // Most wake with PINGREQ; some connect again for a while, and sleep again after CONNACK.
      if (this.#rng.chance(0.8) || this.habits.clean) this.#act(() => this.device.wake(now));
      else this.#connect(false);
    });
  }

  #planPublish(): void {
    const { publishEveryMs } = this.habits;
    if (publishEveryMs === 0) return;
    this.#time.plan(publishEveryMs * this.#rng.between(0.5, 1.5), () => {
      this.#planPublish();
      if (this.resting || this.device.state === "disconnected" || this.device.state === "awake" || !this.device.idle)
        return;
      const payload = `${this.clientId}#${++this.#count}${this.#padding()}`;
      const qos = this.#rng.int(0, 2) as QoS;
      const topic: Exclude<TopicNaming, { by: "predefined" }> = this.#rng.chance(0.8)
        ? { by: "name", topicName: `u/${this.clientId}/${this.#rng.int(0, 2)}` }
        : { by: "short", topicName: "uu" };
      const message = { payload: text.encode(payload), qos, retain: this.habits.plays?.chance(0.15) ?? false };
      this.#judge.devicePublishes(this.clientId, { topicName: topic.topicName, ...message });
      this.#act(() => {
        const ref = this.device.publish({ topic, ...message }, this.#time.now());
        this.#payloadByRef.set(ref, { payload, qos });
      });
    });
  }

  #padding(): string {
    const { plays } = this.habits;
    return plays?.chance(0.4) ? `|${".".repeat(plays.int(0, 200))}` : "";
  }

  /** Filters for which nothing is published, one of them everybody's; and other topics for its will. */
  #planPlay(): void {
    const { plays } = this.habits;
    if (!plays) return;
    this.#time.plan(plays.between(10_000, 90_000), () => {
      this.#planPlay();
      if (!this.resting && this.device.state === "active" && this.device.idle) this.#act(() => this.#play(plays));
    });
  }

  #play(plays: Rng): void {
    const now = this.#time.now();
    const topicName = `x/${plays.pick([this.clientId, "all"])}/${plays.int(0, 2)}`;
    const topic = { by: "name", topicName } as const;
    switch (plays.int(0, this.habits.will ? 2 : 1)) {
      case 0:
        this.device.subscribe(topic, plays.int(0, 2) as QoS, now);
        return;
      case 1:
        this.device.unsubscribe(topic, now);
        return;
      default: {
        const willTopic = `w/${this.clientId}/${plays.int(0, 2)}`;
        this.device.updateWillTopic({ topicName: willTopic, qos: plays.int(0, 2) as QoS, retain: false }, now);
      }
    }
  }
}
