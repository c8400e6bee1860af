/** Removes a SUBSCRIBE or UNSUBSCRIBE that no client needs any more from all lists, even if it is a suspect. */
import type { BrokerSession } from "../state/broker-session.ts";
import type { SubscribeExchange, UnsubscribeExchange } from "../state/exchanges.ts";
import { identityOf } from "../state/packet-key.ts";
import type { Session } from "../state/session.ts";

export function withdraw(
  broker: BrokerSession<Session>,
  exchange: SubscribeExchange<Session> | UnsubscribeExchange<Session>,
): void {
  broker.search.forget(identityOf(exchange, broker.key).key);
  broker.finish(exchange);
}
