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

/** The client cannot be reached. The message in flight waits at the head, with its MsgId. */
export function stopInFlight(context: Context, session: Session): void {
  session.outbox.inFlight = undefined;
  session.outbox.pausedUntil = 0;
  context.deadlines.clear(session.retry);
}

/**
 * Drops a message that will not reach the client: counts it, keeps it as a dead letter, and acknowledges it at the
 * broker.
 */
export function giveUp(context: Context, session: Session, entry: OutboxEntry, reason: DropReason, why?: string): void {
  const { qos, topicName } = entry.publication;
  const detail = `QoS ${qos} ${topicName}${why === undefined ? "" : `: ${why}`}`;
  session.dropped++;
  // A message without topic rights was counted by the access check.
  if (reason !== "topic-not-allowed") context.drop(reason, { clientId: session.clientId, peer: session.peer, detail });
  keepDeadLetter(context, { clientId: session.clientId, direction: "down", reason, publication: entry.publication });
  outboxShift(context, session, entry);
  const received = unbindDelivery(entry);
  if (received) acknowledge(context, session.broker, received, undefined);
}

/** The client has the message: it is acknowledged at the broker. */
export function finish(context: Context, session: Session, entry: OutboxEntry): void {
  const { inFlight } = session.outbox;
  if (inFlight?.kind === "publish" && inFlight.entry === entry) stopInFlight(context, session);
  outboxShift(context, session, entry);
  const received = unbindDelivery(entry);
  if (received) acknowledge(context, session.broker, received, undefined);
}

/** Removes an entry from the outbox, at any position. */
export function outboxShift(context: Context, session: Session, entry: OutboxEntry): void {
  session.outbox.remove(entry);
  context.journal.drop(session.clientId, entry.seq);
}

/** Drops a message that is not admitted: counts it and keeps it as a dead letter. The caller answers the broker. */
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

/** Drops and counts all messages that wait for the client. */
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
