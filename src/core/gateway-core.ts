/**
 * All decisions of the gateway, without I/O: datagrams, answers of the broker and the time go in, effects come out.
 *
 * This file finds the procedure for each input. The procedures are in dialects/ (messages of clients) and inputs/ (all
 * other inputs). It also ends the turn: the outboxes are looked at, everything that must survive a crash becomes one
 * commit, and the effects leave.
 */

import { assertNever } from "./assert.ts";
import { purge } from "./broker/dead-letters.ts";
import { onCopiesKnown, settleLanes } from "./broker/lanes.ts";
import { onRetainedDeadline } from "./broker/retained.ts";
import { onPong, sendWaiting } from "./broker/sending.ts";
import { advertise, removeClientStatus } from "./broker/service.ts";
import { ask, sessionsOf } from "./broker/shared-subscriptions.ts";
import { fromBroker } from "./broker/topic-prefix.ts";
import { Context, type GatewayDeadline } from "./context.ts";
import type { Core } from "./core.ts";
import type { Counters } from "./counters.ts";
import { Deadline } from "./deadlines.ts";
import { type Dialects, dialectOf } from "./dialects/dialect.ts";
import { v12 } from "./dialects/v12.ts";
import type { Effect } from "./effect.ts";
import type { Input } from "./input.ts";
import { onAccessChanged } from "./inputs/access.ts";
import { onBrokerAck } from "./inputs/broker-ack.ts";
import { onCustodyDeadline } from "./inputs/connection-end.ts";
import { purgeDownlink, sendByOperator } from "./inputs/downlink.ts";
import { noteHeard, onQuietDeadline, openLeavings } from "./inputs/leaving.ts";
import { onLinkDown, onLinkRefused, onLinkUp } from "./inputs/link.ts";
import { settleNotAllowed } from "./inputs/not-allowed.ts";
import { purgeUplink } from "./inputs/purge-uplink.ts";
import { republish } from "./inputs/republish.ts";
import { onRestored } from "./inputs/restore.ts";
import { finishMoves } from "./inputs/restore-moved.ts";
import { askForOwed } from "./inputs/restore-shared.ts";
import { onShutdown } from "./inputs/shutdown.ts";
import { onStoodStill } from "./inputs/stood-still.ts";
import { isBeyondStore, onPersisted, onPersistFailed, probeStore, watchStore } from "./inputs/store-trouble.ts";
import type { CoreEnvironment, CoreOptions } from "./options.ts";
import { peerBehind } from "./peer-id.ts";
import type { SessionRecord } from "./record.ts";
import { drainAllSoon, drainSoon } from "./session/backlog.ts";
import { onDrainDeadline, onFetched } from "./session/backlog-drain.ts";
import { silenceAllowedMs } from "./session/client-life.ts";
import { onPendingConnectDeadline } from "./session/connect-outcome.ts";
import { dropExpired, onDelivered, onReleased } from "./session/deliver.ts";
import { endByOperator, onSilenceDeadline } from "./session/departure.ts";
import { onClockSet } from "./session/expiry.ts";
import { onSharedDelivered } from "./session/fan-out.ts";
import { onParkDeadline } from "./session/park.ts";
import { onRetryDeadline } from "./session/publish-down.ts";
import { publicationNamed } from "./session/publish-topic.ts";
import { recordOf } from "./session/session-record.ts";
import { type PacketView, packetsOf, type SessionView, viewOf } from "./session/session-view.ts";
import { moveOn } from "./session/turn-end.ts";
import { CheckMemory, checkInvariants } from "./state/check.ts";
import type { Link } from "./state/link.ts";
import type { ClientState, Instant, LinkId, PeerId } from "./types.ts";

export type { PacketView, SessionView } from "./session/session-view.ts";

/**
 * Deadlines handled in one call of `timeout`; the rest is handled in the next call, so that other work waits some
 * milliseconds at most.
 */
const deadlinesPerTimeout = 50;

export class GatewayCore implements Core {
  readonly #context: Context;
  readonly #dialects: Dialects;
  /** Made by the first check: a gateway at work has none. */
  #checkMemory: CheckMemory | undefined = undefined;

  /** `dialects`: the supported versions of MQTT-SN. */
  constructor(options: CoreOptions, environment: CoreEnvironment, dialects: Dialects = [v12]) {
    this.#dialects = dialects;
    this.#context = new Context(options, environment, dialects);
    const start: GatewayDeadline = new Deadline("gateway", "start");
    this.#context.deadlines.set(start, 0);
  }

  handle(input: Input, now: Instant): readonly Effect[] {
    const context = this.#context;
    context.beginTurn(now);
    if (!context.stopping) this.#take(input);
    context.askedPayloads = undefined;
    return this.#endTurn();
  }

