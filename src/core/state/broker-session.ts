/**
 * The state of one MQTT session, as [MQTT-3.1.1 4.1] defines it for a client: which of our packets the broker has not
 * finished with, and which of the broker's we have not. It outlives connections (links), so that QoS 1 is resent with
 * its packet id and QoS 2 is exactly once over any cut.
 *
 * A downward delivery is *acknowledged* when somebody has custody of it: the device, or we (buffered and stored).
 * Until then it is the broker's, which sends it again after a reconnect; `received` recognises it then.
 */
import { SmallMap } from "../small-map.ts";
import {
  type BrokerLimits,
  type CommitToken,
  type Instant,
  type LinkId,
  noLimits,
  type Publication,
  type QoS,
  type Will,
} from "../types.ts";
import type { OutboxEntry } from "./outbox.ts";
import type { Session, SubscribedBy } from "./session.ts";
import type { RetainedWait, Trunk, TrunkFilter } from "./trunk.ts";
import type { Upstream } from "./upstream.ts";

/** One MQTT connection with its reconnects, as the core sees it. */
export interface Link {
  readonly id: LinkId;
  /** Whose it is; undefined = the gateway's own. */
  readonly session: Session | undefined;
  /** Clients share it. */
  readonly trunk: Trunk | undefined;
  readonly upstream: Upstream;
  /** The MQTT session that it serves. */
  readonly broker: BrokerSession;
  up: boolean;
  /** The broker accepted it at least once. */
  wasUp: boolean;
  congested: boolean;
  /** Since when it is down, after it was up. */
  downSince: Instant | undefined;
  limits: BrokerLimits;
  readonly clean: boolean;
  /** Opened for a session of an earlier life of the gateway. */
  readonly resumes: boolean;
  /** The will that the broker holds for this connection. */
  readonly will: Will | undefined;
}

export function newLink(init: {
  id: LinkId;
  session: Session | undefined;
  trunk?: Trunk;
  upstream: Upstream;
  broker: BrokerSession;
  clean: boolean;
  resumes?: boolean;
  will: Will | undefined;
}): Link {
  return {
    resumes: false,
    trunk: undefined,
    ...init,
    up: false,
    wasUp: false,
    congested: false,
    downSince: undefined,
    limits: noLimits,
  };
}

export interface PublishExchange {
  readonly kind: "publish";
  readonly packetId: number;
  readonly publication: Publication;
  /** Whose account it is on; undefined for the gateway's own. */
  readonly owner: Session | undefined;
  /** Where the publication comes from: answers go there. The gateway's own have none. */
  origin: { readonly session: Session; readonly msgId: number; readonly topicId: number } | undefined;
  /** The client has connected anew since and may not know of it; only a repetition with DUP adopts it. */
  orphan: boolean;
  /**
   * waiting: not sent on this connection; sent: PUBLISH is out; received: PUBREC came, PUBREL waits for the device;
   * released: PUBREL is out.
   */
  stage: "waiting" | "sent" | "received" | "released";
  /** PUBLISH went out on an earlier connection. */
  sentBefore: boolean;
  /** A will of a lost client: the link closes when the broker has it. */
  readonly isWill: boolean;
  /** It has a record, to be deleted at its end. */
  stored: boolean;
  /** The client has been answered: what is left is between us and the broker. */
  accepted: boolean;
  /** Number of the record in the backlog that it came from, to be deleted at its end; 0 = none. */
  readonly backlogId: number;
}

export interface SubscribeExchange {
  readonly kind: "subscribe";
  readonly packetId: number;
  readonly filter: string;
  readonly qos: QoS;
  /** The SUBSCRIBE to answer; undefined when the gateway subscribes again by itself. */
  readonly origin:
    | {
        readonly session: Session;
        readonly msgId: number;
        readonly topicId: number;
        readonly by: SubscribedBy;
        readonly predefinedId: number;
      }
    | undefined;
  /** A repetition, made in doubt: the client has what is retained. */
  readonly withoutRetained?: boolean;
  /** Over a shared connection: the requests of clients that it answers, and who waits for what is retained. */
  readonly trunk?: {
    readonly entry: TrunkFilter;
    readonly requests: readonly SubscribeExchange[];
    readonly waits: readonly RetainedWait[];
  };
}

export interface UnsubscribeExchange {
  readonly kind: "unsubscribe";
  readonly packetId: number;
  readonly filter: string;
  readonly origin: { readonly session: Session; readonly msgId: number } | undefined;
}

export type Exchange = PublishExchange | SubscribeExchange | UnsubscribeExchange;

/** A delivery at QoS 1 or 2 that the broker has not finished with. */
export interface Received {
  readonly packetId: number;
  readonly publication: Publication;
  /** On which connection it came (last). Acknowledgements for another one are not sent: the broker will ask again. */
  connection: number;
  /** open: ours to acknowledge; done: to be acknowledged as soon as the broker asks again; acknowledged: PUBREC is out. */
  stage: "open" | "done" | "acknowledged";
  /** MQTT 5 message expiry. */
  readonly expiresAt: Instant | undefined;
  /** The buffered message, while there is one. */
  entry: OutboxEntry | undefined;
  /** It has a record, to be deleted when the broker releases it. */
  stored: boolean;
  /** Of QoS 2: `contentHash`; undefined = not known, from an older store. */
  readonly hash: number | undefined;
  /** Of a shared connection: the commit that its acknowledgement waits for. */
  after?: CommitToken | undefined;
}

