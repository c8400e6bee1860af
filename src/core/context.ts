/**
 * The state that every procedure uses: the tables, the time of this turn, and the list of effects.
 *
 * One context is one gateway. `now` and the effects belong to the turn; everything else lasts as long as the gateway
 * runs.
 */

import type { AccessPolicy, Admission, Rights, Way } from "./access.ts";
import { Counters } from "./counters.ts";
import { Deadline, Deadlines } from "./deadlines.ts";
import { Effects } from "./effects.ts";
import type { DropReason } from "./event.ts";
import type { PredefinedTopics } from "./input.ts";
import { Journal } from "./journal.ts";
import { linkIdOf } from "./link-id.ts";
import type { CoreEnvironment, CoreOptions, RetryPolicy } from "./options.ts";
import type { PayloadPolicy } from "./payloads.ts";
import { forwardedNodeOf, neighbourOf } from "./peer-id.ts";
import { OncePerSecond, RatePerSecond } from "./rates.ts";
import { assumedDialect, type Listener, type Speech } from "./speech.ts";
import { AccessReview } from "./state/access-review.ts";
import type { Allowance } from "./state/allowance.ts";
import type { BrokerSession, Experience } from "./state/broker-session.ts";
import { DrainQueue } from "./state/drain-queue.ts";
import type { Exchange } from "./state/exchanges.ts";
import { KnownClients } from "./state/known-clients.ts";
import { Letters } from "./state/letters.ts";
import type { Link } from "./state/link.ts";
import type { Move } from "./state/move.ts";
import type { PendingConnect } from "./state/pending-connect.ts";
import { Quarrels } from "./state/quarrels.ts";
import type { Restoring } from "./state/restoring.ts";
import { RetainedWaits } from "./state/retained-waits.ts";
import type { Parking, Session } from "./state/session.ts";
import type { Surroundings } from "./state/session-form.ts";
import { SessionTable } from "./state/session-table.ts";
import type { SharedConnection } from "./state/shared-connection.ts";
import { StoreWatch } from "./state/store-watch.ts";
import { Upstreams } from "./state/upstream.ts";
import type { CommitToken, Instant, LinkId, PeerId, PeerIdentity } from "./types.ts";
import type { ToClient } from "./words.ts";

export type GatewayDeadline = Deadline<
  "gateway",
  "start" | "release" | "advertise" | "drain" | "probe" | "retained" | "review"
>;

export type AnyDeadline =
  | Session["silence"]
  | Session["retry"]
  | Session["expiry"]
  | Parking["deadline"]
  | PendingConnect<Session>["expiry"]
  | NonNullable<Link["retest"]>
  | NonNullable<Link["custody"]>
  | Deadline<SharedConnection<Session>, "quiet">
  | GatewayDeadline;

const toldRightsMax = 1_000;

/**
 * Answers per second to one address: enough for some devices behind a forwarder, and too few to be used in an attack.
 */
const answersPerAddressMax = 6;

