/**
 * How the will of a lost client is published, once.
 *
 * If the broker holds the will, unchanged, and publishes it at once (MQTT 3.1.1), the gateway closes the connection
 * without DISCONNECT. In all other cases (the will was updated, the gateway holds it, or a broker of MQTT 5 would wait
 * for the Will Delay) the gateway publishes the will over the client's own connection and waits until the broker has
 * it. Then it sends DISCONNECT, so that the broker drops the will that it held. [MQTT-SN 1.2 §6.4]
 */
import { keepDeadLetter } from "../broker/dead-letters.ts";
import { verdictOn } from "../broker/door.ts";
import { forgetExchange } from "../broker/exchange-record.ts";
import { retire } from "../broker/experience-record.ts";
import { detach } from "../broker/links.ts";
import { sendLast, sendOrWait, sendUnanswered } from "../broker/sending.ts";
import { brokerWill, sameWill, sayIfNotAllowed } from "../broker/will.ts";
import type { Context } from "../context.ts";
import { newPublishExchange, type PublishExchange } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import type { Publication, QoS } from "../types.ts";
import { supervise } from "./client-life.ts";
import { awaitForwarding, leave } from "./leave.ts";
import { markChanged } from "./session-record.ts";

/** Handles the will and the connection of a lost client. */
export function deliverWillOrClose(context: Context, session: Session): void {
  const { link } = session.broker;
  const will = brokerWill(context, session);
  sayIfNotAllowed(context, session, context.rightsOf(session));
  if (session.account.unforwarded > 0) return deliverWillAfterAll(context, session);
  if (!link || (brokerPublishes(context, session) && sameWill(will, link.will))) {
    if (link && will) context.out.report({ event: "will_published", clientId: session.clientId, by: "broker" });
    return closeAfterWill(context, session, "abandon");
  }
  if (!will) return closeAfterWill(context, session, "disconnect");
  session.willPending = true;
  markChanged(context, session);
  supervise(context, session);
  if (link.up) publishWill(context, session);
}

/**
 * Publications that were accepted from the client are sent first. Its will follows, unless the broker has published it
 * at a cut.
 */
function deliverWillAfterAll(context: Context, session: Session): void {
  const { link } = session.broker;
  const will = brokerWill(context, session);
  const isOut = link?.wasUp && !link.up && brokerPublishes(context, session) && sameWill(will, link.will);
  if (isOut && will) context.out.report({ event: "will_published", clientId: session.clientId, by: "broker" });
  session.willPending = will !== undefined && !isOut;
  awaitForwarding(context, session, { keepWill: session.willPending });
  supervise(context, session);
}

/** Whether the broker publishes the will at once if the connection is closed without DISCONNECT. */
function brokerPublishes(context: Context, session: Session): boolean {
  if (session.shared) return false;
  const { link } = session.broker;
  const { protocol, will } = session.upstream.options;
  if (protocol === "3.1.1") return true;
  // MQTT 5: the broker has already published it if the connection was away for longer than the delay.
  return link?.downSince !== undefined && context.now - link.downSince >= will.delaySeconds * 1_000;
}

/** Publishes the will, and closes the connection when the broker has it. */
export function publishWill(context: Context, session: Session): void {
  const { link } = session.broker;
  const will = brokerWill(context, session);
  if (!link || !will) return closeAfterWill(context, session, "disconnect");
  if (isUnderWay(session)) return; // the publication has begun over an earlier connection
  const publication: Publication = {
    ...will,
    qos: Math.min(will.qos, link.limits.maximumQoS) as QoS,
    retain: will.retain && link.limits.retainAvailable,
  };
  if (verdictOn(context, session.broker, session.clientId, publication) === "refuse")
    return refuseWill(context, session, publication);
  context.out.report({ event: "will_published", clientId: session.clientId, by: "gateway" });
  const packetId = publication.qos > 0 ? session.broker.freePacketId() : undefined;
  if (packetId === undefined) {
    const { shared, broker } = session;
    // Over the client's own connection it is the last packet.
    if (shared) sendUnanswered(context, broker, session, { ...publication, qos: 0 });
    else sendLast(context, session, publication);
    return closeAfterWill(context, session, "disconnect");
  }
  const exchange = newPublishExchange(packetId, publication, session, { isWill: true });
  session.broker.add(exchange);
  sendOrWait(context, session.broker, exchange);
}

/**
 * Drops a will, because the broker closed the connection for a similar packet recently and would close it for this one.
 */
function refuseWill(context: Context, session: Session, publication: Publication): void {
  const { clientId } = session;
  const detail = `will, QoS ${publication.qos} ${publication.topicName}`;
  context.drop("refused-by-broker", { clientId, detail });
  keepDeadLetter(context, { clientId, direction: "up", reason: "refused-by-broker", publication, mayBeThere: false });
  closeAfterWill(context, session, "disconnect");
}

function isUnderWay(session: Session): boolean {
  for (const exchange of session.broker.inFlight.values())
    if (exchange.kind === "publish" && exchange.isWill && exchange.owner === session) return true;
  return false;
}

/** The broker has the will, or refused it. */
export function onWillSettled(context: Context, { owner: session }: PublishExchange<Session>): void {
  if (session?.willPending) closeAfterWill(context, session, "disconnect");
}

/** The client has come back, or the time is over. Gives up publishing the will; what was sent before stays sent. */
export function giveUpWill(context: Context, session: Session): void {
  const goesOn = session.shared && isUnderWay(session);
  if (!session.broker.link?.up && !goesOn) {
    context.drop("link-down", {
      clientId: session.clientId,
      detail: "will not published: the broker was away too long",
    });
  }
  closeAfterWill(context, session, "disconnect");
}

function closeAfterWill(context: Context, session: Session, how: "disconnect" | "abandon"): void {
  session.willPending = false;
  markChanged(context, session);
  // Over a shared connection, the publication of the will continues.
  for (const exchange of session.shared ? [] : [...session.broker.inFlight.values()]) {
    if (exchange.kind !== "publish" || !exchange.isWill) continue;
    retire(context, session.broker, exchange);
    session.broker.finish(exchange);
    forgetExchange(context, exchange);
  }
  if (session.account.unforwarded === 0 && !session.clean) {
    session.awaitsForwarding = false;
    detach(context, session, { how, endSession: false });
    return supervise(context, session);
  }
  leave(context, session, "lost", how);
}
