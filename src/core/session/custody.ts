/**
 * Custody: at which moment the broker, the gateway or the client is responsible for a message.
 *
 * The broker is responsible for a QoS 1 or 2 message until the gateway acknowledges it. While the client is active, the
 * gateway acknowledges when the client has acknowledged. When the client sleeps, the gateway takes custody of the
 * messages that fit into the buffer (they are stored first, if so configured) and acknowledges them. Messages that do
 * not fit are not acknowledged: the broker keeps them, and its window holds back the rest. Therefore no acknowledged
 * message is dropped because a buffer is full, unless a rule of the operator demands it (buffer-limits.ts).
 */
import { acknowledge, storeReceived } from "../broker/received-record.ts";
import type { Context } from "../context.ts";
import type { Received } from "../state/exchanges.ts";
import { bindDelivery, type OutboxEntry, unbindDelivery } from "../state/outbox-entry.ts";
import type { Session } from "../state/session.ts";
import type { CommitToken } from "../types.ts";
import { fits } from "./buffer-limits.ts";
import { queuedRecord } from "./queued-record.ts";

/** The client sleeps: the gateway takes custody of the messages in its buffer. */
export function takeCustodyOfAll(context: Context, session: Session): void {
  for (const entry of session.outbox) if (entry.received) takeCustody(context, session, entry);
}

export function takeCustody(context: Context, session: Session, entry: OutboxEntry): void {
  const { received } = entry;
  if (received?.stage !== "open" || !fits(context, session, entry.policy, { messages: 0, bytes: 0 })) return;
  const kept = context.journal.keep(session.clientId, entry.seq, queuedRecord(context, entry));
  entry.seq = kept.seq;
  storeReceived(context, session.clientId, received, 0);
  if (kept.after !== undefined)
    context.journal.promised(kept.after, () => takeBackCustody(context, { session, received, entry }));
  unbindDelivery(entry);
  acknowledge(context, session.broker, received, kept.after);
}

/**
 * A QoS 2 message is about to be sent for the first time. Its MsgId, and the broker's delivery that it belongs to, must
 * be stored for a later run; otherwise the client would get the message twice.
 */
export function persistFirstFlight(context: Context, session: Session, entry: OutboxEntry): void {
  if (!context.journal.enabled || entry.publication.qos !== 2) return;
  const { received } = entry;
  entry.seq = context.journal.keep(session.clientId, entry.seq, queuedRecord(context, entry)).seq;
  if (received) storeReceived(context, session.clientId, received, entry.seq);
}

/** The client's PUBREC arrived. This must be stored with the message before PUBREL is sent. */
export function persistReleased(context: Context, session: Session, entry: OutboxEntry): CommitToken | undefined {
  if (entry.seq === 0) return undefined;
  const { seq, received } = entry;
  if (received) storeReceived(context, session.clientId, received, 0);
  return context.journal.keep(session.clientId, seq, queuedRecord(context, entry)).after;
}

/**
 * The commit failed, so the gateway has not acknowledged the message. The broker is responsible for it again, unless
 * the client has it already.
 */
export function takeBackCustody(
  context: Context,
  promised: { readonly session: Session; readonly received: Received; readonly entry: OutboxEntry },
): void {
  const { session, received, entry } = promised;
  if (!reopen(session, received)) return;
  if (!session.outbox.has(entry)) return acknowledge(context, session.broker, received, undefined);
  bindDelivery(entry, received);
}

/** The delivery is not acknowledged. False: the broker has sent the message again meanwhile. */
export function reopen({ broker }: Session, received: Received): boolean {
  // At QoS 1 it is then another delivery with its own entry.
  if ((broker.received.get(received.packetId) ?? received) !== received) return false;
  received.stage = "open";
  received.after = undefined;
  broker.received.set(received.packetId, received);
  return true;
}
