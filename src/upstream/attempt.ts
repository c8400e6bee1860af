/**
 * One attempt to connect, and the resulting connection: its state, and the packets of its broker.
 *
 * In transparent mode each device has one, and most of them send little. So its callbacks are methods of its class, and
 * members that only a connection with traffic needs are created when there is some.
 */
import { performance } from "node:perf_hooks";
import type { TLSSocket } from "node:tls";
import type { IConnackPacket } from "mqtt-packet";
import type { LinkRequest } from "../core/effect.ts";
import type { LinkEnd } from "../core/input.ts";
import type { Will } from "../core/types.ts";
import { IdMap } from "../id-map.ts";
import type { Connection, ConnectionEvents } from "./connection.ts";
import { type ConnectionSigns, causeOf, noPingResp } from "./connection-end.ts";
import { IdlePings } from "./idle-pings.ts";
import type { BrokerAck, UpstreamEvents } from "./link.ts";
import type { LinkCounters } from "./link-counters.ts";
import { type PacketEvents, PacketReader, type ReadPublish } from "./packet-reader.ts";
import { readShare } from "./read-share.ts";
import { certificateEnd } from "./socket-below.ts";
import type { RingPlace } from "./tcp-ring.ts";
import type { TlsSession } from "./tls-session.ts";
import type { Carrier, Octets } from "./wire-octets.ts";

const takenOverReason = 0x8e;
const malformedReason = 0x81;
const receiveMaximumExceeded = 0x93;
const pingRespType = 13;
const disconnectType = 14;
const ticksPerMs = 100;
/**
 * Milliseconds without data from the broker after a write, after which PINGREQ is sent. The broker has the same time to
 * answer.
 */
const silentMs = 5_000;

/** The link of an attempt. */
export interface AttemptOwner {
  readonly request: LinkRequest;
  readonly events: UpstreamEvents;
  readonly counters: LinkCounters;
  readonly isV5: boolean;
  /** The most publications of the broker that may be unacknowledged. */
  readonly receiveMaximum: number;
  /** True if this is the present attempt, and the link was not closed. */
  isCurrent(attempt: Attempt): boolean;
  /** CONNACK accepted the attempt, and the connection has not ended. */
  readonly isUp: boolean;
  onConnAck(packet: IConnackPacket, attempt: Attempt): void;
  /** Returns the cause in words, if the text of the error does not name it. */
  onFailed(error: Error): string | undefined;
  /** Octets of the broker were handled. */
  onRead(): void;
  onDrain(): void;
  onOver(attempt: Attempt): void;
  /** Writes PINGREQ. */
  askForLife(): void;
  /** Writes everything that waits, then DISCONNECT with the reason, if the protocol has reasons. */
  sayWhy(reasonCode: number): void;
}

export class Attempt implements ConnectionSigns, ConnectionEvents, PacketEvents, Carrier {
  readonly #owner: AttemptOwner;
  readonly #reader: PacketReader;
  /** The index of the broker in the list. */
  readonly index: number;
  readonly will: Will | undefined;
  connection: Connection | undefined;
  /** The connection's place in the ring, where octets of many connections are sent together. */
  place: RingPlace | undefined;
  /** The TLS session that a shorter handshake may use. */
  session: TlsSession | undefined;
  isResumed = false;
  reason = "";
  reasonCode: number | undefined;
  /** CONNACK was received, with success or a refusal. */
  answered = false;
  refusedWith: number | undefined;
  asked = false;
  accepted = false;
  showedLife = false;
  isOurs = false;
  disconnected = false;
  finished = false;
  error: Error | undefined;
  over = false;
  /** The event `down` was sent. */
  told = false;
  /** The obstacle was removed, so the next attempt is made without a pause. */
  isRetriedAtOnce = false;
  /** Called last, when the connection is closed. */
  whenClosed: (() => void) | undefined;
  /** The broker's publications at QoS 1 and 2 that the gateway has not answered with PUBACK or PUBREC. */
  #unacknowledged: Set<number> | undefined;
  /** The publications at QoS 2 that the gateway has answered with PUBREC, and not with PUBCOMP. */
  #received: Set<number> | undefined;
  /** For each publication at QoS 1 and 2 that the broker has not answered: when it was written, in ticks. */
  #sentAt: IdMap<number> | undefined;
  /** Time of the next write, and of the data that are being read; undefined: the clock was not read yet. */
  #writingAt: number | undefined;
  #readingAt: number | undefined;
  /** The sender of each PINGREQ that is not answered, in the order in which they were written. */
  #pings: ("core" | "keepAlive" | "life")[] | undefined;
  /** Time of the first write after the last data of the broker, in ticks; undefined: nothing was written since. */
  #unheardSince: number | undefined;
  /** Runs until PINGREQ is sent, then until the broker is treated as unreachable. */
  #watch: NodeJS.Timeout | undefined;
  /** In ticks. */
  #askedAt = 0;
  /** Octets in the stream when PINGREQ was sent. While this number decreases, the broker still reads. */
  #waitingOctets = 0;
  /** Sends PINGREQ for a keep-alive whose interval may become longer. */
  #idlePings: IdlePings | undefined;

