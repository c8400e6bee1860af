/**
 * One MQTT connection with its reconnects.
 *
 * A `Connection` is made, answered and kept alive by itself or by MQTT.js. Everything that carries a message is ours:
 * `packet-reader.ts` takes those packets out of what the broker sends, and hands the others on to the connection;
 * `packet-writer.ts` writes them, with the core's packet ids, once per turn of the event loop.
 *
 * Each attempt is a new connection, so that no state of a failed one can reach the next.
 *
 * PINGREQ is the connection's for the keep-alive, and ours where the core asks for one. A broker answers them in the order in
 * which they came, so whose a PINGRESP is, is the order in which they were written: `Attempt.pings`. The connection does not
 * see the answers to ours; a broker that answers ours but not its own would still count as silent, as it should.
 */
import { Socket } from "node:net";
import { performance } from "node:perf_hooks";
import type { TLSSocket } from "node:tls";
import type { IClientOptions } from "mqtt";
import { generate, type IConnackPacket, type Packet } from "mqtt-packet";
import type { LinkRequest } from "../core/effect.ts";
import type { LinkEnd } from "../core/input.ts";
import type { BrokerLimits, Publication, QoS, Will } from "../core/types.ts";
import type { Durations } from "../durations.ts";
import { BackOff } from "./back-off.ts";
import type { BrokerList } from "./broker-list.ts";
import type { BrokerUrl } from "./broker-url.ts";
import { certificateTrouble, type WallTime } from "./certificate-time.ts";
import { limitsOf, packetTooLarge, refusalOf, whyNotTaken } from "./connack.ts";
import type { Connection, ConnectionEvents, ConnectWords } from "./connection.ts";
import { type ConnectionSigns, causeOf } from "./connection-end.ts";
import type { Credentials } from "./credentials.ts";
import type { SubscribeDetails, UpstreamEvents } from "./link.ts";
import { MqttJsConnection } from "./mqtt-js-connection.ts";
import type { UpstreamOptions } from "./options.ts";
import { PacketReader, type ReadPublish } from "./packet-reader.ts";
import { PacketWriter } from "./packet-writer.ts";
import type { BrokerWays } from "./presets.ts";
import { TcpConnection } from "./tcp-connection.ts";
import type { RingPlace, TcpRing } from "./tcp-ring.ts";
import type { TurnEnd } from "./turn-end.ts";
import type { WillRules } from "./will-rules.ts";

/** For what was written last, before the socket is destroyed. */
const closeDeadlineMs = 2_000;
/** All links that waited for the clock come back within this time, not at once. */
const clockSetSpreadMs = 1_000;
const takenOverReason = 0x8e;
const malformedReason = 0x81;
const receiveMaximumExceeded = 0x93;
/** Of UNSUBACK. [MQTT-5.0 3.11.3] */
const noSubscriptionExisted = 0x11;
/** Bad user or password, not authorised. */
const isAboutIdentity = (reasonCode: number) => reasonCode === 0x86 || reasonCode === 0x87;
/** Server unavailable, busy, use another, moved: another broker of the list may do. */
const isAboutBroker = new Set([0x88, 0x89, 0x9c, 0x9d]);
const pingRespType = 13;
const disconnectType = 14;
const pingReq = Uint8Array.of(0xc0, 0);

/** What is known of one attempt to connect, and of the connection that came of it. */
interface Attempt extends ConnectionSigns {
  /** Which broker of the list. */
  readonly index: number;
  connection: Connection | undefined;
  /** Where what is written can leave together with what others write. */
  place: RingPlace | undefined;
  reason: string;
  reasonCode: number | undefined;
  /** CONNACK came, be it a refusal. */
  answered: boolean;
  refusedWith: number | undefined;
  showedLife: boolean;
  over: boolean;
  /** `down` was said. */
  told: boolean;
  /** What was in the way is out of it: the next attempt is made without a pause. */
  isRetriedAtOnce: boolean;
  readonly will: Will | undefined;
  /** QoS 1 and 2 publications of the broker that we have answered nothing: PUBACK or PUBREC. */
  readonly unacknowledged: Set<number>;
  /** Those at QoS 2 that we have answered PUBREC, and not PUBCOMP. */
  readonly received: Set<number>;
  /** When each publication at QoS 1 and 2 was written that the broker has answered nothing. */
  readonly sentAt: Map<number, number>;
  /** Whose each PINGREQ is that is not answered, in the order in which they were written. */
  readonly pings: ("core" | "keepAlive")[];
  /** Called once it is closed, last. */
  whenClosed: (() => void) | undefined;
}

