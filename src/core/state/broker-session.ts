/**
 * The state of one MQTT session, as [MQTT-3.1.1 4.1] defines it for a client: the packets of the gateway that the
 * broker has not completed, and the packets of the broker that the gateway has not completed. It outlives connections
 * (links). So a QoS 1 packet is sent again with its packet id, and QoS 2 stays exactly once when a connection is cut.
 *
 * A delivery of the broker is *acknowledged* when the device or the gateway (buffered and stored) has custody of it.
 * Until then the broker is responsible. The broker sends the delivery again after a reconnect, and `received`
 * recognizes it.
 */

import { IdMap } from "../../id-map.ts";
import type { Found } from "../assert.ts";
import type { UpstreamPolicy } from "../options.ts";
import { SmallMap } from "../small-map.ts";
import type { BrokerLimits, Instant, LinkId, QoS, Will } from "../types.ts";
import {
  type Exchange,
  type ExchangeClient,
  isOutside,
  type PublishExchange,
  type Received,
  type SubscribeExchange,
  type UnsubscribeExchange,
} from "./exchanges.ts";
import { LearntKinds } from "./learnt-kinds.ts";
import { clientOf, identityOf, kindKey } from "./packet-key.ts";
import type { Choice, EndOfConnection } from "./search-choice.ts";
import { searchFigures } from "./search-figures.ts";
import { SendLines } from "./send-lines.ts";
import { Suspects } from "./suspects.ts";
import type { Waiting } from "./waiting.ts";

/** One MQTT connection with its reconnects, as far as the MQTT session needs it. */
export interface Connection {
  readonly id: LinkId;
  readonly policy: UpstreamPolicy;
  up: boolean;
  /** The broker accepted this connection at least once. */
  wasUp: boolean;
  congested: boolean;
  /** Since when the connection is down, after it was up. */
  downSince: Instant | undefined;
  /**
   * While the connection is down, or not up yet: before this time the gateway does not answer a request in place of the
   * broker.
   */
  answersFrom: Instant;
  /** An attempt to connect has failed since: the broker is not reachable. */
  isMissed: boolean;
  limits: BrokerLimits;
  readonly clean: boolean;
  /** Opened for a session of an earlier run of the gateway. */
  readonly resumes: boolean;
  /** The will that the broker holds for this connection. */
  readonly will: Will | undefined;
}

/**
 * What the gateway has learnt about packets for which a broker closes the connection: packets of one client, or of a
 * shared connection.
 */
export interface Experience<Client extends ExchangeClient> {
  readonly search: Suspects<Exchange<Client>>;
  readonly kinds: LearntKinds;
}

/** See inputs/will-in-connect.ts. */
export interface WillTrial {
  /** Identifies the will (`willKey`). */
  readonly key: string;
  /** Number of connections that ended before CONNACK. */
  ends: number;
  /** Between these ends, a connection without the will was accepted. */
  isWitnessed: boolean;
}

const byUs: EndOfConnection = { blames: false, named: false, showedLife: false };

