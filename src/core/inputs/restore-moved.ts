/**
 * Clients that use another connection than in the last run of the gateway. Exchanges that were open at the broker are
 * done again over the new connection.
 *
 * A shared connection has the packet ids of all its clients. The ids that its other clients had in the last run are
 * known only when all sessions are restored. Therefore a client that moves to a shared connection gets its new ids
 * after that.
 */
import { exchangeFrom, storeExchange } from "../broker/exchange-record.ts";
import { subscribeAgain } from "../broker/sending.ts";
import { ask } from "../broker/shared-subscriptions.ts";
import type { Context } from "../context.ts";
import type { UplinkRecord } from "../record.ts";
import { markChanged } from "../session/session-record.ts";
import type { Move } from "../state/move.ts";
import { bindUplink, type Session } from "../state/session.ts";

/** The client uses another connection now. */
export function beginMove(context: Context, move: Move): void {
  markChanged(context, move.session);
  if (move.session.shared) context.moves.push(move);
  else moveNow(context, move);
}

/** Whether this move will add publications to the client's account. */
export function hasForwarding({ uplink }: Move): boolean {
  return uplink.some(([, { stage, origin }]) => stage !== "released" && origin === undefined);
}

/** All sessions of the last run are restored. */
export function finishMoves(context: Context): void {
  for (const move of context.moves.splice(0)) moveNow(context, move);
}

function moveNow(context: Context, { session, uplink }: Move): void {
  for (const [packetId, record] of uplink) moveExchange(context, session, packetId, record);
  if (!session.isOver) moveSubscriptions(context, session);
}

/**
 * The client's subscriptions exist at another broker, or in another session there. The gateway subscribes again here.
 */
function moveSubscriptions(context: Context, session: Session): void {
  const { shared } = session;
  if (!shared) return subscribeAgain(session.broker, session, { withoutRetained: false });
  for (const filter of session.subscriptions.keys()) {
    const entry = shared.filters.get(filter);
    if (entry) ask(context, shared, entry);
  }
}

/**
 * The exchange began in another MQTT session, so it is not known whether the broker had the message. It is published again, unless the
 * other broker had answered PUBREC.
 */
function moveExchange(context: Context, session: Session, id: number, record: UplinkRecord): void {
  const { clientId } = session;
  // If the session has ended and the client got no answer, the client sends the message again in a new session.
  const isGivenUp = session.isOver && record.origin !== undefined;
  const packetId = session.broker.freePacketId();
  // No id is free. The record stays in the store for the next run.
  if (packetId === undefined && record.stage !== "released" && !isGivenUp) return;
  context.journal.remove({ of: "uplink", clientId, id, record: undefined });
  if (isGivenUp) return;
  if (record.publication.qos === 2) {
    context.counters.qos2Uncertain++;
    context.out.report({ event: "qos2_uncertain", clientId, packetId: id });
  }
  if (record.stage === "released" || packetId === undefined) return;
  const origin = record.origin && { session, ...record.origin };
  const exchange = { ...exchangeFrom(packetId, record, { owner: session, origin }), sentBefore: false };
  session.broker.restore(exchange);
  storeExchange(context, clientId, exchange);
  if (origin) bindUplink(exchange, origin);
}
