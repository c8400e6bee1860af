/**
 * One MQTT connection with its reconnects.
 *
 * A `Connection` connects and keeps itself alive, by itself or by MQTT.js. The link handles all packets with messages:
 * `packet-reader.ts` takes them out of the broker's octets, and passes the others to the connection; `packet-writer.ts`
 * writes them with the core's packet ids, once per turn of the event loop.
 *
 * Each attempt is a new connection, so that no state of a failed one can reach the next.
 *
 * The connection writes PINGREQ for the keep-alive, and the link writes PINGREQ when the core requests one. A broker
 * answers them in their order, so the order of writing, which `Attempt` remembers, tells to whom a PINGRESP belongs.
 * The connection does not get the answers to the link's PINGREQs. A broker that answered only those would still count
 * as silent, as it should.
 */
import { Socket } from "node:net";
import type { IClientOptions } from "mqtt";
import { generate, type IConnackPacket, type Packet, writeToStream } from "mqtt-packet";
import type { LinkRequest } from "../core/effect.ts";
import type { LinkEnd } from "../core/input.ts";
import type { BrokerLimits, KnownPause, Publication, QoS } from "../core/types.ts";
import { Attempt, type AttemptOwner } from "./attempt.ts";
import { BackOff } from "./back-off.ts";
import type { BrokerList } from "./broker-list.ts";
import type { BrokerUrl } from "./broker-url.ts";
import { certificateTrouble, type WallTime } from "./certificate-time.ts";
import { limitsOf, packetTooLarge, refusalOf, whyNotTaken } from "./connack.ts";
import { connectWords } from "./connect-words.ts";
import type { Credentials } from "./credentials.ts";
import type { SubscribeDetails, UpstreamEvents } from "./link.ts";
import type { LinkCounters } from "./link-counters.ts";
import { MqttJsConnection } from "./mqtt-js-connection.ts";
import { keepAliveOf, type UpstreamOptions } from "./options.ts";
import { PacketWriter } from "./packet-writer.ts";
import type { BrokerWays } from "./presets.ts";
import { WriteLoad } from "./quick-ack.ts";
import { TcpConnection } from "./tcp-connection.ts";
import type { RingPlace } from "./tcp-ring.ts";
import type { Together } from "./together.ts";
import type { AliasRules } from "./topic-aliases.ts";
import type { TurnEnd } from "./turn-end.ts";
import type { WillRules } from "./will-rules.ts";

// Without this, the package would keep 65,536 buffers (6 MB) to write rare packets a little faster. The switch is for
// the whole process.
writeToStream.cacheNumbers = false;

/** Milliseconds for sending the last octets before the socket is destroyed. */
const closeDeadlineMs = 2_000;
/** All links that waited for the clock reconnect within this time, and not at the same moment. */
const clockSetSpreadMs = 1_000;
/** The reason code of UNSUBACK for a filter without a subscription. [MQTT-5.0 3.11.3] */
const noSubscriptionExisted = 0x11;
/** Reason codes: bad user name or password, not authorised. */
const isAboutIdentity = (reasonCode: number) => reasonCode === 0x86 || reasonCode === 0x87;
const topicAliasInvalid = 0x94;
/**
 * Reason codes: server unavailable, busy, use another server, server moved. Another broker of the list may accept the
 * connection.
 */
const isAboutBroker = new Set([0x88, 0x89, 0x9c, 0x9d]);
const pingReq = Uint8Array.of(0xc0, 0);

export class MqttLink implements AttemptOwner {
  readonly request: LinkRequest;
  readonly #options: UpstreamOptions;
  readonly #credentials: Credentials;
  readonly #brokers: BrokerList;
  readonly #ways: BrokerWays;
  readonly #wills: WillRules;
  readonly #aliasRules: AliasRules;
  readonly events: UpstreamEvents;
  readonly counters: LinkCounters;
  readonly #backOff: BackOff;
  readonly #clock: WallTime;
  readonly #random: () => number;
  readonly isV5: boolean;
  readonly #generateOptions: { protocolVersion: number };
  #attempt: Attempt | undefined;
  #up = false;
  /** The number of PINGREQs among the packets that wait in the writer. */
  #pingsToWrite = 0;
  #congested = false;
  #closed = false;
  #retry: NodeJS.Timeout | undefined;
  readonly #turnEnd: TurnEnd;
  readonly #together: Together;
  /** Undefined: nothing is acknowledged at once. */
  readonly #load: WriteLoad | undefined;
  /** Packets in the writer. */
  #packetsToWrite = 0;
  readonly #writer: PacketWriter;
  readonly #flush = (): void => this.#writeOut(this.#attempt?.place);