export class BrokerSession<Client extends ExchangeClient> {
  link: Connection | undefined = undefined;
  readonly inFlight = new IdMap<Exchange<Client>>();
  readonly received = new IdMap<Received>();
  /**
   * Deliveries for which there was no room, in their order. The broker is still responsible for them. They are enqueued
   * when there is space.
   */
  readonly deferred = new SmallMap<Received, true>();
  /** The number of the present or last connection of this session. */
  connection = 0;
  /**
   * The broker may have begun a new session without the gateway's knowledge: an attempt to connect ended before its
   * answer, the broker restarted from an older state, or the last run of the gateway ended before it had subscribed. If
   * the broker then says that the session is present, the session may be without the gateway's subscriptions.
   */
  sessionUncertain = true;
  #lastPacketId: number;
  #open = 0;
  #openExactlyOnce = 0;
  /** SUBSCRIBEs in flight: sent and unanswered, or waiting to be sent. */
  #subscribes = 0;
  /** Packets that wait for the broker's window, or for their turn while the gateway searches for a suspect. */
  readonly #lines: SendLines<Client>;
  /** Packets sent on the present connection and not answered. */
  #unanswered = 0;
  /** The owner of the connection, for packets without a client. See `identityOf`. */
  readonly key: string;
  /** What the gateway has learnt about packets for which this broker closes the connection. */
  readonly search: Suspects<Exchange<Client>>;
  readonly kinds: LearntKinds;
  /**
   * Packet ids of QoS 2 packets that were taken out. The broker may have the message and would ignore the next message
   * with this id.
   */
  readonly retired = new IdMap<true>();
  /** The unanswered PINGREQs of the gateway. Each has the QoS 0 publication that was sent before it, if any. */
  readonly pings: (PublishExchange<Client> | undefined)[] = [];
  /** A QoS 0 publication was sent since the last answer. */
  saidUnanswerable = false;
  /** Until this time, each QoS 0 publication is followed by a PINGREQ. */
  watchUntil: Instant = 0;
  /**
   * A client has publications on disk that are not read yet. A test (a packet sent alone) waits for them until this
   * time.
   */
  expectsMoreUntil: Instant = 0;
  /** PUBRELs wait until the broker has answered on this connection. */
  owesReleases = false;
  /** On this connection the broker has answered with the acknowledgement of another QoS, and this was reported. */
  saidOtherQoS = false;
  /** A will because of which the broker seems to close the connection at CONNECT. */
  willTrial: WillTrial | undefined = undefined;
  /**
   * The broker said that it has no session, on a connection that ended at once. The next connection treats its session
   * as a new one.
   */
  wasForgotten = false;
  /** Filters for which no UNSUBSCRIBE could be sent to the broker. Their messages are not delivered. */
  readonly deafTo = new SmallMap<string, true>();
  /** Filters for which the gateway itself sent the last SUBSCRIBE. The client does not know of it. */
  readonly askedAgain = new SmallMap<string, true>();

  /**
   * `start`: the first packet id. Random for a session that the broker may remember from an earlier run of the gateway,
   * because an id that still belongs to a QoS 2 message of that run would make a new message disappear.
   */
  constructor(
    start: number,
    of: {
      readonly key?: string;
      readonly isShared?: boolean;
      readonly experience?: Experience<Client> | undefined;
    } = {},
  ) {
    const { key = "", isShared = false, experience } = of;
    this.#lastPacketId = start;
    this.key = key;
    this.search = experience?.search ?? new Suspects();
    this.kinds = experience?.kinds ?? new LearntKinds();
    this.#lines = new SendLines(isShared, (exchange) => this.#waits(exchange));
  }

  /** Packets sent on the present connection and not answered. */
  get unanswered(): number {
    return this.#unanswered;
  }

  /** SUBSCRIBEs in flight: sent and unanswered, or waiting to be sent. */
  get subscribes(): number {
    return this.#subscribes;
  }

  /** Publications that count against the broker's Receive Maximum: those that were sent and are not finished. */
  get openPublications(): number {
    return this.#open;
  }

