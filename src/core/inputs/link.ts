/**
 * One MQTT connection for each client. The client has its own client id, session and acknowledgements at the broker.
 * [MQTT-SN 1.2 §4.1]
 *
 * This file opens this connection and handles its loss and its return. If the broker still has the session, a new
 * connection continues where the last one ended. If the broker has lost it, the gateway subscribes again and sends
 * undecided messages again.
 */

import { reopen } from "../broker/links.ts";
import { resendAll, subscribeAgain } from "../broker/sending.ts";
import { onServiceDown, onServiceUp } from "../broker/service.ts";
import { sessionsOf } from "../broker/shared-subscriptions.ts";
import type { Context } from "../context.ts";
import type { LinkEnd, LinkRefusal } from "../input.ts";

import { drainSoon, isStoreAndForward } from "../session/backlog.ts";
import { completePendingConnect, failPendingConnect, goOnWithoutBroker } from "../session/connect-outcome.ts";
import { disconnectClient, onAllForwarded, sendDisconnect } from "../session/departure.ts";
import { failPendingRequests } from "../session/subscribe.ts";
import { publishWill } from "../session/will-delivery.ts";
import type { Link } from "../state/link.ts";
import type { BrokerLimits } from "../types.ts";
import { brokerForgot } from "./broker-forgot.ts";
import { answerWithoutBroker, forgetCustody, noteEnd } from "./connection-end.ts";
import { giveUpLeaving } from "./leaving.ts";
import { onSharedAway, onSharedUp } from "./shared-link.ts";
import {
  noteEndBeforeConnAck,
  noteRefusedConnect,
  noteWillAccepted,
  refuseWill,
  type WillVerdict,
} from "./will-in-connect.ts";

export function onLinkUp(context: Context, link: Link, isPresent: boolean, limits: BrokerLimits): void {
  link.up = true;
  link.wasUp = true;
  link.isMissed = false;
  if (noteWillAccepted(context, link, isPresent)) return;
  const sessionPresent = isPresent && !link.broker.wasForgotten;
  link.broker.wasForgotten = false;
  link.congested = false;
  link.downSince = undefined;
  link.limits = limits;
  forgetCustody(context, link);
  const { session, shared } = link;
  reportState(context, link, true, "accepted by the broker");
  if (shared) return onSharedUp(context, shared, link, sessionPresent);
  if (!session) {
    link.broker.search.connected(context.now);
    return onServiceUp(context, link.upstream);
  }
  session.broker.connection++;
  if (!sessionPresent) brokerForgot(context, session.broker, session);
  else if (session.broker.sessionUncertain) subscribeAgain(session.broker, session, { withoutRetained: true });
  session.broker.sessionUncertain = false;
  resendAll(context, session.broker);
  if (session.pendingConnect?.stage === "broker") completePendingConnect(context, session, session.pendingConnect);
  else if (session.awaitsForwarding && session.account.unforwarded === 0) onAllForwarded(context, session);
  else if (session.willPending && session.account.unforwarded === 0) publishWill(context, session);
  drainSoon(context, session);
}

export function onLinkRefused(
  context: Context,
  link: Link,
  { refusal, reason, reasonCode }: { refusal: LinkRefusal; reason: string; reasonCode?: number },
): void {
  const verdict = link.session?.pendingConnect?.stage === "broker" ? undefined : noteRefusedConnect(link, reasonCode);
  noteRefused(context, link, refusal, reason);
  goOnWithoutWill(context, link, verdict);
}