  constructor(init: {
    request: LinkRequest;
    options: UpstreamOptions;
    credentials: Credentials;
    brokers: BrokerList;
    wills: WillRules;
    aliasRules: AliasRules;
    ways: BrokerWays;
    events: UpstreamEvents;
    counters: LinkCounters;
    turnEnd: TurnEnd;
    together: Together;
    random: () => number;
    clock: WallTime;
  }) {
    this.request = init.request;
    this.#options = init.options;
    this.#credentials = init.credentials;
    this.#brokers = init.brokers;
    this.#ways = init.ways;
    this.#wills = init.wills;
    this.#aliasRules = init.aliasRules;
    this.events = init.events;
    this.counters = init.counters;
    this.#backOff = new BackOff(init.options.reconnect, init.random);
    this.#clock = init.clock;
    this.#random = init.random;
    this.isV5 = init.options.protocol === "5";
    this.#generateOptions = { protocolVersion: this.isV5 ? 5 : 4 };
    this.#turnEnd = init.turnEnd;
    this.#together = init.together;
    this.#load = init.together.quickAck && new WriteLoad();
    this.#writer = new PacketWriter(init.options.protocol);
  }

  get receiveMaximum(): number {
    return this.#options.receiveMaximum;
  }

  get isUp(): boolean {
    return this.#up;
  }

  /** The index of the broker that the link is connected to; undefined: it is not connected. */
  get brokerIndex(): number | undefined {
    return this.#up ? this.#attempt?.index : undefined;
  }