  timeout(now: Instant): readonly Effect[] {
    const context = this.#context;
    context.beginTurn(now);
    for (let i = 0; i < deadlinesPerTimeout && !context.stopping; i++) {
      context.sessions.unparkDue(now);
      const deadline = context.deadlines.takeDue(now);
      if (!deadline) break;
      switch (deadline.name) {
        case "silence":
          onSilenceDeadline(context, deadline.owner);
          break;
        case "park":
          onParkDeadline(context, deadline.owner);
          break;
        case "retry":
          context.touch(deadline.owner);
          onRetryDeadline(context, deadline.owner);
          break;
        case "expiry":
          context.touch(deadline.owner);
          dropExpired(context, deadline.owner);
          break;
        case "pendingConnect":
          onPendingConnectDeadline(context, deadline.owner);
          break;
        case "start":
          finishMoves(context);
          settleLanes(context);
          askForOwed(context);
          openLeavings(context);
          break;
        case "advertise":
          advertise(context);
          break;
        case "retest":
          sendWaiting(context, deadline.owner.broker);
          break;
        case "custody":
          onCustodyDeadline(context, deadline.owner);
          break;
        case "drain":
          onDrainDeadline(context);
          break;
        case "retained":
          onRetainedDeadline(context);
          break;
        case "quiet":
          onQuietDeadline(context, deadline.owner);
          break;
        case "probe":
          probeStore(context);
          break;
        default:
          assertNever(deadline);
      }
    }
    return this.#endTurn();
  }

  nextDeadline(): Instant | undefined {
    const { stopping, deadlines, sessions } = this.#context;
    if (stopping) return undefined;
    const [next, parked] = [deadlines.next(), sessions.nextParkedDue];
    return next === undefined || (parked !== undefined && parked < next) ? parked : next;
  }

  isConnecting(peer: PeerId): boolean {
    return this.#context.pendingConnects.has(peer);
  }

  /** Plain numbers for metrics; read, do not write. */
  get counters(): Counters {
    return this.#context.counters;
  }

  /** True if every broker can be reached, as far as the gateway's own connections show. */
  get brokerThere(): boolean {
    return this.#context.upstreams.all.every(({ isThere }) => isThere);
  }

  /** The same for each upstream; "" is the default one. */
  get brokersThere(): readonly { readonly name: string; readonly isThere: boolean }[] {
    return this.#context.upstreams.all.map(({ name, isThere }) => ({ name, isThere }));
  }

  /** Did the store refuse the last commit? */
  get storeFails(): boolean {
    return this.#context.storeFails;
  }

  /** Sessions in each state. They are counted when they change, because there may be many. */
  get sessionsByState(): Readonly<Record<ClientState, number>> {
    return this.#context.sessions.byState;
  }

  /** Sizes of the tables, for metrics and tests. */
  get sizes(): {
    readonly sessions: number;
    readonly pendingConnects: number;
    readonly links: number;
    readonly deadlines: number;
    /** Sessions that are no objects now; they are counted in `sessions` too. */
    readonly parked: number;
    /** Filters of parked sessions that are no objects now. */
    readonly restingFilters: number;
    /** Clients without a session whose use of their limits is remembered. */
    readonly allowances: number;
  } {
    const { sessions, pendingConnects, links, deadlines, allowances, upstreams } = this.#context;
    return {
      sessions: sessions.size,
      pendingConnects: pendingConnects.size,
      links: links.size,
      deadlines: deadlines.size + sessions.parked,
      parked: sessions.parked,
      restingFilters: restingFilters(upstreams),
      allowances: allowances.size,
    };
  }

  /** True if this dead letter is still kept. */
  hasLetter(id: number): boolean {
    return this.#context.letters.present.has(id);
  }

  /** Dead letters that are kept. */
  get letters(): number {
    return this.#context.letters.present.size;
  }

  /** The session of one client, and its record; undefined: the client has no session. */
  session(clientId: string): { readonly view: SessionView; readonly record: SessionRecord } | undefined {
    const session = this.#context.sessions.look(clientId);
    return session && { view: viewOf(session), record: recordOf(session) };
  }

  /** The client at this address, or the one that is connecting from it; undefined: none. */
  clientAt(peer: PeerId): string | undefined {
    const { pendingConnects, sessions } = this.#context;
    return pendingConnects.get(peer)?.clientId ?? sessions.lookAt(peer)?.clientId;
  }