function noteRefused(context: Context, link: Link, refusal: LinkRefusal, reason: string): void {
  link.up = false;
  link.isMissed = true;
  reportState(context, link, false, reason);
  const { session, shared } = link;
  if (shared?.isLeaving && refusal === "notSupported") return giveUpLeaving(context, shared, link.upstream);
  if (shared) return onSharedAway(context, shared, reason);
  if (!session) return onServiceDown(context);
  const { pendingConnect } = session;
  if (refusal === "notSupported") context.acceptedByBroker.forget(session.clientId);
  if (pendingConnect?.stage === "broker") {
    if (refusal === "congestion" && goOnWithoutBroker(context, session, pendingConnect)) return;
    return failPendingConnect(context, session, pendingConnect, {
      reason: refusal,
      why: reason,
    });
  }
  if (refusal === "notSupported") session.brokerRefused = true;
}

export function onLinkDown(context: Context, link: Link, end: LinkEnd): void {
  const verdict = link.up ? undefined : noteEndBeforeConnAck(link, end);
  // A device that waits for its CONNACK waits until it is known whether the broker closes for its will.
  if (verdict === undefined || link.session?.pendingConnect?.stage !== "broker") noteDown(context, link, end);
  goOnWithoutWill(context, link, verdict);
}

/** Acts on the verdict about a will in CONNECT. */
function goOnWithoutWill(context: Context, link: Link, verdict: WillVerdict): void {
  if (verdict === undefined || verdict === "again" || !context.links.has(link.id)) return;
  if (verdict === "refuse") refuseWill(context, link);
  else reopen(context, link, { isProbe: true });
  answerWaiting(context, link);
}

/** The requests waited for a connection that is made again. They wait for the new connection in the same way. */
function answerWaiting(context: Context, { broker, session, shared }: Link): void {
  const { link } = broker;
  const id = link && context.links.get(link.id);
  if (!id) return;
  const all = shared ? [...sessionsOf(context, shared)] : session ? [session] : [];
  answerWithoutBroker(
    context,
    id,
    all.filter(({ clientId }) => isStoreAndForward(context, clientId)),
  );
}

function reportState(context: Context, { session, upstream }: Link, up: boolean, why: string): void {
  context.out.report({ event: "link_state", clientId: session?.clientId, upstream: upstream.name, up, why });
}

function noteDown(context: Context, link: Link, end: LinkEnd): void {
  const { reason, takenOver } = end;
  const wasUp = link.up;
  if (!wasUp) link.broker.sessionUncertain = true;
  link.isMissed = !wasUp;
  link.up = false;
  link.congested = false;
  if (wasUp) link.downSince = context.now;
  const { session, shared } = link;
  // For the gateway's own connection, each failed attempt is reported too, because the operator has to know the cause.
  if (wasUp || !session) reportState(context, link, false, reason);
  if (wasUp) noteEnd(context, link, end);
  else if (link.resumes && !link.wasUp) link.answersFrom = context.now; // the broker cannot be reached
  if (!context.links.has(link.id)) return; // the packet that was taken out was the client's last use of its link
  if (shared) return onSharedAway(context, shared, reason);
  if (!session) {
    link.broker.cut(context.now);
    return onServiceDown(context);
  }
  session.broker.cut(context.now);
  const stores = isStoreAndForward(context, session.clientId);
  if (stores && !takenOver) answerWithoutBroker(context, link, [session]);
  else failPendingRequests(context, session);
  const { pendingConnect } = session;
  if (pendingConnect?.stage === "broker") {
    if (!takenOver && goOnWithoutBroker(context, session, pendingConnect)) return;
    failPendingConnect(context, session, pendingConnect, { reason: "congestion", why: reason });
    return;
  }
  if (takenOver && session.state !== "lost") {
    // Another gateway serves this client now. It ends here without DISCONNECT; otherwise the two gateways would take
    // the session from each other for ever. [interpretation 21]
    return disconnectClient(context, session, "taken over at the broker");
  }
  if (stores || (session.state !== "active" && session.state !== "awake")) return;
  // The gateway has restarted, and the broker is not back yet. The device has noticed neither, and need not know.
  if (link.resumes && !link.wasUp) return;
  sendDisconnect(context, session);
  disconnectClient(context, session, `broker: ${reason}`);
}