export interface LinkCounters {
  droppedCongested: number;
  /** Connections that we ended because the broker sent more than `receiveMaximum` allows. */
  receiveMaximumExceeded: number;
  packetsIn: number;
  packetsOut: number;
  /** Octets from and to the broker once it accepted CONNECT; what MQTT.js writes is not counted. */
  bytesIn: number;
  bytesOut: number;
  /** From a publication at QoS 1 or 2 to the broker's PUBACK or PUBREC. */
  readonly acknowledgement: Durations;
  /** Of the certificate that the broker showed last, milliseconds since 1970. */
  brokerCertificateEndsAt: number | undefined;
}

export class MqttLink {
  readonly request: LinkRequest;
  readonly #options: UpstreamOptions;
  readonly #credentials: Credentials;
  readonly #brokers: BrokerList;
  readonly #ways: BrokerWays;
  readonly #wills: WillRules;
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
  readonly #ring: TcpRing | undefined;
  readonly #writer: PacketWriter;
  readonly #flush = (): void => this.#writeOut(this.#attempt?.place);

  constructor(init: {
    request: LinkRequest;
    options: UpstreamOptions;
    credentials: Credentials;
    brokers: BrokerList;
    wills: WillRules;
    ways: BrokerWays;
    events: UpstreamEvents;
    counters: LinkCounters;
    turnEnd: TurnEnd;
    ring: TcpRing | undefined;
    random: () => number;
    clock: WallTime;
  }) {
    this.request = init.request;
    this.#options = init.options;
    this.#credentials = init.credentials;
    this.#brokers = init.brokers;
    this.#ways = init.ways;
    this.#wills = init.wills;
    this.#events = init.events;
    this.#counters = init.counters;
    this.#backOff = new BackOff(init.options.reconnect, init.random);
    this.#clock = init.clock;
    this.#random = init.random;
    this.#isV5 = init.options.protocol === "5";
    this.#generateOptions = { protocolVersion: this.#isV5 ? 5 : 4 };
    this.#turnEnd = init.turnEnd;
    this.#ring = init.ring;
    this.#writer = new PacketWriter(init.options.protocol);
  }

  get isUp(): boolean {
    return this.#up;
  }

  /** Of the broker that the connection stands to; undefined: it does not. */
  get brokerIndex(): number | undefined {
    return this.#up ? this.#attempt?.index : undefined;
  }