export class Context implements Surroundings {
  readonly options: CoreOptions;
  readonly environment: CoreEnvironment;
  /** The dialects of this gateway. */
  readonly dialects: readonly [Speech, ...Speech[]];
  now: Instant = 0;
  /** Size of the datagram that this turn is about. */
  octetsHeard = 0;
  readonly counters = new Counters();
  readonly out = new Effects(this.counters);
  readonly deadlines = new Deadlines<AnyDeadline>();
  readonly sessions: SessionTable;
  /**
   * Sessions that an input of this turn concerns, or that have another reason to continue. At the end of the turn each outbox sends what it
   * can, once (session/turn-end.ts). The sessions stay in this list until the next turn begins.
   */
  readonly touched: Session[] = [];
  /** Open CONNECTs, by peer. */
  readonly pendingConnects = new Map<PeerId, PendingConnect<Session>>();
  readonly links = new Map<LinkId, Link>();
  readonly journal: Journal;
  readonly upstreams: Upstreams<Session>;
  readonly unknownSenders: OncePerSecond;
  /** Answers of all kinds to senders without a session, by address: that of the forwarder for all its nodes. */
  readonly answers: RatePerSecond;
  readonly newSessions: RatePerSecond;
  predefined: PredefinedTopics;
  /** The policy of the declarations; see `payloads`. */
  declaredPayloads: PayloadPolicy | undefined;
  /** The policy for the present input, if scripts have already answered for it. */
  askedPayloads: PayloadPolicy | undefined = undefined;
  /** The access rules in use. */
  access: AccessPolicy;
  /** The limits of clients without a session. */
  readonly allowances = new Map<string, Allowance>();
  /** Publications at QoS -1, by host. */
  readonly withoutConnection = new RatePerSecond({ totalMax: 0, perKeyMax: 1 });
  /**
   * Missing rights that were reported, by direction, client and topic. The oldest entry is forgotten, and is then
   * reported again.
   */
  readonly toldRights = new Set<string>();
  /**
   * Exchanges that this turn could not send because a right is missing. They are ended when the turn ends
   * (inputs/not-allowed.ts).
   */
  readonly notAllowed: { readonly broker: BrokerSession<Session>; readonly exchange: Exchange<Session> }[] = [];
  /** While sessions are restored: what is to be done again over another connection. See inputs/restore-moved.ts. */
  readonly moves: Move[] = [];
  /** Set while sessions of an earlier run are restored and clients are already served. */
  restoring: Restoring | undefined = undefined;
  stopping = false;
  readonly store = new StoreWatch();
  readonly acceptedByBroker: KnownClients;
  readonly drain = new DrainQueue();
  readonly accessReview = new AccessReview();
  readonly letters = new Letters();
  /**
   * What is known about packets of clients whose session ended, as long as it may be useful. The oldest entry is
   * forgotten.
   */
  readonly experience = new Map<string, Experience<Session>>();
  readonly quarrels = new Quarrels();
  /** All sessions of the earlier run are restored, and connections may be opened. */
  readonly start: GatewayDeadline = new Deadline("gateway", "start");
  /** What has waited for sessions of an earlier run can be handled. */
  readonly release: GatewayDeadline = new Deadline("gateway", "release");
  readonly advertise: GatewayDeadline = new Deadline("gateway", "advertise");
  readonly retainedWaits = new RetainedWaits();
  #lastLink = 0;
  readonly #retry: RetryPolicy;

  constructor(options: CoreOptions, environment: CoreEnvironment, dialects: readonly [Speech, ...Speech[]]) {
    this.options = options;
    this.environment = environment;
    this.dialects = dialects;
    this.predefined = options.topics.predefined;
    this.declaredPayloads = options.payloads;
    this.access = options.access;
    const { retryIntervalSeconds, retryLimit } = options.retry;
    this.#retry = { intervalMs: retryIntervalSeconds * 1_000, limit: retryLimit };
    this.upstreams = new Upstreams(options.upstream, options.upstreams, () => environment.random());
    this.sessions = new SessionTable(environment, this, this.deadlines);
    this.journal = new Journal(options.durable, this.out);
    this.acceptedByBroker = new KnownClients(this.journal);
    this.unknownSenders = new OncePerSecond(options.strangerAnswersPerSecondMax);
    this.answers = new RatePerSecond({
      totalMax: options.strangerAnswersPerSecondMax,
      perKeyMax: answersPerAddressMax,
    });
    this.newSessions = new RatePerSecond({
      totalMax: options.clients.newPerSecondMax,
      perKeyMax: options.clients.newPerSecondPerHostMax,
    });
  }

  beginTurn(now: Instant): void {
    this.now = now;
    // Removed one by one, because there is nearly always only one. Setting the length of an array costs as much as the
    // rest of a turn's end.
    while (this.touched.length > 0) this.touched.pop();
  }

  /** The policy for payloads in this turn. */
  get payloads(): PayloadPolicy | undefined {
    return this.askedPayloads ?? this.declaredPayloads;
  }

  /**
   * Marks the session for the end of the turn, because there may be messages for its client, or they may be sent now.
   */
  touch(session: Session): void {
    if (session.touched) return;
    session.touched = true;
    this.touched.push(session);
  }

