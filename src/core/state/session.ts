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
  /** The QoS that the client asked for; the broker may have granted less. */
  readonly qos: QoS;
  readonly by: SubscribedBy;
  /** The predefined id, if `by` says so. */
  readonly predefinedId: number;
  /**
   * The broker closes the connection for this subscription. It is kept and shown, but the gateway does not subscribe to
   * it.
   */
  readonly isRefused?: boolean;
}

/** In place of a position: the session is not among the sessions without a client. */
export const noIdlePlace = -1;

/** A QoS 2 publication of the client that the gateway or the broker has, and whose PUBREL is still missing. */
export interface Taken {
  readonly topicId: number;
  readonly hash: number;
  /** The commit that PUBREC waits for. */
  readonly after: CommitToken | undefined;
  /** The client has connected again since then and may not know of this publication. */
  fromBeforeConnect: boolean;
}

/** The deadline for checking again whether a session may be parked. See session/park.ts. */
export class Parking {
  readonly deadline: Deadline<Session, "park">;
  /** `Session.heard` when the checks began, and the number of checks since then that found the session in use. */
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
  /** The number of the session in the table of sessions, as long as it is there, also while it is parked. */
  row = noRow;
  /** The dialect in which the client connected. */
  dialect: Speech;
  readonly registry: Registry;
  readonly upstream: Upstream<Session>;
  /** The connection that the client shares with others; undefined: it has its own. */
  readonly shared: SharedConnection<Session> | undefined;
  /** The MQTT session at the broker that serves this client. */
  readonly broker: BrokerSession<Session>;
  /** The client's accepted publications that the broker does not have yet. */
  readonly account: Account;
  state: ClientState = "disconnected";
  /**
   * Since when the client has this state, and why, for display; undefined and "" = since an earlier run of the gateway.
   */
  stateSince: Instant | undefined = undefined;
  stateWhy = "";
  peer: PeerId | undefined = undefined;
  clean: boolean;
  keepAliveSeconds = 0;
  sleepSeconds = 0;
  lastHeard: Instant = 0;
  /** The number of messages that were received from the client. (`lastHeard` is also set without a message.) */
  heard = 0;
  will: Will | undefined = undefined;
  /** The message of a will that came with WILLMSGUPD before its topic. It waits for the topic. */
  willMessage: Uint8Array | undefined = undefined;
  /** The subscriptions, by filter. */
  readonly subscriptions = new SmallMap<string, Subscription>();
  /** Predefined ids as they were when the client connected. Each has one meaning until the client connects again. */
  predefined: PredefinedTopics;
  readonly outbox: Outbox;
  /** Publications of the client on the way to the broker, by the client's MsgId. */
  readonly publishesInFlight = new IdMap<PublishExchange<Session>>();
  /** SUBSCRIBE and UNSUBSCRIBE that wait for the broker, by the client's MsgId. */
  readonly subscribesInFlight = new IdMap<SubscribeExchange<Session> | UnsubscribeExchange<Session>>();
  /** An open CONNECT for this session, from any address. */
  pendingConnect: PendingConnect<Session> | undefined = undefined;
  /**
   * The last CONNECT that was accepted. With it the gateway distinguishes a repetition from a new start.
   * [interpretation 5]
   */
  lastConnect:
    | (Pick<Connect, "will" | "cleanSession" | "duration"> & {
        readonly at: Instant;
        readonly byWillMsg: boolean;
        nothingSince: boolean;
      })
    | undefined = undefined;
  /** Completed publications of the client, so that a late repetition is recognized. */
  readonly recentPublishes = new RecentPublishes();
  /**
   * QoS 2 publications for which the gateway answered PUBREC without the broker, and whose PUBREL is still missing. By
   * MsgId.
   */
  readonly inboundQoS2 = new IdMap<Taken>();
  /** How many of the `RetainedWaits` belong to this client. */
  retainedWaits = 0;
  /** The last message of each topic name that the client was sent. */
  readonly shown = new Shown();
  // standing.ts says which combinations of these flags are possible.
  /** The client is lost, and its will is on the way to the broker. The link closes afterwards. */
  willPending = false;
  /**
   * The client has disconnected, and the broker does not have all its accepted publications yet. The link stays open.
   */
  awaitsForwarding = false;
  /** It was reported that messages wait for the broker. */
  reported = false;
  /** Messages for this client that were dropped, since the gateway started. */
  dropped = 0;
  /** The broker does not accept this client any more; the client gets this answer to its next message. */
  brokerRefused = false;
  /**
   * The client id of this client at the broker belongs to another client. So this client has no connection, and gets
   * none.
   */
  lacksId = false;
  /**
   * The place of its session at the broker in an earlier run. That session is being left in order, and may still have its subscriptions.
   */
  leaves: string | undefined = undefined;
  /** The connection of this client is made when the other session is left. */
  isHeldBack = false;
  /** More than CONNECT and DISCONNECT was received from the client, in any run of the gateway. */
  spoke = false;
  /** The operator knows the client: a rule names it, or it has proved its identity. */
  vouched = false;
  /**
   * The identity that the client has proved, as `Context.proofAt` returns it: no other sender has this session.
   * Undefined: nothing is proved.
   */
  boundTo: string | undefined = undefined;
  /**
   * Set while the client is outside the own site and has answered no MsgId of the gateway at its present address: a
   * sender with a forged address would look the same. `heard`: octets that it sent. `sent`: octets that were sent to it
   * without a request.
   */
  unproven: { heard: number; sent: number; waits: boolean } | undefined = undefined;
  /** The host, or the node behind a forwarder, where the client was last. The table of sessions sets it. */
  host: string | undefined = undefined;
  /**
   * The session is from an earlier run, and its client was not heard in this one. The access rules are checked at its
   * first message.
   */
  isUnasked = false;
  /**
   * The topics that the client may use, as `rightsBy` returned them when the client was at `rightsAt`; undefined = all.
   * See `Context.rightsOf`.
   */
  rights: Rights | undefined = undefined;
  rightsBy: AccessPolicy | undefined = undefined;
  rightsAt: PeerId | undefined = undefined;
  /**
   * What is left of the client's limits, as `limitsBy` has them; undefined = the client has no limits. See limits.ts.
   */
  allowance: Allowance | undefined = undefined;
  limitsBy: AccessPolicy | undefined = undefined;
  /** The session has ended: code that still refers to it must not use it. */
  isOver = false;
  /** Another object, or octets, represent this session now (parked-sessions.ts). This object must not be used. */
  isParked = false;
  /** Set since the session is without a client: when it may be parked. */
  parking: Parking | undefined = undefined;
  /** The position among the sessions without a client. See idle-order.ts. */
  idlePlace = noIdlePlace;
  idleSince: Instant = 0;
  idleNumber = 0;
  /** The session is in the list `Context.touched`. */
  touched = false;
  /** The deadline for keep-alive, sleep or expiry of the session, whichever belongs to the state. */
  readonly silence: Deadline<Session, "silence"> = new Deadline<Session, "silence">(this, "silence");
  /** The time of the next try of the message in flight to the client. */
  readonly retry: Deadline<Session, "retry"> = new Deadline<Session, "retry">(this, "retry");
  /** The time at which the first message has waited too long. */
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

/**
 * From now on the client waits for the answer to this publication. The exchange knows its origin, and is found by the
 * client's MsgId.
 */
export function bindUplink(
  exchange: PublishExchange<Session>,
  origin: NonNullable<PublishExchange<Session>["origin"]>,
): void {
  exchange.origin = origin;
  origin.session.publishesInFlight.set(origin.msgId, exchange);
}

/** The client does not wait for this publication any more: it was answered, or will not get an answer. */
export function unbindUplink(exchange: PublishExchange<Session>): void {
  const { origin } = exchange;
  if (!origin) return;
  exchange.origin = undefined;
  origin.session.publishesInFlight.delete(origin.msgId);
}

/** The place of the client's exchanges and subscriptions at the broker; see `SessionRecord.home`. */
export function homeOf(session: Session): string {
  return session.leaves ?? placeOf(session);
}

/** The connection that the client uses now. */
export function placeOf({ shared, upstream }: Session): string {
  return shared?.upstreamKey ?? upstream.name;
}

/** Whether the client sleeps, has disconnected, or is lost. */
export function isDormant({ state }: Pick<Session, "state">): boolean {
  return state !== "active" && state !== "awake";
}

/**
 * Whether the gateway may send to the client without a request. (Answers to the client's messages are always allowed.)
 */
export function isReachable(session: Session): boolean {
  return session.peer !== undefined && (session.state === "active" || session.state === "awake");
}
