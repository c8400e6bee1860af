/**
 * The link of a shared connection. This file opens it at the start, and handles its loss and its return for the clients
 * that share it.
 *
 * If the session at the broker belongs to somebody else, or to a run whose store is gone, the gateway ends it first,
 * because its subscriptions are unknown. The gateway's own session outlives every connection and, with a store, the
 * gateway. While the broker is away, no client gets DISCONNECT: clients stay connected, and their requests are stored
 * or refused, as their policy says.
 */

import { askForCopies } from "../broker/lanes.ts";
import { awaitCustody, closeLink, openShared } from "../broker/links.ts";
import { resendAll } from "../broker/sending.ts";
import { onServiceDown, onServiceUp } from "../broker/service.ts";
import { recordOfShared } from "../broker/shared-record.ts";
import { askAll, askMore, sessionsOf } from "../broker/shared-subscriptions.ts";
import type { Context } from "../context.ts";
import { drainAllSoon, isStoreAndForward } from "../session/backlog.ts";
import { completePendingConnect, failPendingConnects, pendingConnectsOf } from "../session/connect-outcome.ts";
import { onAllForwarded } from "../session/departure.ts";
import { failPendingRequests } from "../session/subscribe.ts";
import { publishWill } from "../session/will-delivery.ts";
import type { Link } from "../state/link.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";
import { brokerForgot } from "./broker-forgot.ts";
import { answerWithoutBroker } from "./connection-end.ts";
import { onLeavingUp } from "./leaving.ts";

export function onSharedUp(
  context: Context,
  shared: SharedConnection<Session>,
  link: Link,
  sessionPresent: boolean,
): void {
  const { broker } = shared;
  if (shared.isLeaving) return onLeavingUp(context, shared, link, sessionPresent);
  if (link.clean) {
    // The old session has ended; now the connection for the permanent session is made.
    closeLink(context, broker, { how: "disconnect", endSession: true });
    shared.resumes = true;
    openShared(context, link.upstream, shared);
    return waitOn(context, shared);
  }
  shared.isAway = false;
  context.journal.mark({ clientId: shared.key }, () => recordOfShared(shared));
  broker.connection++;
  if (!sessionPresent) brokerForgot(context, broker, shared);
  else if (broker.sessionUncertain) askAll(context, shared);
  // While sessions are restored, nothing is subscribed to again; this is done at the end.
  broker.sessionUncertain = context.restoring?.isComplete === false;
  resendAll(context, broker);
  askMore(context, shared);
  askForCopies(context, shared);
  for (const pending of pendingConnectsOf(context, shared))
    if (pending.session) completePendingConnect(context, pending.session, pending);
  for (const session of sessionsOf(context, shared)) catchUp(context, session);
  drainAllSoon(context, sessionsOf(context, shared));
  if (isService(shared)) onServiceUp(context, link.upstream);
}

/**
 * Requests that waited for the closed connection wait for the next one. If it takes too long, they are answered without
 * it.
 */
function waitOn(context: Context, { broker }: SharedConnection<Session>): void {
  const id = broker.link?.id;
  const link = id && context.links.get(id);
  if (link) awaitCustody(context, link);
}

/** The broker can be reached: what the client waits for continues. */
export function catchUp(context: Context, session: Session): void {
  context.touch(session);
  if (session.awaitsForwarding && session.account.unforwarded === 0) onAllForwarded(context, session);
  else if (session.willPending && session.account.unforwarded === 0) publishWill(context, session);
}

/** The connection ended, could not be made, or was refused. */
export function onSharedAway(context: Context, shared: SharedConnection<Session>, reason: string): void {
  const id = shared.broker.link?.id;
  const link = id && context.links.get(id);
  if (link && !link.wasUp && !shared.isAway) link.answersFrom = context.now; // the first attempt has failed
  shared.isAway = true;
  shared.broker.cut(context.now);
  if (shared.isLeaving) return tellHeldBack(context, shared, reason);
  const stored: Session[] = [];
  for (const session of sessionsOf(context, shared)) {
    if (session.publishesInFlight.size === 0 && session.subscribesInFlight.size === 0) continue;
    if (isStoreAndForward(context, session.clientId)) stored.push(session);
    else failPendingRequests(context, session);
  }
  if (link && stored.length > 0) answerWithoutBroker(context, link, stored);
  failPendingConnects(context, shared, reason);
  if (isService(shared)) onServiceDown(context);
}

/** Connections that may be made only after this one is left are not available either. */
function tellHeldBack(context: Context, left: SharedConnection<Session>, reason: string): void {
  const upstream = context.upstreams.all.find(({ name }) => name === left.upstreamName);
  for (const shared of upstream?.sharedConnections ?? [])
    if (!shared.broker.link) onSharedAway(context, shared, reason);
}

/** Whether the gateway's own messages use this connection: they use the first one. */
function isService(shared: SharedConnection<Session>): boolean {
  return shared.index === 0 && !shared.isLane;
}
