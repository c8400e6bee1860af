/**
 * What the gateway knows about one client. Plain state: each procedure in session/ changes its own part.
 *
 * A session is found by its client id. An address (peer) is only the place where the client was last heard. A session
 * may lose its address to another client, by a takeover or by a move. [interpretation 5]
 */

import { IdMap } from "../../id-map.ts";
import type { AccessPolicy, Rights } from "../access.ts";
import { Deadline } from "../deadlines.ts";
import { noRow } from "../hash-rows.ts";
import type { PredefinedTopics } from "../input.ts";
import { SmallMap } from "../small-map.ts";
import type { Speech } from "../speech.ts";
import type { ClientState, CommitToken, Instant, PeerId, QoS, SubscribedBy, Will } from "../types.ts";
import type { Connect } from "../words.ts";
import type { Account } from "./account.ts";
import type { Allowance } from "./allowance.ts";
import type { BrokerSession } from "./broker-session.ts";
import type { PublishExchange, SubscribeExchange, UnsubscribeExchange } from "./exchanges.ts";
import type { Outbox } from "./outbox.ts";
import type { PendingConnect } from "./pending-connect.ts";
import { RecentPublishes } from "./recent-publishes.ts";
import type { SharedConnection } from "./shared-connection.ts";
import { Shown } from "./shown.ts";
import type { Registry } from "./topic-registry.ts";
import type { Upstream } from "./upstream.ts";

export interface Subscription {
  readonly filter: string;
  /** Asked for; the broker may have granted less. */
  readonly qos: QoS;
  readonly by: SubscribedBy;
  /** The predefined id, if `by` says so. */
  readonly predefinedId: number;
  /** The broker closes for it: it is kept and shown, and not asked for. */
  readonly isRefused?: boolean;
}

/** In place of a place: it is not among the sessions without a client. */
export const noIdlePlace = -1;

/** A QoS 2 publication of the client that we have, or the broker: its PUBREL is awaited. */
export interface Taken {
  readonly topicId: number;
  readonly hash: number;
  /** The commit that PUBREC waits for. */
  readonly after: CommitToken | undefined;
  /** The client has connected again since and may not know of it. */
  fromBeforeConnect: boolean;
}

/** When it is looked again whether a session may be parked. See session/park.ts. */
export class Parking {
  readonly deadline: Deadline<Session, "park">;
  /** `Session.heard` when this was begun, and how often it was looked in vain since. */
  heard: number;
  tries = 0;
  /** All commits up to this one must have been answered. */
  behind: CommitToken = 0;

  constructor(session: Session) {
    this.deadline = new Deadline(session, "park");
    this.heard = session.heard;
  }
}