  /** Whether the broker accepts one more publication of this QoS now. */
  hasRoom(qos: QoS, limits: BrokerLimits): boolean {
    if (this.#open >= limits.receiveMaximum) return false;
    return qos < 2 || this.#openExactlyOnce < (limits.exactlyOnceMaximum ?? limits.receiveMaximum);
  }

  /** The client has its answer for this publication and does not wait for it any more (`unbindUplink`). */
  accept(exchange: PublishExchange<Client>): void {
    if (exchange.accepted) return;
    exchange.accepted = true;
    countAccepted(exchange, 1);
  }

  /** The answer could not be given to the client, so the client waits again (`bindUplink`). */
  takeBack(exchange: PublishExchange<Client>): void {
    if (!exchange.accepted) return;
    exchange.accepted = false;
    countAccepted(exchange, -1);
  }

  /** Returns a free packet id; undefined when all 65535 are in use. */
  freePacketId(): number | undefined {
    if (this.inFlight.size + this.retired.size >= 65_535) return undefined;
    do this.#lastPacketId = (this.#lastPacketId % 65_535) + 1;
    while (this.inFlight.has(this.#lastPacketId) || this.retired.has(this.#lastPacketId));
    return this.#lastPacketId;
  }

  /** Adds an exchange of an earlier run. A publication that was released still counts against the broker's window. */
  restore(exchange: PublishExchange<Client>): void {
    this.add(exchange);
    if (exchange.stage !== "waiting") this.#countOpen(exchange, 1);
    else this.queue(exchange);
  }

  /** The packet waits for its turn. */
  queue(exchange: Exchange<Client>): void {
    this.#lines.add(exchange);
  }

  /** How many packets of the same client wait before this one. */
  waitingBefore(exchange: Exchange<Client>): number {
    return this.#lines.lineOf(exchange).length;
  }

  /**
   * Everything that was not sent waits for its turn, in the order in which it came, because the gateway searches for a
   * suspect.
   */
  queueAll(): void {
    this.#lines.clear();
    for (const exchange of this.inFlight.values()) if (this.#waits(exchange)) this.#lines.add(exchange);
  }

  /** Returns the next waiting packet that may be sent now, and takes it out of its line. */
  nextWaiting(limits: BrokerLimits): Exchange<Client> | undefined {
    return this.#lines.next(this.hasRoom(2, limits));
  }

  /** Whether a publication of this client waits for its turn. */
  hasWaiting(clientId: string): boolean {
    return this.#lines.hasWaiting(clientId);
  }

  get hasLine(): boolean {
    return this.#lines.hasFree;
  }

  /** Nothing waits, not even behind a suspect. */
  get isIdle(): boolean {
    return this.#lines.isEmpty;
  }

  /** Nothing was learnt about packets that this broker refuses, and nothing waits. */
  get isQuiet(): boolean {
    return this.#lines.isEmpty && this.search.isForgetful && this.kinds.size === 0;
  }

  /** Chooses what may be sent now, while the gateway searches for suspects. */
  choose(now: Instant, limits: BrokerLimits): Choice<Exchange<Client>> {
    this.#lines.sift();
    const waiting: Waiting<Exchange<Client>> = {
      outside: this.#unanswered,
      fit: (packets) => this.#fitting(packets, limits),
      hasOthers: this.#lines.hasOthers() || now < this.expectsMoreUntil,
      held: () => this.#lines.held(),
      lines: () => this.#lines.all(),
      heads: () => this.#lines.heads(),
      inTurn: (turn, each) => this.#lines.inTurn(turn, each),
    };
    const choice = this.search.choose(now, waiting);
    if (choice.kind === "test") for (const exchange of choice.packets) this.#lines.take(exchange);
    if ((choice.kind !== "flow" && choice.kind !== "hold") || now >= this.expectsMoreUntil) return choice;
    return { kind: choice.kind, until: Math.min(choice.until ?? this.expectsMoreUntil, this.expectsMoreUntil) };
  }

  #fitting(packets: readonly Exchange<Client>[], limits: BrokerLimits): readonly Exchange<Client>[] {
    const exactlyOnceMaximum = limits.exactlyOnceMaximum ?? limits.receiveMaximum;
    let open = this.#open;
    let exactlyOnce = this.#openExactlyOnce;
    const tooMany = packets.findIndex((exchange) => {
      if (exchange.kind !== "publish" || exchange.publication.qos === 0) return false;
      if (exchange.publication.qos === 2) exactlyOnce++;
      return ++open > limits.receiveMaximum || exactlyOnce > exactlyOnceMaximum;
    });
    return tooMany < 0 ? packets : packets.slice(0, tooMany);
  }

  /** Whether an earlier request for the same filter waits. This request must not overtake it. */
  waitsBefore({ filter }: SubscribeExchange<Client> | UnsubscribeExchange<Client>): boolean {
    return !this.isIdle && this.#lines.hasRequestFor(filter);
  }

  /** No packet waits behind a suspect any more. */
  clearUnanswered(): void {
    this.#lines.sift();
  }

  #waits(exchange: Exchange<Client>): boolean {
    if (exchange.kind !== "publish") return !exchange.isSent && this.inFlight.get(exchange.packetId) === exchange;
    if (exchange.stage !== "waiting") return false;
    return exchange.packetId === 0 || this.inFlight.get(exchange.packetId) === exchange;
  }

  add(exchange: Exchange<Client>): void {
    this.inFlight.set(exchange.packetId, exchange);
    if (exchange.kind === "publish" && exchange.accepted) countAccepted(exchange, 1);
    if (exchange.kind === "subscribe") this.#subscribes++;
    if (this.search.remembers) this.search.attach(exchange, identityOf(exchange, this.key).key);
  }

  /** Marks a packet as sent on the present connection. */
  sent(exchange: Exchange<Client>): void {
    this.#unanswered++;
    this.search.noteSent();
    if (exchange.kind !== "publish") exchange.isSent = true;
    else {
      exchange.stage = "sent";
      this.#countOpen(exchange, 1);
    }
  }

  /** The broker has answered this packet, with any code. */
  answered(exchange: Exchange<Client>, now: Instant): void {
    if (!isOutside(exchange)) return;
    this.#unanswered--;
    this.saidUnanswerable = false;
    this.search.noteAnswered(exchange, now);
    if (exchange.kind !== "publish") {
      exchange.isSent = false;
      return;
    }
    exchange.stage = "received";
    const { owner, publication } = exchange;
    this.search.noteAnsweredOf(owner?.clientId ?? this.key);
    if (this.kinds.size > 0)
      this.kinds.noteAnswered(kindKey(owner?.clientId ?? this.key, publication), publication.payload.byteLength);
  }

  finish(exchange: Exchange<Client>): void {
    if (!this.inFlight.delete(exchange.packetId)) return;
    this.#giveUp(exchange);
    if (exchange.kind === "subscribe") this.#subscribes--;
    if (exchange.kind !== "publish") return;
    if (exchange.stage !== "waiting") this.#countOpen(exchange, -1);
    if (exchange.accepted) countAccepted(exchange, -1);
  }

  /** The exchange is over. If it was not answered, nothing is learnt from it. */
  #giveUp(exchange: Exchange<Client>): void {
    if (isOutside(exchange)) this.#unanswered--;
    if (exchange.suspicion) this.search.detach(exchange);
  }

  #countOpen({ publication }: PublishExchange<Client>, by: 1 | -1): void {
    if (publication.qos === 0) return;
    this.#open += by;
    if (publication.qos === 2) this.#openExactlyOnce += by;
  }

