/**
 * One MQTT session that many clients share. [MQTT-SN 1.2 §4.2]
 *
 * The broker knows only the shared connection. The filters of all clients are in its index; the session, the buffer and
 * the acknowledgements of each client are the gateway's own. A delivery of the broker is acknowledged when the gateway
 * has custody of it for every recipient (fan-out.ts). Publications wait for the broker's window, and the clients take
 * turns (broker-session.ts). A client always uses the same shared connection, chosen by a hash of its id, so its order
 * is kept.
 *
 * Some brokers send a message once for each filter that matches it, and MQTT 3.1.1 does not say which copy is for which
 * filter. So at such a broker overlapping filters are never on the same connection: a shared connection has additional
 * *lanes*. Each lane is a shared connection with an MQTT session of its own, which is used only for deliveries. Each
 * copy then goes to the clients that subscribed to its filter, as over a connection of their own.
 */

import { IdMap } from "../../id-map.ts";
import type { Deadline } from "../deadlines.ts";
import type { UpstreamPolicy } from "../options.ts";
import { lanesMax, ownId } from "../own-ids.ts";
import { BrokerSession } from "./broker-session.ts";
import { CopyCount } from "./copy-count.ts";
import { type ExchangeClient, type Received, SharedFilter } from "./exchanges.ts";
import { FilterIndex } from "./filter-index.ts";

export class SharedConnection<Client extends ExchangeClient> {
  /** The name of the upstream that the connection belongs to, and how the gateway talks to this upstream. */
  readonly upstreamName: string;
  readonly policy: UpstreamPolicy;
  /** The number among the connections of its upstream. */
  readonly index: number;
  /** The shared connection to which this lane belongs. If this is not a lane, the shared connection itself. */
  readonly main: SharedConnection<Client>;
  /** The lanes in addition to this one. */
  readonly lanes: SharedConnection<Client>[] = [];
  readonly #lane: number;
  /**
   * The connection is used only for leaving its MQTT session. `leaves`: the client to which the session belonged, if it
   * was a client's own.
   */
  readonly isLeaving: boolean;
  readonly leaves: string | undefined;
  /**
   * Of a connection that is being left: the clients that now use another one, whether its subscriptions are ended, and
   * when it counts as empty.
   */
  readonly movers: Client[] = [];
  /** The rows of clients whose sessions have ended since then. Another client may have such a row now. */
  readonly gone = new Set<number>();
  isUnsubscribed = false;
  quiet: Deadline<SharedConnection<Client>, "quiet"> | undefined = undefined;
  readonly broker: BrokerSession<Client>;
  readonly filters: FilterIndex<SharedFilter<Client>>;
  /** Filters that are subscribed to when a packet id is free. */
  readonly unasked = new Set<SharedFilter<Client>>();
  /**
   * Filters that the broker may have forgotten, and that are not asked for again yet; undefined: there are none. There may be as many as there
   * are clients, and each packet id that waits for a SUBACK is missing for a publication.
   */
  toAskAgain: Iterator<string> | undefined = undefined;
  /** Used while it is not known how the broker sends copies. */
  readonly copyCount = new CopyCount();
  /** Filters that overlap with others here. Their connection is chosen when it is known how the broker sends copies. */
  readonly undecided = new Set<SharedFilter<Client>>();
  /**
   * Filters for which the broker has not answered UNSUBSCRIBE, at most `owedMax`. They are in the record of this
   * connection, because the next run does not know them otherwise.
   */
  readonly owed = new Set<string>();
  /** The filters of this lane in an earlier run. */
  keeps: ReadonlySet<string> | undefined = undefined;
  /**
   * Deliveries at QoS 1 that were acknowledged, by packet id, the latest one last. The broker may not have received the
   * acknowledgement.
   */
  readonly recentDeliveries = new IdMap<{ readonly received: Received; readonly hash: number }>();
  /** Deliveries in custody whose commit failed. They are acknowledged when the store accepts them. */
  ackAwaitingStore: Received[] = [];
  /** The session at the broker belongs to this gateway. If not, it is ended first. */
  resumes = false;
  /** There is no connection, and an attempt has failed. */
  isAway = false;

