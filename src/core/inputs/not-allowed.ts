/**
 * Something could not be sent to a broker in this turn, because its client does not have the right. It ends here as if
 * the broker had refused it. If the device waits for an answer, it gets "not supported". If the device already has its
 * acknowledgement, the message becomes a dead letter.
 */
import { sendWaiting } from "../broker/sending.ts";
import type { Context } from "../context.ts";
import { markChanged } from "../session/session-record.ts";
import { onSubscribeAck } from "../session/subscribe.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import type { SubscribeExchange } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import { onSharedSubscribed } from "./broker-ack.ts";
import { notAuthorized, takeOutPublish } from "./take-out.ts";

export function settleNotAllowed(context: Context): void {
  // The packet that is sent instead may not be allowed either, so the loop looks again.
  for (let next = context.notAllowed.shift(); next; next = context.notAllowed.shift()) {
    const { broker, exchange } = next;
    // Otherwise it is over.
    if (exchange.packetId !== 0 && broker.inFlight.get(exchange.packetId) !== exchange) continue;
    if (exchange.kind === "subscribe") endSubscribe(context, broker, exchange);
    else if (exchange.kind === "publish") {
      if (exchange.packetId !== 0) takeOutPublish(context, broker, exchange, "topic-not-allowed");
      else if (exchange.suspicion) broker.search.detach(exchange);
    }
    sendWaiting(context, broker);
  }
}

function endSubscribe(context: Context, broker: BrokerSession<Session>, exchange: SubscribeExchange<Session>): void {
  broker.finish(exchange);
  const link = broker.link && context.links.get(broker.link.id);
  for (const session of subscribersOf(context, exchange) ?? [link?.session])
    if (session?.subscriptions.delete(exchange.filter)) markChanged(context, session);
  if (link?.shared) onSharedSubscribed(context, link.shared, exchange, notAuthorized);
  else onSubscribeAck(context, link?.session, exchange, notAuthorized);
}

/** Returns undefined if this is not a request over a shared connection. */
function subscribersOf(
  { sessions }: Context,
  { shared }: SubscribeExchange<Session>,
): (Session | undefined)[] | undefined {
  return shared && [...shared.entry.members.keys()].map((row) => sessions.at(row));
}
