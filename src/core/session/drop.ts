/**
 * A message leaves the outbox: its client has acknowledged it, or the message is dropped. A dropped message is counted
 * and kept as a dead letter.
 */
import { keepDeadLetter } from "../broker/dead-letters.ts";
import { acknowledge } from "../broker/received-record.ts";
import type { Context } from "../context.ts";
import type { DropReason } from "../event.ts";
import { type OutboxEntry, unbindDelivery } from "../state/outbox-entry.ts";
import type { Session } from "../state/session.ts";

/** The client is out of reach: what was in flight waits at the head, with the MsgId it had. */
export function stopInFlight(context: Context, session: Session): void {
  session.outbox.inFlight = undefined;
  session.outbox.pausedUntil = 0;
  context.deadlines.clear(session.retry);
}

/** The message will not reach the client: counted, and the broker is released from it. */
export function giveUp(context: Context, session: Session, entry: OutboxEntry, reason: DropReason, why?: string): void {
  const { qos, topicName } = entry.publication;
  const detail = `QoS ${qos} ${topicName}${why === undefined ? "" : `: ${why}`}`;
  session.dropped++;
  // The caller of the access check has counted it.
  if (reason !== "topic-not-allowed") context.drop(reason, { clientId: session.clientId, peer: session.peer, detail });
  keepDeadLetter(context, { clientId: session.clientId, direction: "down", reason, publication: entry.publication });
  outboxShift(context, session, entry);
  const received = unbindDelivery(entry);
  if (received) acknowledge(context, session.broker, received, undefined);
}

/** The client has it: the broker is released from it. */
export function finish(context: Context, session: Session, entry: OutboxEntry): void {
  const { inFlight } = session.outbox;
  if (inFlight?.kind === "publish" && inFlight.entry === entry) stopInFlight(context, session);
  outboxShift(context, session, entry);
  const received = unbindDelivery(entry);
  if (received) acknowledge(context, session.broker, received, undefined);
}

/** Takes an entry off, wherever it stands. */
export function outboxShift(context: Context, session: Session, entry: OutboxEntry): void {
  session.outbox.remove(entry);
  context.journal.drop(session.clientId, entry.seq);
}

/** It does not come in: counted, and kept for the operator. The caller tells the broker. */
export function refuseEntry(context: Context, session: Session, entry: OutboxEntry, reason: DropReason): "dropped" {
  const { clientId, peer } = session;
  const { publication } = entry;
  session.dropped++;
  if (reason !== "topic-not-allowed")
    context.drop(reason, {
      clientId,
      peer,
      detail: `QoS ${publication.qos} ${publication.topicName}: ${publication.payload.byteLength} octets, not taken`,
    });
  keepDeadLetter(context, { clientId, direction: "down", reason, publication });
  return "dropped";
}

/** What waits for the client is dropped and counted. */
export function dropWaiting(context: Context, session: Session, reason: DropReason): void {
  const held = session.outbox.length;
  for (const entry of session.outbox) {
    context.journal.drop(session.clientId, entry.seq);
    keepDeadLetter(context, { clientId: session.clientId, direction: "down", reason, publication: entry.publication });
    unbindDelivery(entry);
  }
  session.outbox.clear();
  if (held === 0) return;
  context.counters.dropped[reason] += held - 1;
  context.drop(reason, { clientId: session.clientId, detail: `${held} waiting messages` });
}