export class BrokerSession {
  link: Link | undefined = undefined;
  readonly inFlight = new SmallMap<number, Exchange>();
  readonly received = new SmallMap<number, Received>();
  /** Deliveries that found no room, in their order: still the broker's, let in when there is room. */
  readonly outside = new SmallMap<Received, true>();
  /** Counts the connections of this session; the present or last one. */
  connection = 0;
  /**
   * The broker may have begun a new session without our hearing so: an attempt to connect ended before its answer, the
   * broker was restarted from an older state, or our own last life ended before it had subscribed. What it calls present
   * then may be without our subscriptions.
   */
  inDoubt = true;
  #lastPacketId: number;
  #open = 0;
  #openExactlyOnce = 0;
  /**
   * Publications that wait for the broker's window, by whose they are. Whoever is first in the row sends one and goes to
   * its end, so that one busy client of a shared connection does not hold up the others; each client's stay in order.
   */
  readonly #line = new SmallMap<Session | undefined, PublishExchange[]>();
  /** Those whose next one is of QoS 2, of which the broker takes no more now: the others do not wait for them. */
  readonly #lineExactlyOnce = new SmallMap<Session | undefined, PublishExchange[]>();

  /**
   * `start`: where packet ids begin. Random for a session that the broker may remember from an earlier life of the
   * gateway: an id that still means a QoS 2 message of then would swallow a new one.
   */
  constructor(start: number) {
    this.#lastPacketId = start;
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

  /** The client has its answer for this one. */
  accept(exchange: PublishExchange): void {
    if (exchange.accepted) return;
    exchange.accepted = true;
    exchange.origin = undefined;
    countAccepted(exchange, 1);
  }

  /** The client's answer could not be given after all. */
  takeBack(exchange: PublishExchange, origin: NonNullable<PublishExchange["origin"]>): void {
    if (!exchange.accepted) return;
    exchange.accepted = false;
    exchange.origin = origin;
    countAccepted(exchange, -1);
  }

  /** A free packet id; undefined when all 65535 are taken. */
  freePacketId(): number | undefined {
    if (this.inFlight.size >= 65_535) return undefined;
    do this.#lastPacketId = (this.#lastPacketId % 65_535) + 1;
    while (this.inFlight.has(this.#lastPacketId));
    return this.#lastPacketId;
  }

  /** An exchange of an earlier life; what was released still counts against the broker's window. */
  restore(exchange: PublishExchange): void {
    this.add(exchange);
    if (exchange.stage !== "waiting") this.#countOpen(exchange, 1);
    else this.queue(exchange);
  }

  /** It waits for its turn. */
  queue(exchange: PublishExchange): void {
    const own = this.#line.get(exchange.owner) ?? this.#lineExactlyOnce.get(exchange.owner);
    if (own) own.push(exchange);
    else this.#line.set(exchange.owner, [exchange]);
  }

  /** The next that waits and may be sent now; it is taken out of the line. */
  nextWaiting(limits: BrokerLimits): PublishExchange | undefined {
    const mayExactlyOnce = this.hasRoom(2, limits);
    for (const line of mayExactlyOnce ? [this.#lineExactlyOnce, this.#line] : [this.#line]) {
      for (const [owner, own] of line) {
        line.delete(owner);
        while (own[0] && !this.#waits(own[0])) own.shift();
        if (own[0]?.publication.qos === 2 && !mayExactlyOnce) {
          this.#lineExactlyOnce.set(owner, own);
          continue;
        }
        const exchange = own.shift();
        if (own.length > 0) this.#line.set(owner, own);
        if (exchange) return exchange;
      }
    }
    return undefined;
  }

  get hasLine(): boolean {
    return this.#line.size > 0 || this.#lineExactlyOnce.size > 0;
  }

  #waits(exchange: PublishExchange): boolean {
    return exchange.stage === "waiting" && this.inFlight.get(exchange.packetId) === exchange;
  }

  add(exchange: Exchange): void {
    this.inFlight.set(exchange.packetId, exchange);
    if (exchange.kind === "publish" && exchange.accepted) countAccepted(exchange, 1);
  }

  /** Marks a publication as sent on the present connection. */
  sent(exchange: PublishExchange): void {
    exchange.stage = "sent";
    this.#countOpen(exchange, 1);
  }

  finish(exchange: Exchange): void {
    if (!this.inFlight.delete(exchange.packetId)) return;
    if (exchange.kind !== "publish") return;
    if (exchange.stage !== "waiting") this.#countOpen(exchange, -1);
    if (exchange.accepted) countAccepted(exchange, -1);
  }

  #countOpen({ publication }: PublishExchange, by: 1 | -1): void {
    this.#open += by;
    if (publication.qos === 2) this.#openExactlyOnce += by;
  }

  /** The connection ended: what was sent is to be sent again, what the broker received stays received. */
  cut(): void {
    this.outside.clear(); // the broker will send them again
    this.#line.clear();
    this.#lineExactlyOnce.clear();
    for (const exchange of this.inFlight.values()) {
      if (exchange.kind !== "publish") continue;
      if (exchange.stage === "sent") {
        exchange.stage = "waiting";
        exchange.sentBefore = true;
        this.#countOpen(exchange, -1);
      }
      if (exchange.stage === "waiting") this.queue(exchange);
    }
  }
}

function countAccepted({ owner }: PublishExchange, by: 1 | -1): void {
  if (owner) owner.account.accepted += by;
}