  /** Says goodbye here, and comes again where the list of brokers says. */
  move(reason: string): void {
    const attempt = this.#attempt;
    const stream = attempt?.connection?.stream;
    if (!this.#up || !attempt || !stream) return;
    attempt.reason ||= reason;
    attempt.isOurs = true;
    attempt.isRetriedAtOnce = true;
    this.#write({ cmd: "disconnect", ...(this.#isV5 && { reasonCode: 0 }) } as Packet);
    this.#writeOut();
    this.#up = false;
    this.#limits = undefined;
    attempt.told = true;
    const deadline = setTimeout(() => stream.destroy(), closeDeadlineMs);
    stream.once("close", () => clearTimeout(deadline));
    stream.end();
    this.#events.down(this.request.linkId, endOf(attempt));
  }

  /** One attempt; the next follows by itself. */
  connect(): void {
    if (this.#closed) return;
    this.#blamesClock = false;
    const { index, url } = this.#brokers.pick();
    const attempt = newAttempt(index, this.request.will && this.#wills.taken(this.request.will));
    this.#attempt = attempt;
    this.#credentials.of(this.request.identity, url, (identity) => {
      if (this.#attempt !== attempt || this.#closed) return;
      if ("failed" in identity) {
        attempt.reason = identity.failed;
        attempt.isOurs = true;
        setImmediate(() => this.#over(attempt));
      } else this.#begin(attempt, url, identity);
    });
  }

  #over(attempt: Attempt): void {
    if (attempt.over) return;
    attempt.over = true;
    this.#up = false;
    this.#limits = undefined;
    this.#writer.clear();
    this.#pingsToWrite = 0;
    attempt.connection?.destroy();
    if (this.#attempt === attempt) this.#attempt = undefined;
    if (this.#closed) return;
    const end = endOf(attempt);
    const isNextOfRound = this.#noteFailure(attempt, end);
    if (attempt.isRetriedAtOnce) this.#scheduleRetry(0);
    else this.#scheduleRetry(isNextOfRound ? this.#backOff.shortest() : this.#backOff.next());
    if (!attempt.told && (!attempt.answered || attempt.accepted)) this.#events.down(this.request.linkId, end);
  }

  /** What could not be made tells something of the broker. True: the list of brokers is not gone through yet. */
  #noteFailure(attempt: Attempt, end: LinkEnd): boolean {
    const { accepted, refusedWith, isRetriedAtOnce } = attempt;
    if (
      accepted ||
      isRetriedAtOnce ||
      end.cause === "ours" ||
      (refusedWith !== undefined && !isAboutBroker.has(refusedWith))
    )
      return false;
    this.#failuresInARow++;
    this.#brokers.failed(attempt.index, this.#failuresInARow, end.reason);
    return this.#failuresInARow % this.#brokers.size !== 0;
  }

  #begin(attempt: Attempt, url: BrokerUrl, identity: IClientOptions): void {
    const events = this.#eventsOf(attempt);
    const words = this.#connectWords(attempt, identity);
    try {
      attempt.connection =
        url.scheme === "mqtt" && this.#options.connectBy === "gateway"
          ? new TcpConnection(url, words, events)
          : new MqttJsConnection(url, words, identity, events);
    } catch (error) {
      attempt.reason = error instanceof Error ? error.message : String(error);
      attempt.isOurs = true;
      setImmediate(() => this.#over(attempt));
    }
  }

  #eventsOf(attempt: Attempt): ConnectionEvents {
    const reader = this.#newReader(attempt);
    const isCurrent = () => this.#attempt === attempt && !this.#closed;
    return {
      asked: () => {
        attempt.asked = true;
      },
      secured: (socket) => this.#noteCertificate(socket),
      octets: (chunk) => {
        this.#counters.bytesIn += chunk.length;
        reader.take(chunk);
      },
      connAck: (packet) => {
        if (isCurrent()) this.#onConnAck(packet, attempt);
      },
      disconnected: (reasonCode) => {
        if (!isCurrent()) return;
        attempt.disconnected = true;
        attempt.reasonCode = reasonCode;
        attempt.reason ||= `broker said DISCONNECT (0x${reasonCode.toString(16)})`;
      },
      pings: () => {
        attempt.place?.flush();
        attempt.pings.push("keepAlive");
      },
      finished: () => {
        attempt.finished = true;
      },
      failed: (error) => {
        const trouble = certificateTrouble(error, this.#clock);
        if (trouble !== undefined) this.#blamesClock = true;
        attempt.error ??= error;
        attempt.reason ||= trouble ?? error.message;
      },
      closed: () => {
        this.#over(attempt);
        attempt.whenClosed?.();
      },
    };
  }

  #noteCertificate(socket: TLSSocket): void {
    // With a pre-shared key there is none.
    const until = Date.parse(socket.getPeerCertificate().valid_to);
    if (Number.isFinite(until)) this.#counters.brokerCertificateEndsAt = until;
  }

  publish(publication: Publication, packetId: number, dup: boolean): void {
    if (publication.qos === 0 && this.#congested) {
      this.#counters.droppedCongested++;
      return;
    }
    if (!this.#mayWrite()) return;
    if (publication.qos > 0) this.#attempt?.sentAt.set(packetId, performance.now());
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
    const notTaken = this.#limits && whyNotTaken(this.#limits, topicFilter);
    if (notTaken !== undefined) return this.#answerInstead("suback", packetId, notTaken);
    const hasId = this.#isV5 && this.#limits?.subscriptionIdsAvailable && subscriptionIdentifier !== undefined;
    const qosAsked = Math.min(qos, this.#limits?.maximumQoS ?? 2) as QoS;
    this.#write({
      cmd: "subscribe",
      messageId: packetId,
      subscriptions: [{ topic: topicFilter, qos: qosAsked, ...(this.#isV5 && withoutRetained && { rh: 2 }) }],
      ...(hasId && { properties: { subscriptionIdentifier } }),
    } as Packet);
  }

  /**
   * A connection comes up and asks for all again, also for what this broker does not take: it would answer by closing.
   * What it would say if it could, is said in its place.
   */
  #answerInstead(ack: "suback" | "unsuback", packetId: number, code: number): void {
    this.#events.acked(this.request.linkId, ack, packetId, code);
  }

  unsubscribe(packetId: number, topicFilter: string): void {
    if (this.#limits && whyNotTaken(this.#limits, topicFilter) === packetTooLarge)
      return this.#answerInstead("unsuback", packetId, noSubscriptionExisted);
    this.#write({ cmd: "unsubscribe", messageId: packetId, unsubscriptions: [topicFilter] });
  }

  /** The connection has just ended, and the core says how soon the next attempt is to come. */
  pause(pause: "first" | "least"): void {
    if (this.#closed || this.#attempt) return;
    this.#scheduleRetry(this.#backOff.again(pause));
  }

  ping(): void {
    if (!this.#mayWrite()) return;
    this.#writer.packet(pingReq);
    this.#pingsToWrite++;
  }

  ack(kind: "puback" | "pubrec" | "pubcomp", packetId: number): void {
    if (!this.#mayWrite()) return;
    const { unacknowledged, received } = this.#attempt ?? {};
    if (kind === "pubrec") received?.add(packetId);
    else received?.delete(packetId);
    unacknowledged?.delete(packetId);
    this.#writer.acknowledge(kind, packetId);
    this.#watchBuffer();
  }

  /** Ends the link; `closed` is called once the socket is gone, within two seconds. No event comes afterwards. */
  close(how: "disconnect" | "abandon", endSession: boolean, closed: () => void): void {
    this.#closed = true;
    clearTimeout(this.#retry);
    const attempt = this.#attempt;
    const connection = attempt?.connection;
    if (!attempt || !connection) return closed();
    const deadline = setTimeout(() => connection.destroy(), closeDeadlineMs);
    attempt.whenClosed = () => {
      clearTimeout(deadline);
      closed();
    };
    if (!this.#up) return connection.destroy();
    if (how === "disconnect") {
      const properties = this.#isV5 && endSession ? { sessionExpiryInterval: 0 } : undefined;
      this.#write({ cmd: "disconnect", ...(this.#isV5 && { reasonCode: 0, ...(properties && { properties }) }) });
    }
    this.#writeOut();
    this.#up = false;
    connection.stream.end(); // FIN after what was written; the broker answers with its own
  }

  /** The last attempt ended over the time in a certificate. */
  #blamesClock = false;

  /** The broker of the list that accepted CONNECT last. */
  #acceptedAt: number | undefined;
  /** Attempts that came to nothing since one was accepted. */
  #failuresInARow = 0;
  /** Of the connection that stands. */
  #limits: BrokerLimits | undefined;

  #onConnAck(packet: IConnackPacket, attempt: Attempt): void {
    const code = (this.#isV5 ? packet.reasonCode : packet.returnCode) ?? 0;
    attempt.answered = true;
    if (code !== 0) {
      const { refusal, reason, reasonCode } = refusalOf(this.#isV5, code);
      attempt.reason = reason;
      if (attempt.will && this.#wills.refused(reasonCode, attempt.will)) {
        attempt.isRetriedAtOnce = true;
        return;
      }
      attempt.refusedWith = reasonCode;
      if (isAboutIdentity(reasonCode)) this.#credentials.refused(this.request.identity);
      this.#events.refused(this.request.linkId, refusal, reason, reasonCode);
      return;
    }
    const elsewhere = this.#brokers.isElsewhere(this.request.mqttClientId, attempt.index);
    this.#up = true;
    attempt.accepted = true;
    this.#acceptedAt = attempt.index;
    this.#failuresInARow = 0;
    this.#limits = limitsOf(packet, this.#isV5, this.#ways);
    if (this.#isV5) this.#wills.learn(this.#limits);
    this.#congested = false;
    const stream = attempt.connection?.stream;
    stream?.on("drain", () => this.#onDrain());
    if (stream instanceof Socket) attempt.place = this.#ring?.join(stream);
    this.#events.up(this.request.linkId, packet.sessionPresent, this.#limits, elsewhere);
    this.#brokers.accepted(attempt.index);
  }

  /** Of a publication; its packet id is nobody else's until it is answered. */
  #noteAnswer({ sentAt }: Attempt, packetId: number): void {
    const from = sentAt.get(packetId);
    if (from === undefined) return;
    sentAt.delete(packetId);
    this.#counters.acknowledgement.add((performance.now() - from) / 1_000);
  }

  /** Takes the packets that carry messages out of what the broker sends. */
  #newReader(attempt: Attempt): PacketReader {
    const { linkId } = this.request;
    const isOurs = () => this.#attempt === attempt && !this.#closed && this.#up;
    const reader = new PacketReader(this.#isV5 ? "5" : "3.1.1", {
      publish: (packet) => {
        if (isOurs()) {
          if (this.#isTooMany(packet, attempt)) return tooMany();
          this.#onPublish(packet, attempt);
        } else if (!attempt.accepted) refuse("PUBLISH before CONNACK");
      },
      ack: (kind, packetId, code) => {
        if (!isOurs()) return;
        this.#counters.packetsIn++;
        attempt.showedLife = true;
        this.#noteAnswer(attempt, packetId);
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
        attempt.connection?.take(octets);
      },
      malformed: (why) => refuse(`malformed packet of the broker: ${why}`),
    });
    const refuse = (why: string, reasonCode = malformedReason) => {
      reader.end();
      attempt.reason ||= why;
      attempt.isOurs = true;
      if (this.#isV5 && isOurs()) {
        attempt.reasonCode = reasonCode;
        this.#write({ cmd: "disconnect", reasonCode } as Packet);
      }
      if (isOurs()) this.#writeOut();
      attempt.connection?.stream.destroy();
    };
    const tooMany = () => {
      const { receiveMaximum } = this.#options;
      this.#counters.receiveMaximumExceeded++;
      const say = `the broker has more than ${receiveMaximum} publications under way that are not acknowledged (receiveMaximum)`;
      const whose = this.request.mqttClientId;
      this.#events.notice?.("warn", `${say}: its connection for "${whose}" is ended`, "receiveMaximum");
      refuse(say, receiveMaximumExceeded);
    };
    return reader;
  }

  /**
   * MQTT 5: more than we said that we take. Everything beyond would have to be kept somewhere. [MQTT-5.0 3.3.4] What has had
   * PUBREC is kept already, and mosquitto (2.0.11) does not count it any more: were it counted here, each burst at QoS 2 would
   * end the connection, and the rest of the burst the next one.
   */
  #isTooMany({ packetId }: ReadPublish, { unacknowledged, received }: Attempt): boolean {
    if (packetId === 0 || !this.#isV5) return false;
    if (!received.has(packetId)) unacknowledged.add(packetId);
    return unacknowledged.size > this.#options.receiveMaximum;
  }

  #onPublish(packet: ReadPublish, attempt: Attempt): void {
    attempt.showedLife = true;
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
    const stream = this.#attempt?.connection?.stream;
    if (!this.#up || !stream || stream.destroyed) return false;
    this.#counters.packetsOut++;
    if (this.#writer.length === 0) this.#turnEnd.add(this.#flush);
    return true;
  }

  #watchBuffer(): void {
    if (this.#congested) return;
    const waiting = this.#writer.length + (this.#attempt?.connection?.stream.writableLength ?? 0);
    if (waiting <= this.#options.sendBufferBytesMax) return;
    this.#congested = true;
    this.#events.congested(this.request.linkId, true);
  }

  /** One write for all that this turn has to say: at its end together with what others say, otherwise at once. */
  #writeOut(together?: RingPlace): void {
    const stream = this.#attempt?.connection?.stream;
    if (!together) this.#attempt?.place?.flush();
    if (this.#writer.length === 0) return;
    const pieces = this.#writer.take();
    if (!this.#up || !stream || stream.destroyed) return;
    for (; this.#pingsToWrite > 0; this.#pingsToWrite--) this.#attempt?.pings.push("core");
    for (const { length } of pieces) this.#counters.bytesOut += length;
    const [piece] = pieces;
    if (pieces.length > 1 || !piece || !together?.send(piece)) {
      together?.flush();
      if (pieces.length > 1) stream.cork();
      for (const each of pieces) stream.write(each);
      if (pieces.length > 1) stream.uncork();
    }
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

  #scheduleRetry(pauseMs: number): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.connect(), pauseMs);
  }

  #connectWords({ index, will: atBroker }: Attempt, { username, password }: IClientOptions): ConnectWords {
    const { request } = this;
    const { keepAliveSeconds, connectTimeoutSeconds, sessionExpirySeconds, receiveMaximum, will } = this.#options;
    const willDelay = Math.min(will.delaySeconds, sessionExpirySeconds);
    // MQTT 5 tells "start anew" from "end with the connection": a clean session is made new once, and outlives a cut.
    // It ends when the core says so, with an expiry of 0 in DISCONNECT.
    // What another broker of the list keeps of it is old.
    const clean = request.clean && !(this.#isV5 && (this.#acceptedAt === index || request.resume));
    return {
      timeoutMs: connectTimeoutSeconds * 1_000,
      packet: {
        cmd: "connect",
        protocolId: "MQTT",
        protocolVersion: this.#isV5 ? 5 : 4,
        clientId: request.mqttClientId,
        clean,
        keepalive: keepAliveSeconds,
        ...(username !== undefined && { username }),
        ...(password !== undefined && { password: Buffer.from(password) }),
        ...(this.#isV5 && { properties: { sessionExpiryInterval: sessionExpirySeconds, receiveMaximum } }),
        ...(atBroker && {
          will: {
            topic: atBroker.topicName,
            payload: Buffer.from(atBroker.payload),
            qos: atBroker.qos,
            retain: atBroker.retain,
            ...(this.#isV5 && willDelay > 0 && { properties: { willDelayInterval: willDelay } }),
          },
        }),
      },
    };
  }
}

function newAttempt(index: number, will: Will | undefined): Attempt {
  return {
    index,
    will,
    connection: undefined,
    place: undefined,
    reason: "",
    reasonCode: undefined,
    answered: false,
    refusedWith: undefined,
    asked: false,
    accepted: false,
    showedLife: false,
    isOurs: false,
    disconnected: false,
    finished: false,
    error: undefined,
    over: false,
    told: false,
    isRetriedAtOnce: false,
    unacknowledged: new Set(),
    received: new Set(),
    sentAt: new Map(),
    pings: [],
    whenClosed: undefined,
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