  /**
   * The connection has ended. Returns which packets are to be taken out, and the pause until the next attempt. The
   * caller calls `cut` afterwards.
   */
  ended(now: Instant, end: EndOfConnection): ReturnType<Suspects<Exchange<Client>>["ended"]> {
    const outside: Exchange<Client>[] = [];
    if (this.#unanswered > 0) {
      for (const exchange of this.inFlight.values()) if (isOutside(exchange)) outside.push(exchange);
      for (const exchange of this.pings) if (exchange) outside.push(exchange);
    }
    if (end.blames && (now < this.watchUntil || (outside.length === 0 && this.saidUnanswerable)))
      this.watchUntil = now + searchFigures.watchUnansweredMs;
    const outcome = this.search.ended(now, outside, end, (exchange) => identityOf(exchange, this.key));
    const [first] = outside;
    if (first && outside.length === 1) this.#attachCopies(first);
    return outcome;
  }

  /**
   * A packet has died alone for the first time. The client may have sent its content several times, and what is held against one of these
   * packets is held against all: none of them is sent with other packets, or acknowledged.
   */
  #attachCopies({ kind, suspicion }: Exchange<Client>): void {
    if (suspicion?.deaths !== 1 || suspicion.isKind) return;
    const copies: Exchange<Client>[] = [];
    for (const exchange of this.inFlight.values()) {
      if (exchange.suspicion === suspicion) copies.push(exchange);
      else if (exchange.kind === kind && !exchange.suspicion && this.#waits(exchange))
        if (clientOf(exchange, this.key) === suspicion.client && identityOf(exchange, this.key).key === suspicion.key)
          copies.push(exchange);
    }
    if (copies.length > 1) this.search.attachAll(copies, suspicion);
  }