export class Session {
  readonly clientId: string;
  /** Its number in the table of sessions, as long as it is there: also while it is parked. */
  row = noRow;
  /** What the client spoke when it connected. */
  dialect: Speech;
  readonly registry: Registry;
  readonly upstream: Upstream<Session>;
  /** The connection that the client shares with others; undefined: it has its own. */
  readonly shared: SharedConnection<Session> | undefined;
  /** The MQTT session that stands behind this client. */
  readonly broker: BrokerSession<Session>;
  /** The client's accepted publications that are not at the broker yet. */
  readonly account: Account;
  state: ClientState = "disconnected";
  /** Since when it has this state, and why, for people; undefined and "" = since an earlier run of the gateway. */
  stateSince: Instant | undefined = undefined;
  stateWhy = "";
  peer: PeerId | undefined = undefined;
  clean: boolean;
  keepAliveSeconds = 0;
  sleepSeconds = 0;
  lastHeard: Instant = 0;
  /** The number of its messages. (`lastHeard` is also set without a message.) */
  heard = 0;
  will: Will | undefined = undefined;
  /** A half of a will that came alone by WILLMSGUPD; it waits for its topic. */
  willMessage: Uint8Array | undefined = undefined;
  /** By filter. */
  readonly subscriptions = new SmallMap<string, Subscription>();
  /** Predefined ids as they were when the client connected: each has one meaning until it connects again. */
  predefined: PredefinedTopics;
  readonly outbox: Outbox;
  /** Publications of the client on the way to the broker, by the client's MsgId. */
  readonly publishesInFlight = new IdMap<PublishExchange<Session>>();
  /** SUBSCRIBE and UNSUBSCRIBE that wait for the broker, by the client's MsgId. */
  readonly subscribesInFlight = new IdMap<SubscribeExchange<Session> | UnsubscribeExchange<Session>>();
  /** An open CONNECT for this session, from any address. */
  pendingConnect: PendingConnect<Session> | undefined = undefined;
  /** The last CONNECT that was accepted, to tell a repetition from a new start. [interpretation 5] */
  lastConnect:
    | (Pick<Connect, "will" | "cleanSession" | "duration"> & {
        readonly at: Instant;
        readonly byWillMsg: boolean;
        nothingSince: boolean;
      })
    | undefined = undefined;
  /** Publications of the client that are done: to know a repetition that comes late. */
  readonly recentPublishes = new RecentPublishes();
  /** QoS 2 publications that we answered PUBREC for, without the broker: their PUBREL is awaited. By MsgId. */
  readonly inboundQoS2 = new IdMap<Taken>();
  /** How many of `RetainedWaits` are of this client. */
  retainedWaits = 0;
  /** What it was last sent of each name. */
  readonly shown = new Shown();
  // How these go together is in standing.ts.
  /** Lost, and its will is on the way to the broker: the link closes afterwards. */
  willPending = false;
  /** The client has disconnected, and some accepted publications are not at the broker yet: the link stays. */
  awaitsForwarding = false;
  /** That something waits for the broker has been told. */
  reported = false;
  /** Messages for this client that were dropped, since the gateway started. */
  dropped = 0;
  /** The broker does not accept this client any more; the client gets this answer to its next message. */
  brokerRefused = false;
  /** Its id at the broker is another's: it has no connection, and gets none. */
  lacksId = false;
  /**
   * The place of its session at the broker in an earlier run. That session is being left in order, and may still have its subscriptions.
   */
  leaves: string | undefined = undefined;
  /** Its connection is made when that is done. */
  isHeldBack = false;
  /** More than CONNECT and DISCONNECT was received from it, in any run of the gateway. */
  spoke = false;
  /** The operator knows it: a rule names it, or it has proved who it is. */
  vouched = false;
  /** What the client has proved: no other sender has this session. Undefined: nothing. As returned by `Context.proofAt`. */
  boundTo: string | undefined = undefined;
  /**
   * The client is outside the own site, and has answered no MsgId of the gateway since it is at this address: a sender with a forged
   * address would look the same. Octets that it sent, and octets that were sent to it without a request.
   */
  unproven: { heard: number; sent: number; waits: boolean } | undefined = undefined;
  /** Where it was last: a host, or a node behind a forwarder. Set by the table of sessions. */
  host: string | undefined = undefined;
  /** From an earlier run, and not heard in this one: the access rules are checked at its first message. */
  isUnasked = false;
  /** Topics that it may use, as `rightsBy` said of it when it was at `rightsAt`; undefined = all. See `Context.rightsOf`. */
  rights: Rights | undefined = undefined;
  rightsBy: AccessPolicy | undefined = undefined;
  rightsAt: PeerId | undefined = undefined;
  /** What is left of its limits, as `limitsBy` has them; undefined = it has none. See limits.ts. */
  allowance: Allowance | undefined = undefined;
  limitsBy: AccessPolicy | undefined = undefined;
  /** The session has ended: code that still refers to it must not use it. */
  isOver = false;
  /** Another object, or octets, stand for it now (parked-sessions.ts): this one must not be used. */
  isParked = false;
  /** Since it is without a client: when it may be parked. */
  parking: Parking | undefined = undefined;
  /** Its place among the sessions without a client. See idle-order.ts. */
  idlePlace = noIdlePlace;
  idleSince: Instant = 0;
  idleNumber = 0;
  /** It stands in `Context.touched`. */
  touched = false;
  /** Keep-alive, sleep or expiry of the session, whichever the state asks for. */
  readonly silence: Deadline<Session, "silence"> = new Deadline<Session, "silence">(this, "silence");
  /** The next try of what is in flight towards the client. */
  readonly retry: Deadline<Session, "retry"> = new Deadline<Session, "retry">(this, "retry");
  /** The first message that waits too long. */
  readonly expiry: Deadline<Session, "expiry"> = new Deadline<Session, "expiry">(this, "expiry");

  constructor(init: {
    clientId: string;
    clean: boolean;
    dialect: Speech;
    registry: Registry;
    upstream: Upstream<Session>;
    shared: SharedConnection<Session> | undefined;
    broker: BrokerSession<Session>;
    account: Account;
    predefined: PredefinedTopics;
    outbox: Outbox;
  }) {
    this.predefined = init.predefined;
    this.clientId = init.clientId;
    this.clean = init.clean;
    this.dialect = init.dialect;
    this.registry = init.registry;
    this.upstream = init.upstream;
    this.shared = init.shared;
    this.broker = init.broker;
    this.account = init.account;
    this.outbox = init.outbox;
  }
}

/** The client waits for the answer to this publication: the exchange knows where it came from, and is found by its MsgId. */
export function bindUplink(
  exchange: PublishExchange<Session>,
  origin: NonNullable<PublishExchange<Session>["origin"]>,
): void {
  exchange.origin = origin;
  origin.session.publishesInFlight.set(origin.msgId, exchange);
}

/** The client does not wait for it any more: it was answered, or will not get an answer. */
export function unbindUplink(exchange: PublishExchange<Session>): void {
  const { origin } = exchange;
  if (!origin) return;
  exchange.origin = undefined;
  origin.session.publishesInFlight.delete(origin.msgId);
}

/** Where at the broker the client's exchanges and subscriptions are; see `SessionRecord.home`. */
export function homeOf(session: Session): string {
  return session.leaves ?? placeOf(session);
}

/** The connection that the client goes by now. */
export function placeOf({ shared, upstream }: Session): string {
  return shared?.upstreamKey ?? upstream.name;
}

/** Its client sleeps, has disconnected, or is lost. */
export function isDormant({ state }: Pick<Session, "state">): boolean {
  return state !== "active" && state !== "awake";
}

/** May the gateway speak first? (An answer to what the client sent is another matter.) */
export function isReachable(session: Session): boolean {
  return session.peer !== undefined && (session.state === "active" || session.state === "awake");
}