  /** Disconnects here, and connects again to the broker that the list names. */
  move(reason: string): void {
    const attempt = this.#attempt;
    const stream = attempt?.connection?.stream;
    if (!this.#up || !attempt || !stream) return;
    attempt.reason ||= reason;
    attempt.isOurs = true;
    attempt.isRetriedAtOnce = true;
    this.#write({ cmd: "disconnect", ...(this.isV5 && { reasonCode: 0 }) } as Packet);
    this.#writeOut();
    this.#up = false;
    this.#limits = undefined;
    attempt.told = true;
    const deadline = setTimeout(() => stream.destroy(), closeDeadlineMs);
    stream.once("close", () => clearTimeout(deadline));
    stream.end();
    this.events.down(this.request.linkId, attempt.end);
  }

  /** Makes one attempt; the next one follows automatically. */
  connect(): void {
    if (this.#closed) return;
    this.#blamesClock = false;
    const { index, url } = this.#brokers.pick();
    const attempt = new Attempt(this, index, this.request.will && this.#wills.taken(this.request.will));
    this.#attempt = attempt;
    this.#credentials.of(this.request.identity, url, (identity, session) => {
      if (this.#attempt !== attempt || this.#closed) return;
      // CONNECT would take the MQTT session over from the connection of another gateway.
      if (!this.#turnEnd.mayLeave()) return;
      if ("failed" in identity) {
        attempt.reason = identity.failed;
        attempt.isOurs = true;
        setImmediate(() => this.onOver(attempt));
      } else {
        attempt.session = session;
        this.#begin(attempt, url, identity);
      }
    });
  }

  onOver(attempt: Attempt): void {
    if (attempt.over) return;
    attempt.over = true;
    attempt.endWatch();
    this.#up = false;
    this.#limits = undefined;
    this.#writer.clear();
    this.#packetsToWrite = 0;
    this.#pingsToWrite = 0;
    attempt.connection?.destroy();
    if (this.#attempt === attempt) this.#attempt = undefined;
    if (attempt.disconnected && attempt.reasonCode === topicAliasInvalid) this.#aliasRules.refused();
    if (this.#closed) return;
    const end = attempt.end;
    const isNextOfRound = this.#noteFailure(attempt, end);
    if (attempt.isRetriedAtOnce) this.#scheduleRetry(0);
    else this.#scheduleRetry(isNextOfRound ? this.#backOff.shortest() : this.#backOff.next(attempt.accepted));
    if (!attempt.told && (!attempt.answered || attempt.accepted)) this.events.down(this.request.linkId, end);
  }

  /** A failed connection is reported to the list of brokers. True: the list has another broker to try. */
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
    // If the last connection was to another broker of the list, this broker's session is out of date.
    const isKnown = this.#acceptedAt === attempt.index || this.request.resume === true;
    const words = connectWords(this.request, this.#options, { isKnown, will: attempt.will, identity });
    try {
      attempt.connection =
        url.scheme === "mqtt" && this.#options.connectBy === "gateway"
          ? new TcpConnection(url, words, attempt)
          : new MqttJsConnection(url, words, identity, attempt, attempt.session);
      this.counters.wire.begin(attempt);
    } catch (error) {
      attempt.reason = error instanceof Error ? error.message : String(error);
      attempt.isOurs = true;
      setImmediate(() => this.onOver(attempt));
    }
  }

  isCurrent(attempt: Attempt): boolean {
    return this.#attempt === attempt && !this.#closed;
  }

  onFailed(error: Error): string | undefined {
    const trouble = certificateTrouble(error, this.#clock);
    if (trouble !== undefined) this.#blamesClock = true;
    return trouble;
  }

  sayWhy(reasonCode: number): void {
    if (this.isV5) this.#write({ cmd: "disconnect", reasonCode } as Packet);
    this.#writeOut();
  }

  publish(publication: Publication, packetId: number, dup: boolean): void {
    if (publication.qos === 0 && this.#congested) {
      this.counters.droppedCongested++;
      return;
    }
    if (!this.#mayWrite()) return;
    if (publication.qos > 0) this.#attempt?.noteSent(packetId);
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
    const hasId = this.isV5 && this.#limits?.subscriptionIdsAvailable && subscriptionIdentifier !== undefined;
    const qosAsked = Math.min(qos, this.#limits?.maximumQoS ?? 2) as QoS;
    this.#write({
      cmd: "subscribe",
      messageId: packetId,
      subscriptions: [{ topic: topicFilter, qos: qosAsked, ...(this.isV5 && withoutRetained && { rh: 2 }) }],
      ...(hasId && { properties: { subscriptionIdentifier } }),
    } as Packet);
  }

  /**
   * After a reconnect the core subscribes to everything again, also to filters that this broker does not accept; it
   * would close the connection. So the answer that the broker should give is given here.
   */
  #answerInstead(ack: "suback" | "unsuback", packetId: number, code: number): void {
    this.events.acked(this.request.linkId, ack, packetId, code);
  }

  unsubscribe(packetId: number, topicFilter: string): void {
    if (this.#limits && whyNotTaken(this.#limits, topicFilter) === packetTooLarge)
      return this.#answerInstead("unsuback", packetId, noSubscriptionExisted);
    this.#write({ cmd: "unsubscribe", messageId: packetId, unsubscriptions: [topicFilter] });
  }

  /** The connection has just ended, and the core sets the pause before the next attempt. */
  pause(pause: KnownPause): void {
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
    this.#attempt?.noteAnswered(kind, packetId);
    this.#writer.acknowledge(kind, packetId);
    this.#watchBuffer();
  }

  /** Ends the link. `closed` is called when the socket is closed, within two seconds. No event follows. */
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
      const properties = this.isV5 && endSession ? { sessionExpiryInterval: 0 } : undefined;
      this.#write({ cmd: "disconnect", ...(this.isV5 && { reasonCode: 0, ...(properties && { properties }) }) });
    }
    this.#writeOut();
    this.#up = false;
    connection.stream.end(); // FIN is sent after the written octets; the broker answers with its own
  }

  /** Ends the link without sending anything, not even waiting packets. No event comes afterwards. */
  tear(): void {
    this.#closed = true;
    this.#up = false;
    clearTimeout(this.#retry);
    this.#attempt?.connection?.destroy();
  }

  /** The last attempt failed because of the time in a certificate. */
  #blamesClock = false;

  /** The broker of the list that accepted CONNECT last. */
  #acceptedAt: number | undefined;
  /** Attempts without CONNACK or with a refusal, since the last accepted one. */
  #failuresInARow = 0;
  /** The limits of the present connection; undefined: there are none. */
  #limits: BrokerLimits | undefined;

  onConnAck(packet: IConnackPacket, attempt: Attempt): void {
    const code = (this.isV5 ? packet.reasonCode : packet.returnCode) ?? 0;
    attempt.answered = true;
    if (code !== 0) {
      const { refusal, reason, reasonCode } = refusalOf(this.isV5, code);
      attempt.reason = reason;
      if (attempt.will && this.#wills.refused(reasonCode, attempt.will)) {
        attempt.isRetriedAtOnce = true;
        return;
      }
      // The broker may identify the gateway only by data of a whole handshake.
      if (attempt.isResumed && isAboutIdentity(reasonCode)) {
        attempt.session?.giveUp();
        attempt.isRetriedAtOnce = true;
        return;
      }
      attempt.refusedWith = reasonCode;
      if (isAboutIdentity(reasonCode)) this.#credentials.refused(this.request.identity);
      this.events.refused(this.request.linkId, refusal, reason, reasonCode);
      return;
    }
    const elsewhere = this.#brokers.isElsewhere(this.request.mqttClientId, attempt.index);
    this.#up = true;
    attempt.accepted = true;
    this.#acceptedAt = attempt.index;
    this.#failuresInARow = 0;
    this.#limits = limitsOf(packet, this.isV5, this.#ways);
    if (this.isV5) {
      this.#wills.learn(this.#limits);
      this.#writer.aliases = this.#aliasRules.of(packet);
    }
    this.#congested = false;
    const stream = attempt.connection?.stream;
    if (stream instanceof Socket) attempt.place = this.#together.ring?.join(stream);
    this.#writer.isCopied = attempt.place !== undefined;
    if (this.#together.reads) attempt.connection?.joinReads?.(this.#together.reads);
    const { keepAliveSeconds, keepAliveMaxSeconds } = this.#options;
    if (keepAliveMaxSeconds !== undefined)
      attempt.pingWhenIdle(keepAliveSeconds, packet.properties?.serverKeepAlive || keepAliveOf(this.#options));
    this.events.up(this.request.linkId, packet.sessionPresent, this.#limits, elsewhere);
    this.#brokers.accepted(attempt.index);
  }

  #write(packet: Packet): void {
    if (!this.#mayWrite()) return;
    this.#writer.packet(generate(packet, this.#generateOptions));
    this.#watchBuffer();
  }

  /** True if there is a connection to write to. The written packets are then sent before this turn ends. */
  #mayWrite(): boolean {
    const stream = this.#attempt?.connection?.stream;
    if (!this.#up || !stream || stream.destroyed) return false;
    this.counters.packetsOut++;
    this.#packetsToWrite++;
    if (this.#writer.length === 0) this.#turnEnd.add(this.#flush);
    return true;
  }

  #watchBuffer(): void {
    if (this.#congested) return;
    const waiting = this.#writer.length + (this.#attempt?.connection?.stream.writableLength ?? 0);
    if (waiting <= this.#options.sendBufferBytesMax) return;
    this.#congested = true;
    this.events.congested(this.request.linkId, true);
  }

  /** Writes PINGREQ, because something was written and nothing has come from the broker for a while. */
  askForLife(): void {
    const stream = this.#attempt?.connection?.stream;
    if (!this.#up || !stream || stream.destroyed || !this.#turnEnd.mayLeave()) return;
    this.#writeOut();
    stream.write(pingReq);
    this.#attempt?.notePing("life");
  }

  /** Writes all packets of this turn at once: at its end together with other links, otherwise immediately. */
  #writeOut(together?: RingPlace): void {
    const stream = this.#attempt?.connection?.stream;
    if (!together) this.#attempt?.place?.flush();
    if (this.#writer.length === 0) return;
    this.#load?.noteWritten(this.#packetsToWrite, performance.now());
    this.#packetsToWrite = 0;
    this.#attempt?.noteLeft();
    if (!this.#up || !stream || stream.destroyed) {
      this.#writer.take();
      return;
    }
    for (; this.#pingsToWrite > 0; this.#pingsToWrite--) this.#attempt?.notePing("core");
    this.counters.bytesOut += this.#writer.length;
    if (!together || !this.#writer.passTo(together)) {
      together?.flush();
      const pieces = this.#writer.take();
      if (pieces.length > 1) stream.cork();
      for (const each of pieces) stream.write(each);
      if (pieces.length > 1) stream.uncork();
    }
    if (this.#congested && !stream.writableNeedDrain) this.onDrain();
  }

  onRead(): void {
    if (!this.#load || !this.#up || this.#writer.length > 0) return; // what waits carries the acknowledgement
    // Under load the next write carries it soon, and until then the broker gathers its packets, which costs less.
    if (this.#load.isHigh(performance.now())) return;
    this.#together.quickAck?.acknowledge(this.#attempt?.connection?.stream);
  }

  onDrain(): void {
    if (!this.#congested || this.#closed) return;
    this.#congested = false;
    this.events.congested(this.request.linkId, false);
  }

  /**
   * The clock of this machine was set. If the clock was the cause, the next attempt comes soon and not at the end of
   * the pause.
   */
  onClockSet(): void {
    if (!this.#blamesClock || this.#closed || this.#attempt) return;
    this.#backOff.reset();
    this.#scheduleRetry(this.#random() * clockSetSpreadMs);
  }

  #scheduleRetry(pauseMs: number): void {
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.connect(), pauseMs);
  }
}