  /** True if a CONNECT of this client or from its address is open. Earlier answers may then be out of date. */
  isConnecting({ pendingConnect, peer }: Pick<Session, "pendingConnect" | "peer">): boolean {
    return pendingConnect !== undefined || (peer !== undefined && this.pendingConnects.has(peer));
  }

  /**
   * Sends the answer to a request that took some time. If the client has sent CONNECT since, it does not get the answer, because nothing
   * may come before its CONNACK. Requests after this CONNECT are answered.
   */
  answer(session: Pick<Session, "pendingConnect" | "peer" | "dialect">, message: ToClient, after?: CommitToken): void {
    if (!this.isConnecting(session) || this.#wasAskedSince(session, message)) this.tell(session, message, after);
  }

  #wasAskedSince({ pendingConnect, peer }: Pick<Session, "pendingConnect" | "peer">, message: ToClient): boolean {
    if (pendingConnect !== undefined || peer === undefined || !("msgId" in message)) return false;
    return this.pendingConnects.get(peer)?.asked.has(message.msgId) === true;
  }

  /** Sends this message to a client, if its address is known. */
  tell({ peer, dialect }: Listener, message: ToClient, after?: CommitToken): void {
    if (peer !== undefined) this.out.send(dialect, peer, message, after);
  }

  /** Counts and reports an action that is not carried out. */
  drop(reason: DropReason, about: { clientId?: string | undefined; peer?: PeerId | undefined; detail: string }): void {
    this.counters.dropped[reason]++;
    this.out.report({ event: "drop", reason, clientId: about.clientId, peer: about.peer, detail: about.detail });
  }

  /** The dialect of a session of an earlier run. */
  dialectNamed(name: string = assumedDialect): Speech {
    return this.dialects.find((dialect) => dialect.name === name) ?? this.dialects[0];
  }

  /** The store did not accept the last commit, or has not answered a commit for too long. */
  get storeFails(): boolean {
    return this.store.fails;
  }

  nextLinkId(of: string): LinkId {
    return linkIdOf(of, ++this.#lastLink);
  }

  /** How long a peer may repeat a message: T_retry x (N_retry + 1). */
  get repetitionMs(): number {
    const { retryIntervalSeconds, retryLimit } = this.options.retry;
    return retryIntervalSeconds * 1000 * (retryLimit + 1);
  }

  /** Whether this client may be at this peer. */
  admits(clientId: string, peer: PeerId): Admission {
    return this.admitsBound(clientId, peer, this.sessions.byClientId(clientId)?.boundTo);
  }

  /** As `admits`, for a client whose session has this `boundTo`. */
  admitsBound(clientId: string, peer: PeerId, boundTo: string | undefined): Admission {
    return this.#admission(clientId, peer, boundTo, this.neighbourAt(peer));
  }

  /**
   * As `admits`, for a session whose client has sent nothing now: after a restart, and when the rules change. A network that is not open
   * yet, or that has forgotten the device, cannot say how the client proved its identity. So the proof of its last CONNECT counts.
   */
  admitsStill(clientId: string, peer: PeerId, boundTo: string | undefined): Admission {
    return this.#admission(clientId, peer, boundTo, provedBefore(this.neighbourAt(peer), boundTo));
  }

  #admission(clientId: string, peer: PeerId, boundTo: string | undefined, identity: PeerIdentity): Admission {
    if (boundTo !== undefined && boundTo !== proofOf(peer, identity)) {
      const hint = `none: "${clientId}" belongs to ${boundTo}; sessions drop ends its session, if it is to be another's`;
      return { admitted: false, hint };
    }
    const admission = this.access.client(clientId, peer, identity);
    const isProved = identity.verified && forwardedNodeOf(peer) === undefined;
    return admission.admitted && isProved ? { admitted: true, byName: true } : admission;
  }

  /**
   * The topics that this client may use; undefined = all. Called once for each message; nearly always it costs two
   * comparisons.
   */
  rightsOf(session: Session): Rights | undefined {
    const { peer } = session;
    if (session.rightsBy === this.access && (session.rightsAt === peer || peer === undefined)) return session.rights;
    session.rightsBy = this.access;
    session.rightsAt = peer;
    // The network may not be open yet, as in `admitsStill`, and the rights are kept.
    const identity = peer === undefined ? undefined : provedBefore(this.neighbourAt(peer), session.boundTo);
    session.rights = this.access.rightsOf({ clientId: session.clientId, peer, identity });
    return session.rights;
  }

