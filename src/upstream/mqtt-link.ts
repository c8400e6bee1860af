/**
 * One MQTT connection with its reconnects.
 *
 * MQTT.js makes the connection: TCP, TLS or WebSocket, CONNECT, keep-alive, and parsing what comes in. Everything that
 * carries a message is ours: packets are written with the core's packet ids, and packets that arrive are taken in
 * `packetreceive`, before MQTT.js would acknowledge, store or wait for anything: it is shown a command it does not
 * know and passes on (its handlers' default). So none of its stores, callbacks and queues can lose or hold up a
 * message. The trick leans on MQTT.js's handler; `mqtt` is pinned, and a test by this name watches it:
 * "packets taken in packetreceive are left alone by MQTT.js".
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
import type { UpstreamEvents } from "./link.ts";
import type { UpstreamOptions } from "./options.ts";

/** For what was written last, before the socket is destroyed. */
const closeDeadlineMs = 2_000;
/** All links that waited for the clock come back within this time, not at once. */
const clockSetSpreadMs = 1_000;
const takenOverReason = 0x8e;

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
  /** The stream corked in this turn of the event loop. It changes with the connection, so it is remembered. */
  #corked: MqttClient["stream"] | undefined;

  constructor(init: {
    request: LinkRequest;
    options: UpstreamOptions;
    identity: Identity;
    events: UpstreamEvents;
    counters: LinkCounters;
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
  }

  get isUp(): boolean {
    return this.#up;
  }

  /** One attempt; the next follows by itself. */
  connect(): void {
    if (this.#closed) return;
    this.#blamesClock = false;
    const attempt = {
      client: undefined as MqttClient | undefined,
      reason: "",
      answered: false,
      takenOver: false,
      over: false,
    };
    const over = () => {
      if (attempt.over) return;
      attempt.over = true;
      this.#up = false;
      this.#corked = undefined;
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
      } else this.#take(packet);
    });
    client.on("close", over);
  }

  publish(publication: Publication, packetId: number, dup: boolean): void {
    if (publication.qos === 0 && this.#congested) {
      this.#counters.droppedCongested++;
      return;
    }
    const { topicName: topic, payload, qos, retain } = publication;
    const messageId = packetId === 0 ? undefined : packetId;
    this.#write({
      cmd: "publish",
      topic,
      payload: Buffer.from(payload.buffer, payload.byteOffset, payload.byteLength),
      qos,
      retain,
      dup,
      messageId,
    } as Packet);
  }

  release(packetId: number): void {
    this.#write({ cmd: "pubrel", messageId: packetId });
  }

  subscribe(packetId: number, topicFilter: string, qos: QoS): void {
    this.#write({ cmd: "subscribe", messageId: packetId, subscriptions: [{ topic: topicFilter, qos }] });
  }

  unsubscribe(packetId: number, topicFilter: string): void {
    this.#write({ cmd: "unsubscribe", messageId: packetId, unsubscriptions: [topicFilter] });
  }

  ack(kind: "puback" | "pubrec" | "pubcomp", packetId: number): void {
    this.#write({ cmd: kind, messageId: packetId });
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
    this.#up = false;
    this.#uncork();
    client.stream.end(); // FIN after what was written; the broker answers with its own
  }

  /** The last attempt ended over the time in a certificate. */
  #blamesClock = false;

  /** In the present attempt, and ever. */
  #wasUp = false;
  #everUp = false;

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
    this.#congested = false;
    this.#backOff.reset();
    this.#client?.stream.on("drain", () => this.#onDrain());
    this.#events.up(this.request.linkId, packet.sessionPresent, limitsOf(packet));
    return true;
  }

  /** Takes a packet out of MQTT.js's hands. */
  #take(packet: Packet): void {
    const { linkId } = this.request;
    this.#counters.packetsIn++;
    switch (packet.cmd) {
      case "publish": {
        const { topic, payload, qos, retain, dup, messageId, properties } = packet;
        const publication = {
          topicName: topic,
          payload: typeof payload === "string" ? Buffer.from(payload) : payload,
          qos,
          retain,
        };
        const expirySeconds = properties?.messageExpiryInterval;
        leaveAlone(packet);
        this.#events.delivered(linkId, {
          publication,
          packetId: qos === 0 ? 0 : (messageId ?? 0),
          dup,
          ...(expirySeconds !== undefined && { expirySeconds }),
        });
        return;
      }
      case "pubrel": {
        const { messageId } = packet;
        leaveAlone(packet);
        return this.#events.released(linkId, messageId ?? 0);
      }
      case "puback":
      case "pubrec":
      case "pubcomp": {
        const { cmd, messageId, reasonCode } = packet;
        leaveAlone(packet);
        return this.#events.acked(linkId, cmd, messageId ?? 0, reasonCode ?? 0);
      }
      case "suback": {
        const { messageId, granted } = packet;
        leaveAlone(packet);
        return this.#events.acked(linkId, "suback", messageId ?? 0, Number(granted[0] ?? 0x80));
      }
      case "unsuback": {
        const { messageId, granted } = packet;
        leaveAlone(packet);
        return this.#events.acked(linkId, "unsuback", messageId ?? 0, Number(granted?.[0] ?? 0));
      }
      default:
        return; // pings are MQTT.js's own
    }
  }

  #write(packet: Packet): void {
    const stream = this.#client?.stream;
    if (!this.#up || !stream || stream.destroyed) return;
    this.#counters.packetsOut++;
    if (this.#corked !== stream) {
      this.#corked = stream;
      stream.cork(); // one system call per turn of the event loop, not per packet
      setImmediate(this.#uncork);
    }
    stream.write(generate(packet, this.#generateOptions));
    if (!this.#congested && stream.writableLength > this.#options.sendBufferBytesMax) {
      this.#congested = true;
      this.#events.congested(this.request.linkId, true);
    }
  }

  readonly #uncork = (): void => {
    const stream = this.#corked;
    this.#corked = undefined;
    stream?.uncork();
  };

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

/** MQTT.js passes over a command it does not know. See the head of this file. */
function leaveAlone(packet: Packet): void {
  (packet as { cmd: string }).cmd = "taken";
}

function limitsOf(packet: Extract<Packet, { cmd: "connack" }>): BrokerLimits {
  const { receiveMaximum, maximumQoS, retainAvailable, maximumPacketSize } = packet.properties ?? {};
  return {
    receiveMaximum: receiveMaximum ?? 65_535,
    maximumQoS: (maximumQoS ?? 2) as QoS,
    retainAvailable: retainAvailable ?? true,
    maximumPacketBytes: maximumPacketSize,
  };
}
