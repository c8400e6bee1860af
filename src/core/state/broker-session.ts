/**
 * The state of one MQTT session, as [MQTT-3.1.1 4.1] defines it for a client: the packets of the gateway that the
 * broker has not completed, and the packets of the broker that the gateway has not completed. It outlives connections
 * (links), so QoS 1 is sent again with its packet id, and QoS 2 is exactly once over any cut.
 *
 * A delivery of the broker is *acknowledged* when somebody has custody of it: the device, or the gateway (buffered and
 * stored). Until then the broker is responsible. It sends the delivery again after a reconnect, and `received`
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
import { identityOf, kindKey } from "./packet-key.ts";
import { searchFigures } from "./search-figures.ts";
import { SendLines } from "./send-lines.ts";
import { type Choice, type EndOfConnection, Suspects } from "./suspects.ts";
import type { Waiting } from "./waiting.ts";

/** One MQTT connection with its reconnects, as far as the MQTT session needs it. */
export interface Connection {
  readonly id: LinkId;
  readonly policy: UpstreamPolicy;
  up: boolean;
  /** The broker accepted it at least once. */
  wasUp: boolean;
  congested: boolean;
  /** Since when it is down, after it was up. */
  downSince: Instant | undefined;
  /** While it is down, or not up yet: before this instant no request is answered in place of the broker. */
  answersFrom: Instant;
  /** An attempt to connect has come to nothing since: the broker is not there. */
  isMissed: boolean;
  limits: BrokerLimits;
  readonly clean: boolean;
  /** Opened for a session of an earlier run of the gateway. */
  readonly resumes: boolean;
  /** The will that the broker holds for this connection. */
  readonly will: Will | undefined;
}

/** What was learnt of packets for which a broker closes: of one client, or of a connection that clients share. */
export interface Experience<Client extends ExchangeClient> {
  readonly search: Suspects<Exchange<Client>>;
  readonly kinds: LearntKinds;
}

/** See inputs/will-in-connect.ts. */
export interface WillTrial {
  /** What it is (`willKey`). */
  readonly key: string;
  /** Connections that ended before CONNACK. */
  ends: number;
  /** Between them one without it was accepted. */
  isWitnessed: boolean;
}

const byUs: EndOfConnection = { blames: false, named: false, showedLife: false };

export class BrokerSession<Client extends ExchangeClient> {
  link: Connection | undefined = undefined;
  readonly inFlight = new IdMap<Exchange<Client>>();
  readonly received = new IdMap<Received>();
  /** Deliveries that did not fit, in their order. The broker is still responsible. They are enqueued when there is space. */
  readonly deferred = new SmallMap<Received, true>();
  /** Counts the connections of this session; the present or last one. */
  connection = 0;
  /**
   * The broker may have begun a new session without our knowledge: an attempt to connect ended before its answer, the broker restarted from
   * an older state, or our last run ended before it had subscribed. A session that it then calls present may be without our subscriptions.
   */
  sessionUncertain = true;
  #lastPacketId: number;
  #open = 0;
  #openExactlyOnce = 0;
  /** What waits for the broker's window, or for its turn while a suspect is looked for. */
  readonly #lines: SendLines<Client>;
  /** Packets sent on the present connection and not answered. */
  #unanswered = 0;
  /** The owner of the connection, for packets without a client: see `identityOf`. */
  readonly key: string;
  /** What was learnt of packets for which this broker closes. */
  readonly search: Suspects<Exchange<Client>>;
  readonly kinds: LearntKinds;
  /** Packet ids of QoS 2 that were taken out: the broker may have the message, and would swallow the next one. */
  readonly retired = new IdMap<true>();
  /** PINGREQs of ours that are not answered, and the QoS 0 publication that each follows, if any. */
  readonly pings: (PublishExchange<Client> | undefined)[] = [];
  /** Something at QoS 0 left since the last answer. */
  saidUnanswerable = false;
  /** Until then each publication at QoS 0 is followed by a PINGREQ. */
  watchUntil: Instant = 0;
  /** A client has publications on disk that are not read yet: a test waits for this. */
  expectsMoreUntil: Instant = 0;
  /** PUBRELs wait for the sign of life of this connection. */
  owesReleases = false;
  /** On this connection the broker has answered as if of another QoS, and that was said. */
  saidOtherQoS = false;
  /** A will for which the broker seems to close at CONNECT. */
  willTrial: WillTrial | undefined = undefined;
  /** The broker said this to a connection that ended at once. The next connection treats its session as a new one. */
  wasForgotten = false;
  /** Filters that an UNSUBSCRIBE could not be brought to the broker for: nothing of them is delivered. */
  readonly deafTo = new SmallMap<string, true>();
  /** Filters for which the last SUBSCRIBE was the gateway's, of which the client knows nothing. */
  readonly askedAgain = new SmallMap<string, true>();

