/**
 * One MQTT connection with its reconnects.
 *
 * MQTT.js makes the connection: TCP, TLS or WebSocket, CONNECT, CONNACK, keep-alive. Everything that carries a message
 * is ours: `packet-reader.ts` stands between the socket and MQTT.js and takes those packets out, `packet-writer.ts`
 * writes them, with the core's packet ids, once per turn of the event loop. MQTT.js sees CONNACK, PINGRESP, DISCONNECT
 * and AUTH, and nothing else, so none of its stores, callbacks and queues can lose or hold up a message. The reader
 * takes the place of the listener with which MQTT.js's pipe reads the socket; `mqtt` is pinned, and a test by this
 * name watches it: "MQTT.js sees no packet that carries a message".
 *
 * Each attempt is a new MQTT.js client, so that no state of a failed one can reach the next.
 */
import mqtt, { type IClientOptions, type MqttClient, type Packet } from "mqtt";
import { generate } from "mqtt-packet";
import type { LinkRequest } from "../core/effect.ts";
import type { BrokerLimits, Publication, QoS } from "../core/types.ts";
import { BackOff } from "./back-off.ts";
import { certificateTrouble, type WallTime } from "./certificate-time.ts";
import { refusalOf } from "./connack.ts";
import type { Identity } from "./credentials.ts";
import type { SubscribeDetails, UpstreamEvents } from "./link.ts";
import type { UpstreamOptions } from "./options.ts";
import { PacketReader, type ReadPublish } from "./packet-reader.ts";
import { PacketWriter } from "./packet-writer.ts";
import type { TurnEnd } from "./turn-end.ts";

/** For what was written last, before the socket is destroyed. */
const closeDeadlineMs = 2_000;
/** All links that waited for the clock come back within this time, not at once. */
const clockSetSpreadMs = 1_000;
const takenOverReason = 0x8e;
const malformedReason = 0x81;

/** What is known of one attempt to connect, and of the connection that came of it. */
interface Attempt {
  client: MqttClient | undefined;
  reason: string;
  answered: boolean;
  takenOver: boolean;
  over: boolean;
}

export interface LinkCounters {
  droppedCongested: number;
  packetsIn: number;
  packetsOut: number;
}

export class MqttLink {
  readonly request: LinkRequest;
  readonly #options: UpstreamOptions;
  readonly #identity: Identity;
  readonly #events: UpstreamEvents;
  readonly #counters: LinkCounters;
  readonly #backOff: BackOff;
  readonly #clock: WallTime;
  readonly #random: () => number;
  readonly #isV5: boolean;
  readonly #generateOptions: { protocolVersion: number };
  #client: MqttClient | undefined;
  #up = false;
  #congested = false;
  #closed = false;
  #retry: NodeJS.Timeout | undefined;
  readonly #turnEnd: TurnEnd;
  readonly #writer: PacketWriter;
  readonly #flush = (): void => this.#writeOut();

  constructor(init: {
    request: LinkRequest;
    options: UpstreamOptions;
    identity: Identity;
    events: UpstreamEvents;
    counters: LinkCounters;
    turnEnd: TurnEnd;
    random: () => number;
    clock: WallTime;
  }) {
    this.request = init.request;
    this.#options = init.options;
    this.#identity = init.identity;
    this.#events = init.events;
    this.#counters = init.counters;
    this.#backOff = new BackOff(init.options.reconnect, init.random);
    this.#clock = init.clock;
    this.#random = init.random;
    this.#isV5 = init.options.protocol === "5";
    this.#generateOptions = { protocolVersion: this.#isV5 ? 5 : 4 };
    this.#turnEnd = init.turnEnd;
    this.#writer = new PacketWriter(init.options.protocol);
  }

  get isUp(): boolean {
    return this.#up;
  }