  /** The connection has ended. What was sent is to be sent again; what the broker has received stays received. */
  cut(now: Instant): void {
    this.search.ended(now, [], byUs, (exchange) => identityOf(exchange, this.key));
    this.deferred.clear(); // the broker will send them again
    this.#lines.clear();
    this.#unanswered = 0;
    this.owesReleases = false;
    this.saidUnanswerable = false;
    this.saidOtherQoS = false;
    for (const exchange of this.pings.splice(0)) if (exchange?.suspicion) this.search.detach(exchange);
    for (const exchange of this.inFlight.values()) {
      if (exchange.kind !== "publish") {
        exchange.isSent = false;
        continue;
      }
      if (exchange.stage === "sent") {
        exchange.stage = "waiting";
        exchange.sentBefore = true;
        this.#countOpen(exchange, -1);
      }
      if (exchange.stage === "waiting") this.queue(exchange);
    }
  }

  /**
   * Checks that open and unanswered packets are counted correctly, and that the lines hold the waiting packets in their
   * order. For tests.
   */
  check(found: Found): void {
    let open = 0;
    let exactlyOnce = 0;
    let subscribes = 0;
    let unanswered = this.pings.filter((exchange) => exchange !== undefined).length;
    const waiting = new Map<readonly Exchange<Client>[], PublishExchange<Client>[]>();
    for (const exchange of this.inFlight.values()) {
      if (isOutside(exchange)) unanswered++;
      if (exchange.kind === "subscribe") subscribes++;
      if (exchange.kind !== "publish") continue;
      if (exchange.stage !== "waiting") {
        open++;
        if (exchange.publication.qos === 2) exactlyOnce++;
        continue;
      }
      const line = this.#lines.lineOf(exchange);
      const own = waiting.get(line);
      if (own) own.push(exchange);
      else waiting.set(line, [exchange]);
    }
    if (open !== this.#open || exactlyOnce !== this.#openExactlyOnce)
      found(
        `${open} publications are open at the broker (${exactlyOnce} of QoS 2), counted are ${this.#open} (${this.#openExactlyOnce})`,
      );
    if (subscribes !== this.#subscribes)
      found(`${subscribes} SUBSCRIBEs are in flight, counted are ${this.#subscribes}`);
    if (unanswered !== this.#unanswered)
      found(`${unanswered} packets are not answered by the broker, counted are ${this.#unanswered}`);
    for (const [all, own] of waiting) {
      const [first] = own;
      const whose = first?.owner ? `of client ${first.owner.clientId}` : "of the gateway's own";
      const line = all.filter(
        (exchange) => this.#waits(exchange) && exchange.packetId !== 0 && exchange.kind === "publish",
      );
      if (line.length !== own.length || line.some((exchange, at) => exchange !== own[at]))
        found(`packets ${idsOf(own)} ${whose} wait for the broker's window, in the line are ${idsOf(line) || "none"}`);
      const mayLeave = this.link?.up && !this.search.isOn;
      if (first && mayLeave && this.link && this.hasRoom(first.publication.qos, this.link.limits))
        found(`packet ${first.packetId} ${whose} waits, the broker has room for it, and nobody sends it`);
    }
  }
}

function idsOf(exchanges: readonly { readonly packetId: number }[]): string {
  return exchanges.map(({ packetId }) => packetId).join(", ");
}

function countAccepted<Client extends ExchangeClient>({ owner }: PublishExchange<Client>, by: 1 | -1): void {
  if (owner) owner.account.accepted += by;
}