  /**
   * `start`: where packet ids begin. Random for a session that the broker may remember from an earlier run of the
   * gateway: an id that still means a QoS 2 message of then would swallow a new one.
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

  /** Publications that count against the broker's Receive Maximum: sent, not finished. */
  get openPublications(): number {
    return this.#open;
  }

  /** Does the broker take one more of this QoS now? */
  hasRoom(qos: QoS, limits: BrokerLimits): boolean {
    if (this.#open >= limits.receiveMaximum) return false;
    return qos < 2 || this.#openExactlyOnce < (limits.exactlyOnceMaximum ?? limits.receiveMaximum);
  }

  /** The client has its answer for this one, and does not wait for it any more (`unbindUplink`). */
  accept(exchange: PublishExchange<Client>): void {
    if (exchange.accepted) return;
    exchange.accepted = true;
    countAccepted(exchange, 1);
  }

  /** The client's answer could not be given after all: it waits again (`bindUplink`). */
  takeBack(exchange: PublishExchange<Client>): void {
    if (!exchange.accepted) return;
    exchange.accepted = false;
    countAccepted(exchange, -1);
  }

  /** A free packet id; undefined when all 65535 are taken. */
  freePacketId(): number | undefined {
    if (this.inFlight.size + this.retired.size >= 65_535) return undefined;
    do this.#lastPacketId = (this.#lastPacketId % 65_535) + 1;
    while (this.inFlight.has(this.#lastPacketId) || this.retired.has(this.#lastPacketId));
    return this.#lastPacketId;
  }

  /** An exchange of an earlier run; what was released still counts against the broker's window. */
  restore(exchange: PublishExchange<Client>): void {
    this.add(exchange);
    if (exchange.stage !== "waiting") this.#countOpen(exchange, 1);
    else this.queue(exchange);
  }

  /** It waits for its turn. */
  queue(exchange: Exchange<Client>): void {
    this.#lines.add(exchange);
  }

  /** How many wait before it, of the same client. */
  waitingBefore(exchange: Exchange<Client>): number {
    return this.#lines.lineOf(exchange).length;
  }

  /** All that is not sent waits for its turn, in the order in which it came: a suspect is looked for. */
  queueAll(): void {
    this.#lines.clear();
    for (const exchange of this.inFlight.values()) if (this.#waits(exchange)) this.#lines.add(exchange);
  }

  /** The next that waits and may be sent now; it is taken out of the line. */
  nextWaiting(limits: BrokerLimits): Exchange<Client> | undefined {
    return this.#lines.next(this.hasRoom(2, limits));
  }

  /** Does a publication of this client wait for its turn? */
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

  /** What may be sent now, while suspects are looked for. */
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

  /** Does a request for the same filter wait, which this one is not to overtake? */
  waitsBefore({ filter }: SubscribeExchange<Client> | UnsubscribeExchange<Client>): boolean {
    return !this.isIdle && this.#lines.hasRequestFor(filter);
  }

  /** No suspect holds anybody any more. */
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

  /** The broker answered it, with any code. */
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
    if (exchange.kind !== "publish") return;
    if (exchange.stage !== "waiting") this.#countOpen(exchange, -1);
    if (exchange.accepted) countAccepted(exchange, -1);
  }

  /** It is over; if it was not answered, nothing is learnt of it. */
  #giveUp(exchange: Exchange<Client>): void {
    if (isOutside(exchange)) this.#unanswered--;
    if (exchange.suspicion) this.search.detach(exchange);
  }

  #countOpen({ publication }: PublishExchange<Client>, by: 1 | -1): void {
    if (publication.qos === 0) return;
    this.#open += by;
    if (publication.qos === 2) this.#openExactlyOnce += by;
  }

  /** The connection is over. Answers what is to be taken out, and the pause until the next attempt. To be cut afterwards. */
  ended(now: Instant, end: EndOfConnection): ReturnType<Suspects<Exchange<Client>>["ended"]> {
    const outside: Exchange<Client>[] = [];
    if (this.#unanswered > 0) {
      for (const exchange of this.inFlight.values()) if (isOutside(exchange)) outside.push(exchange);
      for (const exchange of this.pings) if (exchange) outside.push(exchange);
    }
    if (end.blames && (now < this.watchUntil || (outside.length === 0 && this.saidUnanswerable)))
      this.watchUntil = now + searchFigures.watchUnansweredMs;
    return this.search.ended(now, outside, end, (exchange) => identityOf(exchange, this.key));
  }

  /** The connection ended: what was sent is to be sent again, what the broker received stays received. */
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

  /** Is what is open and unanswered counted right, and does the line hold what waits, in its order? For tests. */
  check(found: Found): void {
    let open = 0;
    let exactlyOnce = 0;
    let unanswered = this.pings.filter((exchange) => exchange !== undefined).length;
    const waiting = new Map<readonly Exchange<Client>[], PublishExchange<Client>[]>();
    for (const exchange of this.inFlight.values()) {
      if (isOutside(exchange)) unanswered++;
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