  /** One attempt; the next follows by itself. */
  connect(): void {
    if (this.#closed) return;
    this.#blamesClock = false;
    const attempt: Attempt = { client: undefined, reason: "", answered: false, takenOver: false, over: false };
    const over = () => {
      if (attempt.over) return;
      attempt.over = true;
      this.#up = false;
      this.#writer.clear();
      attempt.client?.end(true);
      if (this.#client === attempt.client) this.#client = undefined;
      if (this.#closed) return;
      this.#scheduleRetry();
      if (!attempt.answered || this.#wasUp) {
        this.#wasUp = false;
        this.#events.down(this.request.linkId, attempt.reason || "connection closed", attempt.takenOver);
      }
    };
    let client: MqttClient;
    try {
      client = mqtt.connect(this.#options.url, this.#clientOptions());
    } catch (error) {
      attempt.reason = error instanceof Error ? error.message : String(error);
      setImmediate(over);
      return;
    }
    attempt.client = client;
    this.#client = client;
    client.on("error", (error) => {
      const trouble = certificateTrouble(error, this.#clock);
      if (trouble !== undefined) this.#blamesClock = true;
      attempt.reason ||= trouble ?? error.message;
    });
    client.on("packetreceive", (packet) => {
      if (this.#client !== client || this.#closed) return;
      if (packet.cmd === "connack") attempt.answered = this.#onConnAck(packet, attempt) || attempt.answered;
      else if (packet.cmd === "disconnect") {
        attempt.takenOver = packet.reasonCode === takenOverReason;
        attempt.reason ||= `broker said DISCONNECT (0x${(packet.reasonCode ?? 0).toString(16)})`;
      }
    });
    client.on("close", over);
    this.#readBefore(client, attempt);
  }

  publish(publication: Publication, packetId: number, dup: boolean): void {
    if (publication.qos === 0 && this.#congested) {
      this.#counters.droppedCongested++;
      return;
    }
    if (!this.#mayWrite()) return;
    this.#writer.publish(publication, packetId, dup);
    this.#watchBuffer();
  }

  release(packetId: number): void {
    if (!this.#mayWrite()) return;
    this.#writer.acknowledge("pubrel", packetId);
    this.#watchBuffer();
  }

  subscribe(packetId: number, topicFilter: string, qos: QoS, details: SubscribeDetails = {}): void {
    const { subscriptionId: subscriptionIdentifier, withoutRetained } = details;
    const hasId = this.#isV5 && this.#hasSubscriptionIds && subscriptionIdentifier !== undefined;
    this.#write({
      cmd: "subscribe",
      messageId: packetId,
      subscriptions: [{ topic: topicFilter, qos, ...(this.#isV5 && withoutRetained && { rh: 2 }) }],
      ...(hasId && { properties: { subscriptionIdentifier } }),
    } as Packet);
  }

  unsubscribe(packetId: number, topicFilter: string): void {
    this.#write({ cmd: "unsubscribe", messageId: packetId, unsubscriptions: [topicFilter] });
  }

  ack(kind: "puback" | "pubrec" | "pubcomp", packetId: number): void {
    if (!this.#mayWrite()) return;
    this.#writer.acknowledge(kind, packetId);
    this.#watchBuffer();
  }

  /** Ends the link; `closed` is called once the socket is gone, within two seconds. No event comes afterwards. */
  close(how: "disconnect" | "abandon", endSession: boolean, closed: () => void): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    const client = this.#client;
    if (!client) return closed();
    const deadline = setTimeout(() => client.end(true), closeDeadlineMs);
    client.once("close", () => {
      clearTimeout(deadline);
      client.end(true);
      closed();
    });
    if (!this.#up) {
      client.end(true);
      return;
    }
    if (how === "disconnect") {
      const properties = this.#isV5 && endSession ? { sessionExpiryInterval: 0 } : undefined;
      this.#write({ cmd: "disconnect", ...(this.#isV5 && { reasonCode: 0, ...(properties && { properties }) }) });
    }
    this.#writeOut();
    this.#up = false;
    client.stream.end(); // FIN after what was written; the broker answers with its own
  }

  /** The last attempt ended over the time in a certificate. */
  #blamesClock = false;

  /** In the present attempt, and ever. */
  #wasUp = false;
  #everUp = false;
  #hasSubscriptionIds = false;

  #onConnAck(packet: Extract<Packet, { cmd: "connack" }>, attempt: { reason: string }): boolean {
    const code = (this.#isV5 ? packet.reasonCode : packet.returnCode) ?? 0;
    if (code !== 0) {
      const { refusal, reason } = refusalOf(this.#isV5, code);
      attempt.reason = reason;
      this.#events.refused(this.request.linkId, refusal, reason);
      return true;
    }
    this.#up = true;
    this.#wasUp = true;
    this.#everUp = true;
    this.#hasSubscriptionIds = packet.properties?.subscriptionIdentifiersAvailable !== false;
    this.#congested = false;
    this.#backOff.reset();
    this.#client?.stream.on("drain", () => this.#onDrain());
    this.#events.up(
      this.request.linkId,
      packet.sessionPresent,
      limitsOf(packet, this.#isV5 ? undefined : this.#options.qos2InFlightMax),
    );
    return true;
  }

  /** Puts our reader between the socket and MQTT.js. */
  #readBefore(client: MqttClient, attempt: Attempt): void {
    const { linkId } = this.request;
    const { stream } = client;
    const theirs = stream.listeners("data");
    const isOurs = () => this.#client === client && !this.#closed && this.#up;
    const reader = new PacketReader(this.#isV5 ? "5" : "3.1.1", {
      publish: (packet) => {
        if (isOurs()) this.#onPublish(packet);
        else if (!this.#wasUp) refuse("PUBLISH before CONNACK");
      },
      ack: (kind, packetId, code) => {
        if (!isOurs()) return;
        this.#counters.packetsIn++;
        this.#events.acked(linkId, kind, packetId, code);
      },
      release: (packetId) => {
        if (!isOurs()) return;
        this.#counters.packetsIn++;
        this.#events.released(linkId, packetId);
      },
      other: (octets) => {
        this.#counters.packetsIn++;
        for (const listener of theirs) listener.call(stream, octets);
      },
      malformed: (why) => refuse(`malformed packet of the broker: ${why}`),
    });
    const refuse = (why: string) => {
      reader.end();
      attempt.reason ||= why;
      if (this.#isV5 && isOurs()) this.#write({ cmd: "disconnect", reasonCode: malformedReason } as Packet);
      if (isOurs()) this.#writeOut();
      stream.destroy();
    };
    stream.on("data", (chunk: Buffer) => reader.take(chunk));
    for (const listener of theirs) stream.removeListener("data", listener as (chunk: Buffer) => void);
  }

  #onPublish(packet: ReadPublish): void {
    const { topicName, payload, qos, retain, dup, packetId, expirySeconds, subscriptionIds, meta } = packet;
    this.#counters.packetsIn++;
    const publication = { topicName, payload, qos, retain, ...(meta && { meta }) };
    this.#events.delivered(this.request.linkId, {
      publication,
      packetId,
      dup,
      ...(expirySeconds !== undefined && { expirySeconds }),
      ...(subscriptionIds !== undefined && { subscriptionIds }),
    });
  }

  #write(packet: Packet): void {
    if (!this.#mayWrite()) return;
    this.#writer.packet(generate(packet, this.#generateOptions));
    this.#watchBuffer();
  }

  /** Is there a connection to write to? Then something is written before this turn ends. */
  #mayWrite(): boolean {
    const stream = this.#client?.stream;
    if (!this.#up || !stream || stream.destroyed) return false;
    this.#counters.packetsOut++;
    if (this.#writer.length === 0) this.#turnEnd.add(this.#flush);
    return true;
  }

  #watchBuffer(): void {
    if (this.#congested) return;
    const waiting = this.#writer.length + (this.#client?.stream.writableLength ?? 0);
    if (waiting <= this.#options.sendBufferBytesMax) return;
    this.#congested = true;
    this.#events.congested(this.request.linkId, true);
  }

  /** One write for all that this turn has to say. */
  #writeOut(): void {
    const stream = this.#client?.stream;
    if (this.#writer.length === 0) return;
    const pieces = this.#writer.take();
    if (!this.#up || !stream || stream.destroyed) return;
    if (pieces.length > 1) stream.cork();
    for (const piece of pieces) stream.write(piece);
    if (pieces.length > 1) stream.uncork();
    if (this.#congested && !stream.writableNeedDrain) this.#onDrain();
  }

  #onDrain(): void {
    if (!this.#congested || this.#closed) return;
    this.#congested = false;
    this.#events.congested(this.request.linkId, false);
  }

  /** The clock of this machine was set: if that was the trouble, the next attempt is soon, not at the end of the pause. */
  onClockSet(): void {
    if (!this.#blamesClock || this.#closed || this.#client) return;
    this.#backOff.reset();
    this.#scheduleRetry(this.#random() * clockSetSpreadMs);
  }

  #scheduleRetry(pauseMs = this.#backOff.next()): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.connect(), pauseMs);
  }

  #clientOptions(): IClientOptions {
    const { request } = this;
    const { keepAliveSeconds, connectTimeoutSeconds, sessionExpirySeconds, receiveMaximum, will } = this.#options;
    const { tls, ...identity } = this.#identity;
    const willDelay = Math.min(will.delaySeconds, sessionExpirySeconds);
    // MQTT 5 tells "start anew" from "end with the connection": a clean session is made new once, and outlives a cut.
    // It ends when the core says so, with an expiry of 0 in DISCONNECT.
    const clean = request.clean && !(this.#isV5 && (this.#everUp || request.resume));
    return {
      ...tls,
      ...identity,
      clientId: request.mqttClientId,
      protocolVersion: this.#isV5 ? 5 : 4,
      clean,
      keepalive: keepAliveSeconds,
      connectTimeout: connectTimeoutSeconds * 1_000,
      reconnectPeriod: 0,
      resubscribe: false,
      queueQoSZero: false,
      reschedulePings: false,
      log: () => {},
      ...(this.#isV5 && { properties: { sessionExpiryInterval: sessionExpirySeconds, receiveMaximum } }),
      ...(request.will && {
        will: {
          topic: request.will.topicName,
          payload: Buffer.from(request.will.payload),
          qos: request.will.qos,
          retain: request.will.retain,
          ...(this.#isV5 && willDelay > 0 && { properties: { willDelayInterval: willDelay } }),
        },
      }),
    };
  }
}

/** `exactlyOnceMaximum`: where the broker cannot say what it takes. */
function limitsOf(packet: Extract<Packet, { cmd: "connack" }>, exactlyOnceMaximum: number | undefined): BrokerLimits {
  const { receiveMaximum, maximumQoS, retainAvailable, maximumPacketSize } = packet.properties ?? {};
  return {
    receiveMaximum: receiveMaximum ?? 65_535,
    ...(exactlyOnceMaximum !== undefined && { exactlyOnceMaximum }),
    maximumQoS: (maximumQoS ?? 2) as QoS,
    retainAvailable: retainAvailable ?? true,
    maximumPacketBytes: maximumPacketSize,
  };
}
