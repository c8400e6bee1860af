/**
 * A connection was made, and the broker does not know the session: subscriptions and exchanges begin again. [MQTT-3.1.1
 * 4.4]
 */

import { forgetExchange } from "../broker/exchange-record.ts";
import { forgetRetired } from "../broker/experience-record.ts";
import { forgetReceived } from "../broker/received-record.ts";
import { subscribeAgain } from "../broker/sending.ts";
import { askAll, sessionsOf } from "../broker/shared-subscriptions.ts";
import { withdraw } from "../broker/withdraw.ts";
import type { Context } from "../context.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import type { PublishExchange } from "../state/exchanges.ts";
import { unbindDelivery } from "../state/outbox-entry.ts";
import { type Session, unbindUplink } from "../state/session.ts";
import { SharedConnection } from "../state/shared-connection.ts";

/** The broker does not know the session: make it new. */
export function brokerForgot(
  context: Context,
  broker: BrokerSession<Session>,
  owner: Session | SharedConnection<Session>,
): void {
  let someHeld = false;
  for (const received of broker.received.values()) {
    someHeld ||= received.held;
    forgetReceived(context, owner instanceof SharedConnection ? owner.key : owner.clientId, received);
  }
  // It will not ask again: what is buffered is ours alone now.
  const holders = owner instanceof SharedConnection ? sessionsOf(context, owner) : [owner];
  if (someHeld) for (const { outbox } of holders) for (const entry of outbox) unbindDelivery(entry);
  broker.received.clear();
  if (owner instanceof SharedConnection) owner.recentDeliveries.clear();
  broker.deferred.clear();
  for (const packetId of broker.retired.keys())
    forgetRetired(context, owner instanceof SharedConnection ? owner.key : owner.clientId, packetId);
  broker.retired.clear();
  if (owner instanceof SharedConnection) forgetOwed(owner);
  for (const exchange of [...broker.inFlight.values()]) {
    if (exchange.kind !== "publish" || exchange.publication.qos !== 2) continue;
    if (exchange.stage === "waiting" && !exchange.sentBefore) continue;
    context.counters.qos2Uncertain++;
    const clientId = exchange.owner?.clientId ?? "";
    context.out.report({ event: "qos2_uncertain", clientId, packetId: exchange.packetId });
    if (exchange.stage === "waiting") {
      exchange.sentBefore = false;
      continue;
    }
    // The broker had it; it cannot be released any more, and shall not come a second time.
    broker.finish(exchange);
    forgetExchange(context, exchange);
    if (exchange.stage === "released") answerPubComp(context, exchange);
    else unbindUplink(exchange);
  }
  if (owner instanceof SharedConnection) askAll(context, owner);
  else subscribeAgain(broker, owner, { withoutRetained: false });
}

/** A new session has no subscriptions that are to be ended. The record is written when the connection is there. */
function forgetOwed({ broker, owed }: SharedConnection<Session>): void {
  owed.clear();
  for (const exchange of [...broker.inFlight.values()])
    if (exchange.kind === "unsubscribe" && !exchange.origin) withdraw(broker, exchange);
}

/** PUBCOMP to the client for an exchange that ended otherwise. */
export function answerPubComp(context: Context, exchange: PublishExchange<Session>): void {
  const { origin } = exchange;
  if (!origin) return;
  unbindUplink(exchange);
  context.tell(origin.session, { type: "PUBCOMP", msgId: origin.msgId });
}
