/**
 * Keeps the data in Home Assistant up to date: the devices, their values, and the commands that they accept. The state
 * is in the broker's retained messages: they are read at each connection, and differences are corrected.
 */
import type { GatewayEvent } from "../core/event.ts";
import type { Field } from "../payload/fields.ts";
import {
  type DeclaredTopic,
  type DevicePayload,
  devicePayload,
  discoveryTopic,
  type GatewayNames,
  gatewayPayload,
  isSamePayload,
  withRemoved,
} from "./discovery.ts";
import { idPrefixOf } from "./ids.ts";

/** The facts about a client that this file uses. */
export interface ClientFacts {
  readonly keepAliveSeconds: number;
  readonly sleepSeconds: number;
  readonly filters: readonly string[];
}

/** The declaration of a topic: its fields, and the topic of the decoded values. */
export interface Declared {
  readonly fields: readonly Field[];
  /** The topic name that devices use, without the prefix at the broker. */
  readonly topicName: string;
}

export interface Counts {
  readonly clients: number;
  readonly asleep: number;
  readonly lost: number;
  readonly waiting: number;
}

/** The facts that this class reads from the gateway. */
export interface Knowledge {
  client(clientId: string): ClientFacts | undefined;
  clientIds(): Iterable<string>;
  says(clientId: string, topicName: string): Declared | undefined;
  takes(clientId: string, topicName: string): Declared | undefined;
  /** True if there is any declaration. */
  readonly isDeclaring: boolean;
  counts(): Counts;
  /**
   * The client has no session any more. Its retained state must be removed at the broker, unless it has a new session.
   */
  forgetState(clientId: string): void;
}

/** The broker. Everything is retained and at QoS 1. */
export interface Broker {
  publish(topicName: string, text: string): void;
}

/** Timers like setTimeout, so that tests can replace them. */
export interface Timers {
  set(callback: () => void, ms: number): () => void;
}

export interface HomeOptions extends GatewayNames {
  /** The prefix of discovery topics: homeassistant. */
  readonly prefix: string;
  /** The prefix of every topic at the broker. */
  readonly topicPrefix: string;
}

/** Devices that are published. Further ones are not. */
const devicesMax = 10_000;
const topicsPerDeviceMax = 50;
/** Milliseconds after the last retained message, after which all retained messages have arrived. */
const settleMs = 1_000;
/** Changes within this time are handled together. */
const togetherMs = 200;
/** After a start of Home Assistant everything is published again within this time, and not in one burst. */
const spreadMs = 30_000;
const infoEveryMs = 60_000;
const scannedAtOnce = 50;
const scanEveryMs = 500;
/** A value counts as unknown after so many times the longest silence of its device. */
const patience = 2.5;
const expireBaseSeconds = 60;

interface Device {
  /** The declarations of the device's publications, by topic. */
  readonly says: Map<string, Declared>;
  expireSeconds: number;
}

export class Home {
  readonly #options: HomeOptions;
  readonly #knowledge: Knowledge;
  readonly #timers: Timers;
  readonly #devices = new Map<string, Device>();
  /** The discovery messages of this gateway that the broker retains, by topic. */
  readonly #kept = new Map<string, string>();
  /** The messages to publish, the oldest first. */
  readonly #due = new Map<string, string>();
  readonly #own: string;
  #broker: Broker | undefined;
  #isSettled = false;
  #settling: (() => void) | undefined;
  #looking: (() => void) | undefined;
  #sending: (() => void) | undefined;
  #informing: (() => void) | undefined;
  #scanning: (() => void) | undefined;
  /** Clients whose discovery message must be checked. */
  readonly #changed = new Set<string>();
  #pauseMs = 0;
  #info = "";

  constructor(options: HomeOptions, knowledge: Knowledge, timers: Timers) {
    this.#options = options;
    this.#knowledge = knowledge;
    this.#timers = timers;
    this.#own = `${options.prefix}/device/${idPrefixOf(options.gateway)}`;
  }

  /** The topic filters to subscribe to. */
  get filters(): readonly string[] {
    return [`${this.#options.prefix}/device/+/config`, this.#birthTopic];
  }

  get #birthTopic(): string {
    return `${this.#options.prefix}/status`;
  }

  /** The connection is open and subscribed; retained messages arrive now. */
  connected(broker: Broker): void {
    this.#broker = broker;
    this.#isSettled = false;
    this.#kept.clear();
    this.#info = "";
    this.#settle();
  }

