/**
 * All decisions of the gateway, without I/O: datagrams, answers of the broker and the time go in, effects come out.
 *
 * This file finds the procedure for each input. The procedures are in dialects/ (messages of clients) and inputs/ (all
 * other inputs). It also ends the turn: the outboxes are checked, everything that must survive a crash becomes one
 * commit, and the effects leave.
 */

import { assertNever } from "./assert.ts";
import { purge } from "./broker/dead-letters.ts";
import { onCopiesKnown } from "./broker/lanes.ts";
import { onRetainedDeadline } from "./broker/retained.ts";
import { onPong, sendWaiting } from "./broker/sending.ts";
import { advertise, removeClientStatus } from "./broker/service.ts";
import { ask, sessionsOf } from "./broker/shared-subscriptions.ts";
import { Context } from "./context.ts";
import type { Core } from "./core.ts";
import { CoreView } from "./core-view.ts";
import { type Dialects, dialectOf } from "./dialects/dialect.ts";
import { v12 } from "./dialects/v12.ts";
import type { Effect } from "./effect.ts";
import type { Input } from "./input.ts";
import { onAccessChanged, reviewFirst, reviewSome } from "./inputs/access.ts";
import { onBrokerAck } from "./inputs/broker-ack.ts";
import { onCustodyDeadline } from "./inputs/connection-end.ts";
import { purgeDownlink, sendByOperator } from "./inputs/downlink.ts";
import { noteHeard, onQuietDeadline } from "./inputs/leaving.ts";
import { onLinkDown, onLinkRefused, onLinkUp } from "./inputs/link.ts";
import { settleNotAllowed } from "./inputs/not-allowed.ts";
import { purgeUplink } from "./inputs/purge-uplink.ts";
import { republish } from "./inputs/republish.ts";
import { onRestored } from "./inputs/restore.ts";
import {
  askForSessions,
  finishRestoring,
  handleReady,
  onLoaded,
  openFirst,
  waitsForAll,
  waitsForSession,
} from "./inputs/restoring.ts";
import { onShutdown } from "./inputs/shutdown.ts";
import { onStoodStill } from "./inputs/stood-still.ts";
import { isBeyondStore, onPersisted, onPersistFailed, probeStore, watchStore } from "./inputs/store-trouble.ts";
import type { CoreEnvironment, CoreOptions } from "./options.ts";
import { peerBehind } from "./peer-id.ts";
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
import { recordOf } from "./session/session-record.ts";
import { moveOn } from "./session/turn-end.ts";
import { CheckMemory, checkInvariants } from "./state/check.ts";
import type { Link } from "./state/link.ts";
import type { Restoring } from "./state/restoring.ts";
import type { Instant, LinkId, PeerId } from "./types.ts";

export type { PublicationHeard } from "./core-view.ts";
export type { PacketView, SessionView } from "./session/session-view.ts";

/**
 * Deadlines handled in one call of `timeout`; the rest is handled in the next call, so that other work waits some
 * milliseconds at most.
 */
const deadlinesPerTimeout = 50;

export class GatewayCore extends CoreView implements Core {
  readonly #context: Context;
  readonly #dialects: Dialects;
  /** Made by the first check. A gateway in operation has none. */
  #checkMemory: CheckMemory | undefined = undefined;

  /** `dialects`: the supported versions of MQTT-SN. */
  constructor(options: CoreOptions, environment: CoreEnvironment, dialects: Dialects = [v12]) {
    const context = new Context(options, environment, dialects);
    super(context, dialects);
    this.#dialects = dialects;
    this.#context = context;
    context.deadlines.set(context.start, 0);
  }

  handle(input: Input, now: Instant): readonly Effect[] {
    const context = this.#context;
    context.beginTurn(now);
    if (!context.stopping) this.#take(input);
    context.askedPayloads = undefined;
    if (context.restoring) this.#handleReady(context.restoring);
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
          if (context.restoring?.isComplete === false) openFirst(context);
          else finishRestoring(context);
          break;
        case "release":
          if (context.restoring) this.#handleReady(context.restoring);
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
        case "review":
          reviewSome(context);
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
    if (context.restoring && waitsForAll(context, context.restoring, input)) return;
    switch (input.kind) {
      case "restored":
        onRestored(context, input);
        if (input.isComplete) this.#allRestored();
        return;
      case "loaded":
        return onLoaded(context, input);
      case "fetched": {
        const session = context.sessions.byClientId(input.clientId);
        if (session) onFetched(context, session, input);
        return;
      }
      case "datagram":
        context.askedPayloads = input.payloads;
        return onDatagram(context, this.#dialects, input);
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

  /**
   * All sessions are restored. If deadlines are handled already, what had to wait for this begins now; otherwise the
   * first deadline begins it.
   */
  #allRestored(): void {
    const context = this.#context;
    if (context.start.at === undefined) finishRestoring(context);
    else if (context.restoring) context.restoring.isComplete = true;
  }

  /** Inputs that waited for a session are handled as if they came now. */
  #handleReady(restoring: Restoring): void {
    handleReady(this.#context, restoring, (input) => {
      this.#take(input);
      this.#context.askedPayloads = undefined;
    });
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
    if (context.restoring) askForSessions(context, context.restoring);
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

function onDatagram(context: Context, dialects: Dialects, input: Extract<Input, { kind: "datagram" }>): void {
  const { from, bytes } = input;
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
  const { restoring } = context;
  if (!heard.ok) {
    // The answer would tell the client that it has no session.
    if (restoring?.isComplete === false && !context.sessions.hasAt(peer))
      return context.drop("malformed", { peer, detail: "its session may not be restored yet" });
    return dialect.onUnreadable(context, peer, heard, bytes);
  }
  const { message } = heard;
  const isLoose = restoring !== undefined && dialect.publishIn(message)?.qos === -1;
  if (restoring && !isLoose && waitsForSession(context, restoring, { input, peer, message })) return;
  context.counters.countReceived(message.type);
  if (isBeyondStore(context, message))
    return context.drop("store-failing", { peer, detail: `${message.type}: too much waits for the store` });
  if (context.accessReview.isOpen) reviewFirst(context, peer);
  dialect.onMessage(context, peer, message);
  if (restoring?.waitsAt(peer) && context.sessions.hasAt(peer)) restoring.release(peer);
}