  /**
   * The sender's identity, as far as the datagram contains one or the address is known; behind a forwarder, the node.
   */
  whoSays(from: PeerId, bytes: Uint8Array): { readonly peer: PeerId; readonly clientId: string | undefined } {
    const heard = dialectOf(this.#context, this.#dialects, from, bytes).decode(bytes);
    const peer = heard.forwarded ? peerBehind(from, heard.forwarded.nodeId) : from;
    const said = heard.ok && "clientId" in heard.message ? heard.message.clientId : undefined;
    return { peer, clientId: typeof said === "string" && said !== "" ? said : this.clientAt(peer) };
  }

  /**
   * The publication in this datagram, as the payload policy sees it, and its sender (behind a forwarder, the node).
   * Changes nothing.
   */
  publicationIn(from: PeerId, bytes: Uint8Array): { readonly peer: PeerId; readonly publication?: PublicationHeard } {
    const context = this.#context;
    const dialect = dialectOf(context, this.#dialects, from, bytes);
    const heard = dialect.decode(bytes);
    const peer = heard.forwarded ? peerBehind(from, heard.forwarded.nodeId) : from;
    const message = heard.ok ? dialect.publishIn(heard.message) : undefined;
    const session = message && context.sessions.lookAt(peer);
    const named = message && publicationNamed(context, { peer, session }, message);
    return named ? { peer, publication: { ...named, clientId: session?.clientId } } : { peer };
  }

  /**
   * The client of this delivery, and the topic name that clients use; undefined: none. On a shared connection
   * `clientId` is undefined.
   */
  deliveryFor(
    linkId: LinkId,
    topicName: string,
  ): { readonly clientId: string | undefined; readonly topicName: string } | undefined {
    const link = this.#context.links.get(linkId);
    const name = link && fromBroker(link.upstream.options.topicPrefix, topicName);
    if (name === undefined || (!link?.session && !link?.shared)) return undefined;
    return { clientId: link.session?.clientId, topicName: name };
  }

  /** The topic name of this id for this client, registered or predefined; undefined: not known. */
  topicName(clientId: string, topicId: number, isPredefined: boolean): string | undefined {
    const session = this.#context.sessions.look(clientId);
    if (!isPredefined) return session?.registry.byId(topicId)?.name;
    const predefined = session?.predefined ?? this.#context.predefined;
    return predefined.byClientId.get(clientId)?.get(topicId) ?? predefined.forAll.get(topicId);
  }

  /** Every topic name and filter of each client. A large gateway has many, so they are read on demand only. */
  *topicUses(): IterableIterator<{ readonly name: string; readonly isFilter: boolean; readonly clientId: string }> {
    for (const { clientId, registry, subscriptions } of this.#context.sessions.each()) {
      for (const { name } of registry.topics()) yield { name, isFilter: false, clientId };
      for (const name of subscriptions.keys()) yield { name, isFilter: true, clientId };
    }
  }

  /** Each broker by the name of its upstream ("" = the default one). */
  brokers(): readonly { readonly name: string; readonly isThere: boolean }[] {
    return this.#context.upstreams.all.map(({ name, isThere }) => ({ name, isThere }));
  }

  /** Messages of this client on the way to the broker; undefined: the client has no session. */
  underWay(clientId: string): readonly PacketView[] | undefined {
    const session = this.#context.sessions.look(clientId);
    return session && packetsOf(session);
  }

  /** Records of the client's backlog on disk from this number on are not in flight. */
  firstUnsent(clientId: string): number {
    const backlog = this.#context.sessions.look(clientId)?.account.backlog;
    return backlog ? (backlog.head[0]?.id ?? backlog.readUpTo + 1) : 0;
  }

  /** Every session, as a read-only picture of the moment. */
  *sessions(): IterableIterator<SessionView> {
    for (const session of this.#context.sessions.each()) yield viewOf(session);
  }

  /**
   * Checks the invariants after a turn, for tests. It must be called after each turn, because it derives the stored
   * data from the effects.
   * @throws {AssertionError} with the client and the rule that is broken.
   */
  check(turn: { readonly input: Input | undefined; readonly effects: readonly Effect[] }): void {
    const context = this.#context;
    this.#checkMemory ??= new CheckMemory();
    checkInvariants(context, turn, this.#checkMemory, {
      recordOf,
      silenceAllowedMs: (session) => silenceAllowedMs(context, session),
    });
  }

  #take(input: Input): void {
    const context = this.#context;
    switch (input.kind) {
      case "restored":
        return onRestored(context, input);
      case "fetched": {
        const session = context.sessions.byClientId(input.clientId);
        if (session) onFetched(context, session, input);
        return;
      }
      case "datagram":
        context.askedPayloads = input.payloads;
        return onDatagram(context, this.#dialects, input.from, input.bytes);
      case "delivered": {
        context.askedPayloads = input.payloads;
        const link = this.#linkOf(input.linkId);
        if (link?.shared?.isLeaving) noteHeard(context, link.shared);
        if (link?.shared) onSharedDelivered(context, link.shared, link, input);
        else if (link?.session) onDelivered(context, link.session, link, input);
        return;
      }
      case "brokerAck": {
        const link = this.#linkOf(input.linkId);
        if (link) onBrokerAck(context, link, input);
        return;
      }
      case "released": {
        const link = this.#linkOf(input.linkId);
        if (link) onReleased(context, link, input.packetId);
        return;
      }
      case "linkUp": {
        const link = this.#linkOf(input.linkId);
        if (link && input.elsewhere) link.broker.sessionUncertain = true;
        if (link) onLinkUp(context, link, input.sessionPresent, input.limits);
        return;
      }
      case "linkRefused": {
        const link = this.#linkOf(input.linkId);
        if (link) onLinkRefused(context, link, input);
        return;
      }
      case "linkDown": {
        const link = this.#linkOf(input.linkId);
        if (link) onLinkDown(context, link, input);
        return;
      }
      case "pong": {
        const link = this.#linkOf(input.linkId);
        if (link) onPong(context, link);
        return;
      }
      case "linkCongested": {
        const link = this.#linkOf(input.linkId);
        if (!link) return;
        link.congested = input.congested;
        if (input.congested) return;
        if (link.session) drainSoon(context, link.session);
        if (link.shared) drainAllSoon(context, sessionsOf(context, link.shared));
        return;
      }
      case "copiesKnown":
        for (const [shared, entry] of onCopiesKnown(context, input)) ask(context, shared, entry);
        return;
      case "peerGone":
        return; // not a DISCONNECT: the session is kept under its client id until it expires
      case "persisted":
        context.journal.settle(input.token);
        return onPersisted(context, input.token);
      case "persistFailed":
        return onPersistFailed(context, input.token, input.reason);
      case "predefinedChanged":
        context.predefined = input.predefined;
        return;
      case "payloadsChanged":
        context.declaredPayloads = input.payloads;
        return;
      case "stateUnwanted":
        return removeClientStatus(context, input.clientId);
      case "accessChanged":
        return onAccessChanged(context, input.access);
      case "dropSession":
        return endByOperator(context, input.clientId);
      case "republish":
        context.askedPayloads = input.payloads;
        return republish(context, input.letters);
      case "purge":
        return purge(context, input.ids);
      case "stoodStill":
        return onStoodStill(context, input.ms);
      case "purgeUplink":
        return purgeUplink(context, input);
      case "purgeDownlink":
        return purgeDownlink(context, input.clientId);
      case "sendDown":
        return sendByOperator(context, input.clientId, input.publication);
      case "clockSet":
        return onClockSet(context);
      case "shutdown":
        return onShutdown(context);
      default:
        return assertNever(input);
    }
  }

  /** The connection that an input is about; with it, the session that it serves. */
  #linkOf(linkId: LinkId): Link | undefined {
    const link = this.#context.links.get(linkId);
    if (link?.session) this.#context.touch(link.session);
    return link;
  }

  #endTurn(): readonly Effect[] {
    const context = this.#context;
    if (context.notAllowed.length > 0) settleNotAllowed(context);
    if (!context.stopping) moveOn(context);
    if (context.notAllowed.length > 0) settleNotAllowed(context);
    context.sessions.endTurn();
    const behind = context.journal.flush();
    watchStore(context);
    const { reads } = context.drain;
    if (reads.length > 0) for (const read of reads.splice(0)) context.out.add(read);
    return context.out.take(behind);
  }
}