  disconnected(): void {
    this.#broker = undefined;
    for (const end of [this.#settling, this.#looking, this.#sending, this.#informing, this.#scanning]) end?.();
    this.#settling = undefined;
    this.#looking = undefined;
    this.#sending = undefined;
    this.#informing = undefined;
    this.#scanning = undefined;
    this.#changed.clear();
    this.#due.clear();
  }

  /** A message for one of `filters` was received. */
  received(topicName: string, text: string, isRetained: boolean): void {
    if (topicName === this.#birthTopic) {
      if (text === "online" && !isRetained && this.#isSettled) this.#sayAll();
      return;
    }
    if (topicName !== `${this.#own}/config` && !topicName.startsWith(`${this.#own}_`)) return;
    if (text === "") this.#kept.delete(topicName);
    else if (this.#kept.size <= 2 * devicesMax) this.#kept.set(topicName, text);
    if (!this.#isSettled) this.#settle();
  }

  /** A client's publication was decoded. Called for each publication, so it costs almost nothing for known topics. */
  saw(clientId: string, topicName: string): void {
    const known = this.#devices.get(clientId);
    if (known?.says.has(topicName)) return;
    this.#learn(clientId, topicName, known);
  }

  #learn(clientId: string, topicName: string, known: Device | undefined): void {
    const declared = this.#knowledge.says(clientId, topicName);
    if (!declared || (known?.says.size ?? 0) >= topicsPerDeviceMax) return;
    if (!known && this.#devices.size >= devicesMax) return;
    const device = known ?? { says: new Map<string, Declared>(), expireSeconds: 0 };
    device.says.set(topicName, declared);
    this.#devices.set(clientId, device);
    this.#lookSoon(clientId);
  }

  /** Handles an event of the core. */
  happened(event: GatewayEvent): void {
    if (event.event !== "session_ended") return;
    this.#devices.delete(event.clientId);
    this.#knowledge.forgetState(event.clientId);
    this.#lookSoon(event.clientId);
  }

  /** The declarations have changed, so the learnt topics are read again. */
  declarationsChanged(): void {
    for (const [clientId, { says }] of this.#devices) {
      const topics = [...says.keys()];
      says.clear();
      for (const topicName of topics) {
        const declared = this.#knowledge.says(clientId, topicName);
        if (declared) says.set(topicName, declared);
      }
      this.#lookSoon(clientId);
    }
  }

  #settle(): void {
    this.#settling?.();
    this.#settling = this.#timers.set(() => {
      this.#settling = undefined;
      this.#isSettled = true;
      this.#compare(
        discoveryTopic(this.#options.prefix, this.#options.gateway, undefined),
        gatewayPayload(this.#options),
      );
      // Compares the retained messages of an earlier run, and the devices that were learnt while the broker could not
      // be reached.
      for (const text of this.#kept.values()) this.#changed.add(clientIn(text) ?? "");
      for (const clientId of this.#devices.keys()) this.#changed.add(clientId);
      this.#lookAtChanged();
      this.#inform();
      this.#scan([][Symbol.iterator]());
    }, settleMs);
  }

  #lookSoon(clientId: string): void {
    if (!this.#isSettled || this.#broker === undefined) return;
    this.#changed.add(clientId);
    this.#looking ??= this.#timers.set(() => {
      this.#looking = undefined;
      this.#lookAtChanged();
    }, togetherMs);
  }

  #lookAtChanged(): void {
    for (const clientId of this.#changed) this.#lookAt(clientId);
    this.#changed.clear();
  }

  /**
   * Subscriptions and keep-alive times change without an event, so the clients are checked in turn, a few at a time.
   */
  #scan(rest: Iterator<string>): void {
    let clients = rest;
    for (let i = 0; i < scannedAtOnce; i++) {
      const { done, value } = clients.next();
      if (done) {
        clients = this.#knowledge.clientIds()[Symbol.iterator]();
        break;
      }
      this.#lookAt(value);
    }
    this.#scanning = this.#timers.set(() => this.#scan(clients), scanEveryMs);
  }

  #lookAt(clientId: string): void {
    const { prefix, gateway } = this.#options;
    const topicName = discoveryTopic(prefix, gateway, clientId);
    const wanted = this.#wantedOf(clientId);
    if (wanted === "as it is") return;
    if (wanted) return this.#compare(topicName, wanted);
    if (!this.#kept.has(topicName)) return;
    this.#say(topicName, "");
    // The session may have ended in an earlier run, or while the broker could not be reached.
    if (this.#knowledge.client(clientId) === undefined) this.#knowledge.forgetState(clientId);
  }

  #compare(topicName: string, wanted: DevicePayload): void {
    const kept = this.#kept.get(topicName);
    if (kept === undefined || !isSamePayload(kept, wanted))
      this.#say(topicName, JSON.stringify(withRemoved(kept, wanted)));
  }

  /** Undefined: the client is not published. */
  #wantedOf(clientId: string): DevicePayload | "as it is" | undefined {
    const facts = this.#knowledge.client(clientId);
    if (!facts) return undefined;
    const device = this.#devices.get(clientId);
    // The discovery message of an earlier run stays until some readings have arrived, or no declaration is left for
    // them.
    if (!device && this.#knowledge.isDeclaring && this.#kept.has(this.#topicOf(clientId))) return "as it is";
    const says = [...(device?.says.values() ?? [])].map((each) => this.#atBroker(each));
    const takes = this.#takes(clientId, facts);
    if (says.length + takes.length === 0) return undefined;
    return devicePayload(this.#options, {
      clientId,
      statusLevel: topicLevel(clientId),
      says,
      takes,
      expireSeconds: device ? expiryOf(device, facts) : 0,
    });
  }

  #topicOf(clientId: string): string {
    return discoveryTopic(this.#options.prefix, this.#options.gateway, clientId);
  }

  #takes(clientId: string, { filters }: ClientFacts): DeclaredTopic[] {
    return filters.flatMap((filter) => {
      if (/[+#]/.test(filter) || filter.startsWith("$")) return [];
      const declared = this.#knowledge.takes(clientId, filter);
      return declared ? [this.#atBroker({ ...declared, topicName: filter })] : [];
    });
  }

  #atBroker({ topicName, fields }: Declared): DeclaredTopic {
    return { topicName: this.#options.topicPrefix + topicName, fields };
  }

  /** Home Assistant has restarted, and may not have the retained messages. */
  #sayAll(): void {
    for (const [topicName, text] of this.#kept) if (!this.#due.has(topicName)) this.#due.set(topicName, text);
    this.#pauseMs = Math.floor(spreadMs / Math.max(1, this.#due.size));
    this.#sendNext();
  }

  #say(topicName: string, text: string): void {
    this.#due.set(topicName, text);
    this.#sendNext();
  }

  /** Sends one message at a time, because ten thousand at once would fill the broker's window and the memory. */
  #sendNext(): void {
    if (this.#sending) return;
    const [next] = this.#due;
    if (!next || !this.#broker) {
      this.#pauseMs = 0;
      return;
    }
    const [topicName, text] = next;
    this.#due.delete(topicName);
    if (text === "") this.#kept.delete(topicName);
    else this.#kept.set(topicName, text);
    this.#broker.publish(topicName, text);
    this.#sending = this.#timers.set(() => {
      this.#sending = undefined;
      this.#sendNext();
    }, this.#pauseMs);
  }

  #inform(): void {
    const text = JSON.stringify(this.#knowledge.counts());
    if (text !== this.#info) this.#broker?.publish(`${this.#options.statusTopic}/gateway/info`, text);
    this.#info = text;
    this.#informing = this.#timers.set(() => this.#inform(), infoEveryMs);
  }
}

/** Grows with the longest silence that the client has announced, and only by doubling: each change is a new message. */
function expiryOf(device: Device, { keepAliveSeconds, sleepSeconds }: ClientFacts): number {
  const silence = patience * Math.max(keepAliveSeconds, sleepSeconds);
  if (silence > device.expireSeconds)
    device.expireSeconds = expireBaseSeconds * 2 ** Math.max(0, Math.ceil(Math.log2(silence / expireBaseSeconds)));
  return device.expireSeconds;
}

function clientIn(text: string): string | undefined {
  try {
    const value: unknown = JSON.parse(text);
    if (typeof value !== "object" || value === null || !("device" in value)) return undefined;
    const { device } = value;
    if (typeof device !== "object" || device === null || !("serial_number" in device)) return undefined;
    return typeof device.serial_number === "string" ? device.serial_number : undefined;
  } catch {
    return undefined;
  }
}

/** A client id as one level of a topic, as in the core's status messages. */
function topicLevel(clientId: string): string {
  return clientId.replace(/[%/+#]/g, (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`);
}
