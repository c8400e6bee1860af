/**
 * What a connection that came up (again) has to catch up with. [MQTT-3.1.1 4.4]
 *
 * Everything is sent again with the packet id it had, in the order it had, within the broker's window; the broker
 * tells repetition from news by the id. Where the broker forgot the session, exactly-once cannot be known any more:
 * what it may have had is counted as uncertain, never silently downgraded.
 */
import type { Context } from "../context.ts";
import { returnCodes } from "../messages.ts";
import type { BrokerSession, Connection } from "../state/broker-session.ts";
import type { PublishExchange, SubscribeExchange, UnsubscribeExchange } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import { filterToBroker } from "./topic-prefix.ts";

/** `withoutRetained`: the client has what is retained, unless it has been asked for and is not answered. */
export function subscribeAgain(
  broker: BrokerSession<Session>,
  session: Session,
  { withoutRetained }: { withoutRetained: boolean },
): void {
  const wanting = new Set<string>();
  for (const exchange of [...broker.inFlight.values()]) {
    if (exchange.kind !== "subscribe" || exchange.origin) continue;
    if (!exchange.withoutRetained) wanting.add(exchange.filter);
    broker.finish(exchange);
  }
  for (const { filter, qos } of session.subscriptions.values()) {
    const packetId = broker.freePacketId();
    if (packetId === undefined) return;
    const has = withoutRetained && !wanting.has(filter);
    broker.add({ kind: "subscribe", packetId, filter, qos, origin: undefined, withoutRetained: has });
  }
}

export function resendAll(context: Context, broker: BrokerSession<Session>): void {
  const { link } = broker;
  if (!link) return;
  for (const exchange of broker.inFlight.values()) {
    if (exchange.kind !== "publish") sendExchange(context, link, exchange);
    else if (exchange.stage === "released")
      context.out.add({ kind: "release", linkId: link.id, packetId: exchange.packetId });
  }
  sendWaiting(context, broker);
}

/** SUBSCRIBE or UNSUBSCRIBE. */
export function sendExchange(
  context: Context,
  link: Connection,
  exchange: SubscribeExchange<Session> | UnsubscribeExchange<Session>,
): void {
  const { packetId } = exchange;
  const topicFilter = filterToBroker(link.policy.topicPrefix, exchange.filter);
  if (exchange.kind === "unsubscribe") {
    context.out.add({ kind: "unsubscribe", linkId: link.id, packetId, topicFilter });
    return;
  }
  const { qos, trunk } = exchange;
  const withoutRetained = trunk ? trunk.waits.length === 0 : exchange.withoutRetained === true;
  context.out.add({
    kind: "subscribe",
    linkId: link.id,
    packetId,
    topicFilter,
    qos,
    ...(trunk && { subscriptionId: trunk.entry.id }),
    ...(withoutRetained && { withoutRetained }),
  });
}

/** Sends what waits, in order, as far as the broker's window goes. */
export function sendWaiting(context: Context, broker: BrokerSession<Session>): void {
  const { link } = broker;
  if (!link?.up) return;
  while (broker.hasLine && broker.openPublications < link.limits.receiveMaximum) {
    const exchange = broker.nextWaiting(link.limits);
    if (!exchange) return;
    sendPublish(context, broker, exchange);
  }
}

/** Sends what is new, unless others wait or the window is shut: then it waits for its turn. */
export function sendOrWait(context: Context, broker: BrokerSession<Session>, exchange: PublishExchange<Session>): void {
  const { link } = broker;
  if (link?.up && !broker.hasLine && broker.hasRoom(exchange.publication.qos, link.limits))
    return sendPublish(context, broker, exchange);
  broker.queue(exchange);
  sendWaiting(context, broker);
}

function sendPublish(context: Context, broker: BrokerSession<Session>, exchange: PublishExchange<Session>): void {
  const { link } = broker;
  if (!link) return;
  broker.sent(exchange);
  const { publication, packetId, sentBefore: dup } = exchange;
  context.out.add({ kind: "publish", linkId: link.id, publication, packetId, dup });
}

/** MQTT reason codes of a refused publication, as a device hears them. */
export function returnCodeOf(reason: number): number {
  if (reason < 0x80) return returnCodes.accepted;
  return reason === 0x97 ? returnCodes.congestion : returnCodes.notSupported;
}
