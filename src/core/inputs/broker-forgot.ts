/**
 * A connection was made, and the broker does not know its session: the gateway subscribes again, and exchanges begin
 * again. [MQTT-3.1.1 4.4]
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

/** Rebuilds the session that the broker has lost. */
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
  // The broker will not send these deliveries again, so the gateway alone has the buffered messages now.
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
    // The broker had the message. Its exchange cannot continue, and the message must not be published a second time.
    broker.finish(exchange);
    forgetExchange(context, exchange);
    if (exchange.stage === "released") answerPubComp(context, exchange);
    else unbindUplink(exchange);
  }
  if (owner instanceof SharedConnection) askAll(context, owner);
  else subscribeAgain(broker, owner, { withoutRetained: false });
}

/**
 * Forgets owed UNSUBSCRIBEs, because a new session at the broker has no subscriptions to end. The record is written when
 * the connection is up.
 */
function forgetOwed({ broker, owed }: SharedConnection<Session>): void {
  owed.clear();
  for (const exchange of [...broker.inFlight.values()])
    if (exchange.kind === "unsubscribe" && !exchange.origin) withdraw(broker, exchange);
}

/** Sends PUBCOMP to the client of an exchange that has ended without the broker's PUBCOMP. */
export function answerPubComp(context: Context, exchange: PublishExchange<Session>): void {
  const { origin } = exchange;
  if (!origin) return;
  unbindUplink(exchange);
  context.tell(origin.session, { type: "PUBCOMP", msgId: origin.msgId });
}
