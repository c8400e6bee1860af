/**
 * The outcome of a CONNECT: accepted, refused, or given up. [MQTT-SN 1.2 §6.2; interpretation 1, 4]
 *
 * The CONNACK says what the broker has answered. If the client's policy is to store, the client is accepted without the
 * broker.
 */
import { awaitCustody, detach } from "../broker/links.ts";
import type { Context } from "../context.ts";
import { connAck } from "../messages.ts";
import type { Caller, PendingConnect } from "../state/pending-connect.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";
import type { Reason } from "../words.ts";
import { isStoreAndForward } from "./backlog.ts";
import { changeState } from "./client-life.ts";
import { disconnectClient } from "./departure.ts";
import { stopInFlight } from "./drop.ts";
import { detachInFlight } from "./duplicates.ts";
import { endSession } from "./end.ts";
import { forgetPendingConnect } from "./pending-connects.ts";
import { moveTo } from "./session-record.ts";
import { tryAgainSoon } from "./unanswered.ts";

/** The broker has accepted the client, or the gateway does it in place of the broker. */
export function completePendingConnect(context: Context, session: Session, pending: PendingConnect<Session>): void {
  const { message, peer } = pending;
  forgetPendingConnect(context, pending);
  if (session.broker.link?.up && !session.shared) context.acceptedByBroker.note(session.clientId);
  session.awaitsForwarding = false;
  session.dialect = pending.dialect;
  session.rightsBy = undefined; // another device at the same address may have proved another name since
  moveTo(context, session, peer);
  session.boundTo = context.proofAt(peer);
  session.clean = message.cleanSession;
  session.predefined = context.predefined;
  session.keepAliveSeconds = message.duration;
  session.lastHeard = context.now;
  stopInFlight(context, session);
  session.outbox.allowance = Number.POSITIVE_INFINITY;
  tryAgainSoon(context, session);
  if (!pending.wakes) {
    session.registry.forgetKnown();
    detachInFlight(context, session);
  }
  const { will, cleanSession, duration } = message;
  const byWillMsg = pending.willTopic !== undefined;
  session.lastConnect = { will, cleanSession, duration, at: context.now, byWillMsg, nothingSince: true };
  changeState(context, session, "connect", "CONNECT");
  context.tell(pending, connAck("accepted"));
}

/** A CONNECT over a shared connection. It needs no answer of the broker, which does not know the clients. */
export function connectOverShared(
  context: Context,
  shared: SharedConnection<Session>,
  session: Session,
  pending: PendingConnect<Session>,
): void {
  if (shared.broker.link?.up) return completePendingConnect(context, session, pending);
  if (waitsForNext(context, shared, session)) return;
  if (shared.isAway) completeOrFail(context, session, pending, "the broker is away");
  else if (isStoreAndForward(context, session.clientId)) completePendingConnect(context, session, pending); // at the start of the gateway
}

/**
 * The broker has just closed the connection, perhaps because of a packet of another client, and no attempt to connect has failed since. A
 * client that needs the broker waits for the next connection, at most some seconds.
 */
export function waitsForNext(context: Context, shared: SharedConnection<Session>, session: Session): boolean {
  const id = shared.broker.link?.id;
  const link = id && context.links.get(id);
  if (!link?.wasUp || link.isMissed || context.now >= link.answersFrom) return false;
  if (isStoreAndForward(context, session.clientId)) return false;
  awaitCustody(context, link);
  return true;
}

/** Clients that wait for the broker get "congestion", unless it has just closed the connection and may accept the next one soon. */
export function failPendingConnects(context: Context, shared: SharedConnection<Session>, reason: string): void {
  for (const pending of pendingConnectsOf(context, shared)) {
    const { session } = pending;
    if (session && !waitsForNext(context, shared, session)) completeOrFail(context, session, pending, reason);
  }
}

/** CONNECTs that wait for the broker over this connection. */
export function pendingConnectsOf(context: Context, shared: SharedConnection<Session>): PendingConnect<Session>[] {
  return [...context.pendingConnects.values()].filter(
    ({ stage, session }) => stage === "broker" && session?.shared === shared,
  );
}

export function completeOrFail(
  context: Context,
  session: Session,
  pending: PendingConnect<Session>,
  why: string,
): void {
  if (goOnWithoutBroker(context, session, pending)) return;
  failPendingConnect(context, session, pending, { reason: "congestion", why });
}

/** The broker did not answer, or is away. A client that the gateway knows continues without the broker. */
export function goOnWithoutBroker(context: Context, session: Session, pending: PendingConnect<Session>): boolean {
  if (!isTrusted(context, session, pending)) return false;
  completePendingConnect(context, session, pending);
  return true;
}

/**
 * Whether this client may connect while the broker is away: the broker has accepted it before, and its policy is to
 * store.
 */
export function isTrusted(context: Context, session: Session, pending: PendingConnect<Session>): boolean {
  // Over a shared connection the broker does not know clients.
  if (session.shared) return isStoreAndForward(context, session.clientId);
  return (
    isStoreAndForward(context, session.clientId) && (!pending.isNew || context.acceptedByBroker.has(session.clientId))
  );
}

/** The broker refused the client: the client gets the reason, as far as MQTT-SN has a return code for it. */
export function failPendingConnect(
  context: Context,
  session: Session,
  pending: PendingConnect<Session>,
  refusal: { reason: Reason; why: string },
): void {
  forgetPendingConnect(context, pending);
  refuseConnect(context, pending, refusal.reason, refusal.why);
  if (pending.isNew) {
    detach(context, session, { how: "disconnect", endSession: session.clean });
    return endSession(context, session, refusal.why);
  }
  // The client keeps sleeping. The link tries again, and the end of the turn continues what the CONNECT delayed.
  if (session.state === "asleep" || session.state === "awake") return;
  if (session.state === "active") return disconnectClient(context, session, refusal.why);
  if (session.awaitsForwarding) return;
  detach(context, session, { how: "disconnect", endSession: false });
}

export function refuseConnect(context: Context, caller: Caller, reason: Reason, why: string): void {
  const { peer, message } = caller;
  const clientId = typeof message.clientId === "string" ? message.clientId : "";
  context.out.report({ event: "connect_refused", clientId, peer, reason, why });
  // A client that gets "congestion" will try again. For a permanent refusal, a short answer is enough.
  if (reason === "congestion" || context.mayAnswer(peer)) context.tell(caller, connAck(reason));
  else context.drop("too-many-answers", { clientId, peer, detail: "CONNECT" });
}

/** Cancels an open CONNECT for which no client waits any more. */
export function cancelPendingConnect(context: Context, pending: PendingConnect<Session>): void {
  const { session } = pending;
  forgetPendingConnect(context, pending);
  if (!session) return;
  if (pending.isNew) {
    detach(context, session, { how: "disconnect", endSession: session.clean });
    endSession(context, session, "CONNECT given up");
  } else if ((session.state === "disconnected" || session.state === "lost") && !session.awaitsForwarding) {
    detach(context, session, { how: "disconnect", endSession: false });
  }
}

/** Incomplete CONNECTs are forgotten without an answer; one that waits for the broker gets "congestion". */
export function onPendingConnectDeadline(context: Context, pending: PendingConnect<Session>): void {
  if (pending.stage === "broker" && pending.session) {
    if (!pending.session.upstream.isThere && goOnWithoutBroker(context, pending.session, pending)) return;
    return failPendingConnect(context, pending.session, pending, {
      reason: "congestion",
      why: "no answer from the broker",
    });
  }
  cancelPendingConnect(context, pending);
}