  constructor(owner: AttemptOwner, index: number, will: Will | undefined) {
    this.#owner = owner;
    this.index = index;
    this.will = will;
    this.#reader = new PacketReader(owner.isV5 ? "5" : "3.1.1", this);
  }

  /** A publication at QoS 1 or 2 is written. */
  noteSent(packetId: number): void {
    this.#sentAt ??= new IdMap();
    this.#writingAt ??= ticksNow();
    this.#sentAt.set(packetId, this.#writingAt);
  }

  /** The written packets are sent now. Packets that are written from now on get a later time. */
  noteLeft(): void {
    const writingAt = this.#writingAt;
    this.#writingAt = undefined;
    if (!this.accepted) return;
    this.#idlePings?.noteWritten();
    this.#unheardSince ??= writingAt ?? ticksNow();
    this.#watch ??= setTimeout(lookForLife, silentMs, this);
  }

  /**
   * From now on PINGREQ is written only when nothing else is: see `IdlePings`. Its answer is watched like those of
   * other packets.
   */
  pingWhenIdle(firstSeconds: number, mostSeconds: number): void {
    this.#idlePings = new IdlePings(firstSeconds, mostSeconds, () => {
      this.#owner.askForLife();
      this.noteLeft();
    });
  }

  /** The connection has ended, or is being ended. Nothing is reported any more. */
  endWatch(): void {
    this.#idlePings?.end();
    this.#idlePings = undefined;
    clearTimeout(this.#watch);
    this.#watch = undefined;
  }

  /** Called after a write. If nothing has come from the broker since, PINGREQ is sent. */
  lookForLife(): void {
    this.#watch = undefined;
    const stream = this.connection?.stream;
    if (this.#unheardSince === undefined || !this.#isUp || !stream || stream.destroyed) return;
    const leftMs = silentMs - (ticksNow() - this.#unheardSince) / ticksPerMs;
    if (leftMs > 1) {
      this.#watch = setTimeout(lookForLife, leftMs, this);
      return;
    }
    this.#owner.askForLife();
    this.#askedAt = ticksNow();
    this.#waitingOctets = stream.writableLength;
    // Node runs timers before it reads sockets, so received data are read before the connection is ended.
    this.#watch = setTimeout(() => setImmediate(endWithoutLife, this), silentMs);
  }

  endWithoutLife(): void {
    this.#watch = undefined;
    const stream = this.connection?.stream;
    if (!this.#isUp || !stream || stream.destroyed) return;
    const { writableLength } = stream;
    // The broker was heard. What was written since has its own time.
    if (this.#unheardSince === undefined || this.#unheardSince > this.#askedAt) return this.lookForLife();
    // PINGREQ is still in the stream, and the broker reads the octets before it.
    if (writableLength > 0 && writableLength < this.#waitingOctets) {
      this.#waitingOctets = writableLength;
      this.#watch = setTimeout(() => setImmediate(endWithoutLife, this), silentMs);
      return;
    }
    this.onFailed(new Error(noPingResp));
    stream.destroy();
  }

  /** The gateway answers a publication of the broker. */
  noteAnswered(kind: "puback" | "pubrec" | "pubcomp", packetId: number): void {
    if (kind === "pubrec" && this.#owner.isV5) {
      this.#received ??= new Set();
      this.#received.add(packetId);
    } else this.#received?.delete(packetId);
    this.#unacknowledged?.delete(packetId);
  }

  /** PINGREQ is written. */
  notePing(whose: "core" | "keepAlive" | "life"): void {
    this.#pings ??= [];
    this.#pings.push(whose);
  }

  get carried(): Octets {
    const { in: octetsIn, out } = this.connection?.carried ?? { in: 0, out: 0 };
    return { in: octetsIn, out: out + (this.place?.passedBytes ?? 0) };
  }

  get end(): LinkEnd {
    const { reason, reasonCode, showedLife, disconnected } = this;
    return {
      reason: reason || "connection closed",
      takenOver: disconnected && reasonCode === takenOverReason,
      cause: causeOf(this),
      ...(reasonCode !== undefined && { reasonCode }),
      showedLife,
    };
  }

  // ---- events of the connection ----

  onAsked(): void {
    this.asked = true;
  }

  onSecured(socket: TLSSocket): void {
    const { counters } = this.#owner;
    this.isResumed = socket.isSessionReused();
    counters.tls[this.isResumed ? "resumed" : "full"]++;
    const until = certificateEnd(socket);
    if (until !== undefined) counters.brokerCertificateEndsAt = until;
  }

  onTicketRefused(): void {
    this.isRetriedAtOnce = true;
    this.told = true;
  }

  onOctets(chunk: Buffer): void {
    this.#owner.counters.bytesIn += chunk.length;
    this.#readingAt = undefined;
    this.#unheardSince = undefined;
    this.#reader.take(chunk);
    this.#owner.onRead();
    const stream = this.connection?.stream;
    if (stream) readShare.note(chunk.length, stream);
  }

  onConnAck(packet: IConnackPacket): void {
    if (this.#owner.isCurrent(this)) this.#owner.onConnAck(packet, this);
  }

  onDisconnect(reasonCode: number): void {
    if (!this.#owner.isCurrent(this)) return;
    this.disconnected = true;
    this.reasonCode = reasonCode;
    this.reason ||= `broker said DISCONNECT (0x${reasonCode.toString(16)})`;
  }

  onPing(): void {
    this.place?.flush();
    this.notePing("keepAlive");
  }

  onDrain(): void {
    if (this.#owner.isCurrent(this)) this.#owner.onDrain();
  }

  onFinished(): void {
    this.finished = true;
  }

  onFailed(error: Error): void {
    const trouble = this.#owner.onFailed(error);
    this.error ??= error;
    this.reason ||= trouble ?? error.message;
  }

  onClosed(): void {
    this.endWatch();
    this.#owner.counters.wire.end(this);
    this.#owner.onOver(this);
    this.whenClosed?.();
  }

  // ---- events of the reader ----

  publish(packet: ReadPublish): void {
    if (!this.#isUp) {
      if (!this.accepted) this.#refuse("PUBLISH before CONNACK");
      return;
    }
    if (this.#isTooMany(packet)) return this.#refuseTooMany();
    this.#noteLife();
    const { topicName, payload, qos, retain, dup, packetId, expirySeconds, subscriptionIds, meta } = packet;
    const publication = { topicName, payload, qos, retain, ...(meta && { meta }) };
    this.#owner.events.delivered(this.#owner.request.linkId, {
      publication,
      packetId,
      dup,
      ...(expirySeconds !== undefined && { expirySeconds }),
      ...(subscriptionIds !== undefined && { subscriptionIds }),
    });
  }

  ack(kind: BrokerAck, packetId: number, code: number): void {
    if (!this.#isUp) return;
    this.#noteLife();
    const from = this.#sentAt?.take(packetId);
    // The packet id must not be used again before the answer.
    if (from !== undefined) {
      this.#readingAt ??= ticksNow();
      this.#owner.counters.acknowledgement.add((this.#readingAt - from) / (1_000 * ticksPerMs));
    }
    this.#owner.events.acked(this.#owner.request.linkId, kind, packetId, code);
  }

  release(packetId: number): void {
    if (!this.#isUp) return;
    this.#noteLife();
    this.#owner.events.released(this.#owner.request.linkId, packetId);
  }

  other(octets: Buffer): void {
    this.#owner.counters.packetsIn++;
    const type = (octets[0] ?? 0) >> 4;
    if (this.#isUp && type !== disconnectType) this.showedLife = true;
    const pinged = type === pingRespType ? this.#pings?.shift() : undefined;
    if (pinged === "life") return;
    if (pinged === "core") {
      if (this.#isUp) this.#owner.events.pong(this.#owner.request.linkId);
      return;
    }
    this.connection?.take(octets);
  }

  malformed(why: string): void {
    this.#refuse(`malformed packet of the broker: ${why}`);
  }

  get #isUp(): boolean {
    return this.#owner.isUp && this.#owner.isCurrent(this);
  }

  #noteLife(): void {
    this.#owner.counters.packetsIn++;
    this.showedLife = true;
  }

  /**
   * MQTT 5: the broker has sent more publications than the gateway's Receive Maximum, and each would need memory.
   * [MQTT-5.0 3.3.4] Publications with PUBREC are kept already, and mosquitto (2.0.11) does not count them any more. If
   * they were counted here, each burst at QoS 2 would end the connection, and the rest of the burst the next one.
   */
  #isTooMany({ packetId }: ReadPublish): boolean {
    if (packetId === 0 || !this.#owner.isV5) return false;
    this.#unacknowledged ??= new Set();
    if (!this.#received?.has(packetId)) this.#unacknowledged.add(packetId);
    return this.#unacknowledged.size > this.#owner.receiveMaximum;
  }

  #refuseTooMany(): void {
    const { receiveMaximum, request, events } = this.#owner;
    this.#owner.counters.receiveMaximumExceeded++;
    const say = `the broker has sent more than ${receiveMaximum} publications that are not acknowledged yet (receiveMaximum)`;
    events.notice?.("warn", `${say}; the gateway ends its connection for "${request.mqttClientId}"`, "receiveMaximum");
    this.#refuse(say, receiveMaximumExceeded);
  }

  #refuse(why: string, reasonCode = malformedReason): void {
    this.#reader.end();
    this.reason ||= why;
    this.isOurs = true;
    if (this.#isUp) {
      if (this.#owner.isV5) this.reasonCode = reasonCode;
      this.#owner.sayWhy(reasonCode);
    }
    this.connection?.stream.destroy();
  }
}

function lookForLife(attempt: Attempt): void {
  attempt.lookForLife();
}

function endWithoutLife(attempt: Attempt): void {
  attempt.endWithoutLife();
}

/**
 * The time in whole hundredths of a millisecond. Each open publication keeps one. In the first six hours of the process
 * such a number is a small integer in V8, which needs no memory of its own.
 */
function ticksNow(): number {
  return Math.round(performance.now() * ticksPerMs);
}