  constructor(
    upstream: { readonly name: string; readonly options: UpstreamPolicy },
    index: number,
    firstPacketId: number,
    of?:
      | { readonly main: SharedConnection<Client>; readonly lane: number }
      /** A client's own session, or (by its lane) a shared one, that is only left: see inputs/leaving.ts. */
      | { readonly leaves: string }
      | { readonly left: number },
  ) {
    this.upstreamName = upstream.name;
    this.policy = upstream.options;
    this.index = index;
    this.main = of && "main" in of ? of.main : this;
    this.#lane = of && "lane" in of ? of.lane : of && "left" in of ? of.left : 0;
    this.leaves = of && "leaves" in of ? of.leaves : undefined;
    this.isLeaving = of !== undefined && !("main" in of);
    this.filters = new FilterIndex(firstPacketId); // a secret seed: nobody else knows this number
    this.broker = new BrokerSession(firstPacketId, { key: this.key, isShared: true });
  }

  /** The name of the shared connection in the records of clients. */
  get upstreamKey(): string {
    if (this.leaves !== undefined) return this.upstreamName;
    return `${this.upstreamName}/${this.index}${this.#lane === 0 ? "" : `.${this.#lane}`}`;
  }

  /** Whether this is an additional lane. Clients do not belong to a lane. */
  get isLane(): boolean {
    return this.main !== this;
  }

  /** The connection itself, and its lanes. */
  *all(): IterableIterator<SharedConnection<Client>> {
    yield this;
    yield* this.lanes;
  }

  /** The lane that has this filter. */
  laneWith(filter: string): SharedConnection<Client> | undefined {
    for (const lane of this.all()) if (lane.filters.has(filter)) return lane;
    return undefined;
  }

  /** Does nothing else refer to this filter of this lane than the index? */
  isQuiet(entry: SharedFilter<Client>): boolean {
    return entry.isQuiet && !this.unasked.has(entry) && !this.undecided.has(entry);
  }

  entryOf(filter: string): SharedFilter<Client> | undefined {
    return this.laneWith(filter)?.filters.get(filter);
  }

  /** The filter, only to be looked at. */
  look(filter: string): SharedFilter<Client> | undefined {
    return this.laneWith(filter)?.filters.look(filter);
  }

  /** A lane where no other filter overlaps with this one; undefined: there is none. */
  laneFor(filter: string): SharedConnection<Client> | undefined {
    for (const lane of this.all()) if (!lane.filters.overlaps(filter)) return lane;
    return undefined;
  }

  /** Whether one more lane may be made. */
  get hasRoomForLane(): boolean {
    return this.lanes.length + 1 < lanesMax;
  }

  /** The lane with this number, from 1. If it does not exist, it is made, with those before it. */
  lane(number: number, firstPacketId: () => number): SharedConnection<Client> {
    for (let next = this.lanes.length + 1; next <= number; next++) {
      const upstream = { name: this.upstreamName, options: this.policy };
      this.lanes.push(new SharedConnection(upstream, this.index, firstPacketId(), { main: this, lane: next }));
    }
    return this.lanes[number - 1] ?? this;
  }

  /** The key of the connection's own records. No client id has a U+0000. */
  get key(): string {
    if (this.leaves !== undefined) return this.leaves; // the key under which its received messages were kept
    return `\0${this.upstreamKey}`;
  }

  get mqttClientId(): string {
    if (this.leaves !== undefined) return this.policy.clientIdPrefix + this.leaves;
    return ownId(this.policy, this.index, this.#lane);
  }
}

/** The largest subscription identifier. [MQTT-5.0 3.8.2.1.2] */
const subscriptionIdMax = 268_435_455;

/** A filter without members. */
export function newSharedFilter<Client extends ExchangeClient>(filter: string): SharedFilter<Client> {
  return new SharedFilter<Client>(filter, (hashOfText(filter) % subscriptionIdMax) + 1);
}

/** FNV-1a. Chooses one of several shared connections, and makes subscription identifiers. */
export function hashOfText(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}
