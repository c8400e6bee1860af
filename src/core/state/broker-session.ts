/**
 * The state of one MQTT session, as [MQTT-3.1.1 4.1] defines it for a client: which of our packets the broker has not
 * finished with, and which of the broker's we have not. It outlives connections (links), so that QoS 1 is resent with
 * its packet id and QoS 2 is exactly once over any cut.
 *
 * A downward delivery is *acknowledged* when somebody has custody of it: the device, or we (buffered and stored).
 * Until then it is the broker's, which sends it again after a reconnect; `received` recognises it then.
 */
import type { Found } from "../assert.ts";
import type { UpstreamPolicy } from "../options.ts";
import { SmallMap } from "../small-map.ts";
import type { BrokerLimits, Instant, LinkId, QoS, Will } from "../types.ts";
import type { Exchange, ExchangeClient, PublishExchange, Received } from "./exchanges.ts";

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
  limits: BrokerLimits;
  readonly clean: boolean;
  /** Opened for a session of an earlier life of the gateway. */
  readonly resumes: boolean;
  /** The will that the broker holds for this connection. */
  readonly will: Will | undefined;
}

export class BrokerSession<Client extends ExchangeClient> {
  link: Connection | undefined = undefined;
  readonly inFlight = new SmallMap<number, Exchange<Client>>();
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
  readonly #line = new SmallMap<Client | undefined, PublishExchange<Client>[]>();
  /** Those whose next one is of QoS 2, of which the broker takes no more now: the others do not wait for them. */
  readonly #lineExactlyOnce = new SmallMap<Client | undefined, PublishExchange<Client>[]>();

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
    if (this.inFlight.size >= 65_535) return undefined;
    do this.#lastPacketId = (this.#lastPacketId % 65_535) + 1;
    while (this.inFlight.has(this.#lastPacketId));
    return this.#lastPacketId;
  }

  /** An exchange of an earlier life; what was released still counts against the broker's window. */
  restore(exchange: PublishExchange<Client>): void {
    this.add(exchange);
    if (exchange.stage !== "waiting") this.#countOpen(exchange, 1);
    else this.queue(exchange);
  }

  /** It waits for its turn. */
  queue(exchange: PublishExchange<Client>): void {
    const own = this.#line.get(exchange.owner) ?? this.#lineExactlyOnce.get(exchange.owner);
    if (own) own.push(exchange);
    else this.#line.set(exchange.owner, [exchange]);
  }

  /** The next that waits and may be sent now; it is taken out of the line. */
  nextWaiting(limits: BrokerLimits): PublishExchange<Client> | undefined {
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

  #waits(exchange: PublishExchange<Client>): boolean {
    return exchange.stage === "waiting" && this.inFlight.get(exchange.packetId) === exchange;
  }

  add(exchange: Exchange<Client>): void {
    this.inFlight.set(exchange.packetId, exchange);
    if (exchange.kind === "publish" && exchange.accepted) countAccepted(exchange, 1);
  }

  /** Marks a publication as sent on the present connection. */
  sent(exchange: PublishExchange<Client>): void {
    exchange.stage = "sent";
    this.#countOpen(exchange, 1);
  }

  finish(exchange: Exchange<Client>): void {
    if (!this.inFlight.delete(exchange.packetId)) return;
    if (exchange.kind !== "publish") return;
    if (exchange.stage !== "waiting") this.#countOpen(exchange, -1);
    if (exchange.accepted) countAccepted(exchange, -1);
  }

  #countOpen({ publication }: PublishExchange<Client>, by: 1 | -1): void {
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

  /** Is the window counted right, and does the line hold what waits, in its order? For tests. */
  check(found: Found): void {
    let open = 0;
    let exactlyOnce = 0;
    const waiting = new Map<Client | undefined, PublishExchange<Client>[]>();
    for (const exchange of this.inFlight.values()) {
      if (exchange.kind !== "publish") continue;
      if (exchange.stage !== "waiting") {
        open++;
        if (exchange.publication.qos === 2) exactlyOnce++;
        continue;
      }
      const own = waiting.get(exchange.owner);
      if (own) own.push(exchange);
      else waiting.set(exchange.owner, [exchange]);
    }
    if (open !== this.#open || exactlyOnce !== this.#openExactlyOnce)
      found(
        `${open} publications are open at the broker (${exactlyOnce} of QoS 2), counted are ${this.#open} (${this.#openExactlyOnce})`,
      );
    for (const [owner, own] of waiting) {
      const usual = this.#line.get(owner);
      const other = this.#lineExactlyOnce.get(owner);
      const whose = owner ? `of client ${owner.clientId}` : "of the gateway's own";
      if (usual && other) found(`what waits ${whose} stands in two lines`);
      const line = (usual ?? other ?? []).filter((exchange) => this.#waits(exchange));
      if (line.length !== own.length || line.some((exchange, at) => exchange !== own[at]))
        found(`packets ${idsOf(own)} ${whose} wait for the broker's window, in the line are ${idsOf(line) || "none"}`);
      const first = own[0];
      if (first && this.link?.up && this.hasRoom(first.publication.qos, this.link.limits))
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
