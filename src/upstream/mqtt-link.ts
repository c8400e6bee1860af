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
 *
 * PINGREQ is MQTT.js's for the keep-alive, and ours where the core asks for one. A broker answers them in the order in
 * which they came, so whose a PINGRESP is, is the order in which they were written: `Attempt.pings`. MQTT.js does not
 * see the answers to ours; a broker that answers ours but not its own would still count as silent, as it should.
 */
import mqtt, { type IClientOptions, type MqttClient, type Packet } from "mqtt";
import { generate } from "mqtt-packet";
import type { LinkRequest } from "../core/effect.ts";
import type { LinkEnd } from "../core/input.ts";
import type { BrokerLimits, Publication, QoS } from "../core/types.ts";
import { BackOff } from "./back-off.ts";
import { certificateTrouble, type WallTime } from "./certificate-time.ts";
import { refusalOf } from "./connack.ts";
import { type ConnectionSigns, causeOf } from "./connection-end.ts";
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
const pingRespType = 13;
const disconnectType = 14;
const pingReq = Uint8Array.of(0xc0, 0);

/** What is known of one attempt to connect, and of the connection that came of it. */
interface Attempt extends ConnectionSigns {
  client: MqttClient | undefined;
  reason: string;
  reasonCode: number | undefined;
  /** CONNACK came, be it a refusal. */
  answered: boolean;
  showedLife: boolean;
  over: boolean;
  /** Whose each PINGREQ is that is not answered, in the order in which they were written. */
  readonly pings: ("core" | "keepAlive")[];
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
  #attempt: Attempt | undefined;
  #up = false;
  /** Of the packets that wait in the writer, so many are PINGREQ. */
  #pingsToWrite = 0;
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
    const attempt = newAttempt();
    const over = () => {
      if (attempt.over) return;
      attempt.over = true;
      this.#up = false;
      this.#writer.clear();
      this.#pingsToWrite = 0;
      attempt.client?.end(true);
      if (this.#attempt === attempt) this.#attempt = undefined;
      if (this.#closed) return;
      this.#scheduleRetry();
      if (!attempt.answered || attempt.accepted) this.#events.down(this.request.linkId, endOf(attempt));
    };
    let client: MqttClient;
    try {
      client = mqtt.connect(this.#options.url, this.#clientOptions());
    } catch (error) {
      attempt.reason = error instanceof Error ? error.message : String(error);
      attempt.isOurs = true;
      setImmediate(over);
      return;
    }
    attempt.client = client;
    this.#attempt = attempt;
    const failed = (error: Error) => {
      const trouble = certificateTrouble(error, this.#clock);
      if (trouble !== undefined) this.#blamesClock = true;
      attempt.error ??= error;
      attempt.reason ||= trouble ?? error.message;
    };
    client.on("error", (error) => {
      failed(error);
      // It has read something that is no packet, and would wait for ever for one.
      if (!("code" in error)) client.stream.destroy();
    });
    client.stream.on("error", failed); // MQTT.js keeps those without a code to itself
    client.stream.on("end", () => {
      attempt.finished = true;
    });
    client.on("packetsend", ({ cmd }) => {
      if (cmd === "pingreq") attempt.pings.push("keepAlive");
    });
    client.on("packetreceive", (packet) => {
      if (this.#attempt !== attempt || this.#closed) return;
      if (packet.cmd === "connack") this.#onConnAck(packet, attempt);
      else if (packet.cmd === "disconnect") {
        attempt.disconnected = true;
        attempt.reasonCode = packet.reasonCode ?? 0;
        attempt.reason ||= `broker said DISCONNECT (0x${attempt.reasonCode.toString(16)})`;
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

  ping(): void {
    if (!this.#mayWrite()) return;
    this.#writer.packet(pingReq);
    this.#pingsToWrite++;
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
    const client = this.#attempt?.client;
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

  #everUp = false;
  #hasSubscriptionIds = false;

  #onConnAck(packet: Extract<Packet, { cmd: "connack" }>, attempt: Attempt): void {
    const code = (this.#isV5 ? packet.reasonCode : packet.returnCode) ?? 0;
    attempt.answered = true;
    if (code !== 0) {
      const { refusal, reason, reasonCode } = refusalOf(this.#isV5, code);
      attempt.reason = reason;
      this.#events.refused(this.request.linkId, refusal, reason, reasonCode);
      return;
    }
    this.#up = true;
    attempt.accepted = true;
    this.#everUp = true;
    this.#hasSubscriptionIds = packet.properties?.subscriptionIdentifiersAvailable !== false;
    this.#congested = false;
    this.#backOff.reset();
    attempt.client?.stream.on("drain", () => this.#onDrain());
    this.#events.up(
      this.request.linkId,
      packet.sessionPresent,
      limitsOf(packet, this.#isV5 ? undefined : this.#options.qos2InFlightMax),
    );
  }

  /** Puts our reader between the socket and MQTT.js. */
  #readBefore(client: MqttClient, attempt: Attempt): void {
    const { linkId } = this.request;
    const { stream } = client;
    const theirs = stream.listeners("data");
    const isOurs = () => this.#attempt === attempt && !this.#closed && this.#up;
    const reader = new PacketReader(this.#isV5 ? "5" : "3.1.1", {
      publish: (packet) => {
        if (isOurs()) this.#onPublish(packet, attempt);
        else if (!attempt.accepted) refuse("PUBLISH before CONNACK");
      },
      ack: (kind, packetId, code) => {
        if (!isOurs()) return;
        this.#counters.packetsIn++;
        attempt.showedLife = true;
        this.#events.acked(linkId, kind, packetId, code);
      },
      release: (packetId) => {
        if (!isOurs()) return;
        this.#counters.packetsIn++;
        attempt.showedLife = true;
        this.#events.released(linkId, packetId);
      },
      other: (octets) => {
        this.#counters.packetsIn++;
        const type = (octets[0] ?? 0) >> 4;
        if (isOurs() && type !== disconnectType) attempt.showedLife = true;
        if (type === pingRespType && attempt.pings.shift() === "core") {
          if (isOurs()) this.#events.pong(linkId);
          return;
        }
        for (const listener of theirs) listener.call(stream, octets);
      },
      malformed: (why) => refuse(`malformed packet of the broker: ${why}`),
    });
    const refuse = (why: string) => {
      reader.end();
      attempt.reason ||= why;
      attempt.isOurs = true;
      if (this.#isV5 && isOurs()) {
        attempt.reasonCode = malformedReason;
        this.#write({ cmd: "disconnect", reasonCode: malformedReason } as Packet);
      }
      if (isOurs()) this.#writeOut();
      stream.destroy();
    };
    stream.on("data", (chunk: Buffer) => reader.take(chunk));
    for (const listener of theirs) stream.removeListener("data", listener as (chunk: Buffer) => void);
  }

  #onPublish(packet: ReadPublish, attempt: Attempt): void {
    attempt.showedLife = true;
    const { topicName, payload, qos, retain, dup, packetId, expirySeconds, subscriptionIds } = packet;
    this.#counters.packetsIn++;
    const publication = { topicName, payload, qos, retain };
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
    const stream = this.#attempt?.client?.stream;
    if (!this.#up || !stream || stream.destroyed) return false;
    this.#counters.packetsOut++;
    if (this.#writer.length === 0) this.#turnEnd.add(this.#flush);
    return true;
  }

  #watchBuffer(): void {
    if (this.#congested) return;
    const waiting = this.#writer.length + (this.#attempt?.client?.stream.writableLength ?? 0);
    if (waiting <= this.#options.sendBufferBytesMax) return;
    this.#congested = true;
    this.#events.congested(this.request.linkId, true);
  }

  /** One write for all that this turn has to say. */
  #writeOut(): void {
    const stream = this.#attempt?.client?.stream;
    if (this.#writer.length === 0) return;
    const pieces = this.#writer.take();
    if (!this.#up || !stream || stream.destroyed) return;
    for (; this.#pingsToWrite > 0; this.#pingsToWrite--) this.#attempt?.pings.push("core");
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
    if (!this.#blamesClock || this.#closed || this.#attempt) return;
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

function newAttempt(): Attempt {
  return {
    client: undefined,
    reason: "",
    reasonCode: undefined,
    answered: false,
    accepted: false,
    showedLife: false,
    isOurs: false,
    disconnected: false,
    finished: false,
    error: undefined,
    over: false,
    pings: [],
  };
}

function endOf(attempt: Attempt): LinkEnd {
  const { reason, reasonCode, showedLife, disconnected } = attempt;
  return {
    reason: reason || "connection closed",
    takenOver: disconnected && reasonCode === takenOverReason,
    cause: causeOf(attempt),
    ...(reasonCode !== undefined && { reasonCode }),
    showedLife,
  };
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
