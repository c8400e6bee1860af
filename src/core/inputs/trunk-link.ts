/**
 * The connection of a trunk: opened at the start, and what its coming and going means for those who share it.
 *
 * A session that the broker keeps from somebody else, or from a life whose store is gone, is ended before ours begins:
 * nobody would know what it subscribed to. Ours outlives every connection and, with a store, the gateway.
 * While the broker is away nobody is told goodbye: clients stay connected, and what they ask for is stored or refused,
 * as their policy says.
 */

import { askForCopies } from "../broker/lanes.ts";
import { closeLink, openTrunk } from "../broker/links.ts";
import { resendAll } from "../broker/sending.ts";
import { onServiceDown, onServiceUp } from "../broker/service.ts";
import { recordOfTrunk } from "../broker/trunk-record.ts";
import { askAll, sessionsOf } from "../broker/trunk-subscriptions.ts";
import type { Context } from "../context.ts";
import { drainSoon, isStoreAndForward } from "../session/backlog.ts";
import { completeOrFail, completePendingConnect } from "../session/connect-outcome.ts";
import { onAllForwarded } from "../session/departure.ts";
import { failPendingRequests } from "../session/subscribe.ts";
import { publishWill } from "../session/will-delivery.ts";
import type { Link } from "../state/link.ts";
import type { PendingConnect } from "../state/pending-connect.ts";
import type { Session } from "../state/session.ts";
import type { Trunk } from "../state/trunk.ts";
import { brokerForgot } from "./broker-forgot.ts";
import { answerWithoutBroker } from "./connection-end.ts";
import { onLeavingUp } from "./leaving.ts";

export function onTrunkUp(context: Context, trunk: Trunk<Session>, link: Link, sessionPresent: boolean): void {
  const { broker } = trunk;
  if (trunk.isLeaving) return onLeavingUp(context, trunk, link, sessionPresent);
  if (link.clean) {
    // What was there is gone now; the session to stay begins.
    closeLink(context, broker, { how: "disconnect", endSession: true });
    trunk.resumes = true;
    return openTrunk(context, link.upstream, trunk);
  }
  trunk.isAway = false;
  context.journal.mark({ clientId: trunk.key }, () => recordOfTrunk(trunk));
  broker.connection++;
  if (!sessionPresent) brokerForgot(context, broker, trunk);
  else if (broker.sessionUncertain) askAll(context, trunk);
  broker.sessionUncertain = false;
  resendAll(context, broker);
  askForCopies(context, trunk);
  for (const pending of pendingConnectsOf(context, trunk))
    if (pending.session) completePendingConnect(context, pending.session, pending);
  for (const session of sessionsOf(context, trunk)) catchUp(context, session);
  if (isService(trunk)) onServiceUp(context, link.upstream);
}

function catchUp(context: Context, session: Session): void {
  context.touch(session);
  if (session.awaitsForwarding && session.account.unforwarded === 0) onAllForwarded(context, session);
  else if (session.willPending && session.account.unforwarded === 0) publishWill(context, session);
  drainSoon(context, session);
}

/** The connection ended, could not be made, or was refused. */
export function onTrunkAway(context: Context, trunk: Trunk<Session>, reason: string): void {
  trunk.isAway = true;
  const id = trunk.broker.link?.id;
  const link = id && context.links.get(id);
  trunk.broker.cut(context.now);
  if (trunk.isLeaving) return tellHeldBack(context, trunk, reason);
  const stored: Session[] = [];
  for (const session of sessionsOf(context, trunk)) {
    if (session.publishesInFlight.size === 0 && session.subscribesInFlight.size === 0) continue;
    if (isStoreAndForward(context, session.clientId)) stored.push(session);
    else failPendingRequests(context, session);
  }
  if (link && stored.length > 0) answerWithoutBroker(context, link, stored);
  for (const pending of pendingConnectsOf(context, trunk)) {
    if (pending.session) completeOrFail(context, pending.session, pending, reason);
  }
  if (isService(trunk)) onServiceDown(context);
}

/** What waits until this one is left has no connection either. */
function tellHeldBack(context: Context, left: Trunk<Session>, reason: string): void {
  const upstream = context.upstreams.all.find(({ name }) => name === left.upstreamName);
  for (const trunk of upstream?.trunks ?? []) if (!trunk.broker.link) onTrunkAway(context, trunk, reason);
}

/** By the first one goes what is the gateway's own. */
function isService(trunk: Trunk<Session>): boolean {
  return trunk.index === 0 && !trunk.isLane;
}

function pendingConnectsOf(context: Context, trunk: Trunk<Session>): PendingConnect<Session>[] {
  return [...context.pendingConnects.values()].filter(
    ({ stage, session }) => stage === "broker" && session?.trunk === trunk,
  );
}