function restingFilters({ all }: Context["upstreams"]): number {
  let resting = 0;
  for (const upstream of all) for (const { filters } of upstream.allShared()) resting += filters.resting;
  return resting;
}

function onDatagram(context: Context, dialects: Dialects, from: PeerId, bytes: Uint8Array): void {
  context.octetsHeard = bytes.byteLength;
  const dialect = dialectOf(context, dialects, from, bytes);
  const heard = dialect.decode(bytes);
  let peer = from;
  if (heard.forwarded) {
    const admission = context.access.forwarder(from, context.environment.identityOf(from));
    if (!admission.admitted) {
      context.counters.dropped["encapsulation-not-allowed"]++;
      return context.out.report({
        event: "not_admitted",
        clientId: undefined,
        peer: from,
        what: "forwarder",
        hint: admission.hint,
      });
    }
    peer = peerBehind(from, heard.forwarded.nodeId);
  }
  if (!heard.ok) return dialect.onUnreadable(context, peer, heard, bytes);
  const { message } = heard;
  context.counters.countReceived(message.type);
  if (isBeyondStore(context, message))
    return context.drop("store-failing", { peer, detail: `${message.type}: too much waits for the store` });
  dialect.onMessage(context, peer, message);
}

/** The publication in a datagram, before anything is decided about it. */
export interface PublicationHeard {
  /** Undefined: the sender has no session. */
  readonly clientId: string | undefined;
  readonly topicName: string;
  readonly payload: Uint8Array;
}