  /** As `rightsOf`, for the holder at this peer. Without a client id: for a sender without a connection. */
  rightsAt(clientId: string | undefined, peer: PeerId | undefined): Rights | undefined {
    const identity = peer === undefined ? undefined : this.neighbourAt(peer);
    return this.access.rightsOf({ clientId, peer, identity });
  }

  /**
   * Counts and reports that a right is missing. The report has the line of configuration that would give the right, and
   * is made once for each client and topic.
   */
  sayNotAllowed(
    rights: Rights,
    about: { clientId: string | undefined; peer: PeerId | undefined; way: Way; topic: string },
  ): void {
    const { clientId, peer, way, topic } = about;
    this.drop("topic-not-allowed", { clientId, peer, detail: `${way} ${topic}` });
    const key = `${way} ${clientId ?? peer ?? ""} ${topic}`;
    if (this.toldRights.has(key)) return;
    const oldest = this.toldRights.size >= toldRightsMax ? this.toldRights.values().next() : undefined;
    if (oldest && !oldest.done) this.toldRights.delete(oldest.value);
    this.toldRights.add(key);
    this.out.report({ event: "topic_not_allowed", clientId, peer, way, topic, hint: rights.hint(way, topic) });
  }

  /** The node that sends the datagrams of this peer: the peer itself, or its forwarder. */
  neighbourAt(peer: PeerId): PeerIdentity {
    return this.environment.identityOf(neighbourOf(peer));
  }

  /**
   * The proved identity of this peer in one word: `psk:dev1`. Undefined: nothing is proved; a node behind a forwarder
   * never proves its identity itself.
   */
  proofAt(peer: PeerId): string | undefined {
    return proofOf(peer, this.environment.identityOf(peer));
  }

  /** Signal strength of a node in dBm. Not known for a node behind a forwarder. */
  rssiAt(peer: PeerId): number | undefined {
    return forwardedNodeOf(peer) ? undefined : this.environment.rssiOf?.(peer);
  }

  isInside(peer: PeerId): boolean {
    return this.access.isInside(peer, this.neighbourAt(peer));
  }

  /** The policy by which messages to this client are repeated. */
  retryOf({ clientId, peer }: Pick<Session, "clientId" | "peer">): RetryPolicy {
    return this.options.retry.policyOf?.(clientId, peer) ?? this.#retry;
  }

  /** How long the gateway repeats a message to this client without an answer. */
  roundMs(session: Pick<Session, "clientId" | "peer">): number {
    const { intervalMs, limit } = this.retryOf(session);
    return intervalMs * (limit + 1);
  }

  /** Whether one more answer may be sent to this address, which has no session. */
  mayAnswer(peer: PeerId): boolean {
    return this.answers.allows(neighbourOf(peer), this.now);
  }

  hostOf(peer: PeerId): string {
    return this.environment.hostOf(neighbourOf(peer));
  }
}

/** The largest message that this peer can take, in octets, after the encapsulation is subtracted. */
export function maxMessageBytes(context: Context, peer: PeerId): number {
  const node = forwardedNodeOf(peer);
  if (!node) return context.environment.maxMessageBytes(peer);
  return context.environment.maxMessageBytes(node.forwarder) - 3 - node.nodeId.length / 2;
}

function proofOf(peer: PeerId, { name, by, verified }: PeerIdentity): string | undefined {
  return verified && !forwardedNodeOf(peer) ? `${by}:${name}` : undefined;
}

/** The identity with the proof of an earlier CONNECT, if it is the same name. */
function provedBefore(identity: PeerIdentity, boundTo: string | undefined): PeerIdentity {
  const by = proofKinds.find((kind) => boundTo === `${kind}:${identity.name}`);
  return by ? { ...identity, by, verified: true } : identity;
}

const proofKinds = ["psk", "certificate", "bond"] as const;
