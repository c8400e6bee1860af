/** The end of a session: everything that belongs to it is removed. */

import { forgetExperience } from "../broker/experience-record.ts";
import { acknowledge } from "../broker/received-record.ts";
import { sendOrWait } from "../broker/sending.ts";
import { leaveShared } from "../broker/shared-subscriptions.ts";
import type { Context } from "../context.ts";
import { newUnsubscribe } from "../state/exchanges.ts";
import { type Session, unbindUplink } from "../state/session.ts";
import { dropWaiting } from "./drop.ts";
import { detachInFlight, forgetTaken } from "./duplicates.ts";
import { keepAllowance } from "./limits.ts";
import { forgetPendingConnect } from "./pending-connects.ts";

/** The gateway remembers refused packets of at most so many clients that have no session any more. */
const experienceMax = 10_000;

/**
 * Removes everything of the session, and counts the messages that it still held. The caller closes its link, or has
 * closed it.
 */
export function endSession(context: Context, session: Session, why: string): void {
  if (session.pendingConnect) forgetPendingConnect(context, session.pendingConnect);
  dropWaiting(context, session, "session-ended");
  if (session.shared) {
    leaveShared(context, session.shared, session);
    detachInFlight(context, session);
    for (const exchange of session.publishesInFlight.values()) unbindUplink(exchange);
  }
  forgetBrokerState(context, session);
  forgetExperience(context, session.broker, session.clientId);
  if (!session.shared) keepExperience(context, session);
  context.deadlines.clear(session.silence);
  context.deadlines.clear(session.retry);
  context.deadlines.clear(session.expiry);
  keepAllowance(context, session);
  for (const { leaving } of context.upstreams.all) for (const shared of leaving) shared.gone.add(session.row);
  context.sessions.remove(session);
  context.restoring?.settle(session.clientId);
  session.isOver = true;
  context.journal.forget(session);
  context.out.report({ event: "session_ended", clientId: session.clientId, why });
}

/** If the client begins a new session, the search for the packet that the broker refuses does not begin again. */
function keepExperience(context: Context, { clientId, broker }: Session): void {
  const { experience } = context;
  experience.delete(clientId);
  const { search, kinds } = broker;
  search.detachAll();
  if (!search.remembers && kinds.size === 0) return;
  experience.set(clientId, { search, kinds });
  const oldest = experience.size > experienceMax ? experience.keys().next() : undefined;
  if (oldest && !oldest.done) experience.delete(oldest.value);
}

function forgetBrokerState(context: Context, session: Session): void {
  const { clientId, broker } = session;
  for (const { packetId, stored } of session.shared ? [] : broker.received.values()) {
    if (stored) context.journal.remove({ of: "received", clientId, id: packetId, record: undefined });
  }
  for (const msgId of session.inboundQoS2.keys()) {
    context.journal.remove({ of: "taken", clientId, id: msgId, record: undefined });
  }
  // Exchanges on a shared connection continue, and their records are removed when they end.
  for (const exchange of session.shared ? [] : broker.inFlight.values()) {
    if (exchange.kind !== "publish" || !exchange.stored) continue;
    context.journal.remove({ of: "uplink", clientId, id: exchange.packetId, record: undefined });
  }
}

/** A clean session has ended for the client, even if some of its messages are still open. */
export function forgetDevice(context: Context, session: Session): void {
  const undecided = [...session.outbox].flatMap(({ received }) => (received ? [received] : []));
  dropWaiting(context, session, "session-ended");
  for (const received of undecided) acknowledge(context, session.broker, received, undefined);
  for (const msgId of [...session.inboundQoS2.keys()]) forgetTaken(context, session, msgId);
  const { broker } = session;
  if (session.shared) leaveShared(context, session.shared, session);
  for (const filter of session.shared ? [] : session.subscriptions.keys()) {
    const packetId = broker.freePacketId();
    if (packetId === undefined) break;
    const exchange = newUnsubscribe<Session>({ packetId, filter, origin: undefined });
    broker.add(exchange);
    sendOrWait(context, broker, exchange);
  }
  session.subscriptions.clear();
  session.registry.clear();
  session.lastConnect = undefined;
  session.recentPublishes.clear();
  session.willMessage = undefined;
}
