/**
 * Puts a message into the outbox if there is room. A message without room is admitted later, when there is room again.
 */
import { acknowledge } from "../broker/received-record.ts";
import { mayHave } from "../broker/rights.ts";
import { fromBroker } from "../broker/topic-prefix.ts";
import type { Context } from "../context.ts";
import { bindDelivery, type OutboxEntry } from "../state/outbox-entry.ts";
import type { Session } from "../state/session.ts";
import { type Admission, admit } from "./buffer-limits.ts";
import { entryFor } from "./contents.ts";
import { takeCustody } from "./custody.ts";
import { refuseEntry } from "./drop.ts";
import { watchExpiry } from "./expiry.ts";

/**
 * Enqueues, in their order, deliveries that did not fit before. On one connection a broker does not send a delivery again. So a deferred
 * delivery is remembered; otherwise it would occupy the broker's window until the connection ends.
 */
export function admitDeferred(context: Context, session: Session): void {
  const { deferred } = session.broker;
  if (deferred.size === 0) return;
  for (const received of deferred.keys()) {
    const { publication } = received;
    const topicName = fromBroker(session.upstream.options.topicPrefix, publication.topicName);
    if (topicName === undefined) {
      deferred.delete(received);
      acknowledge(context, session.broker, received, undefined);
      continue;
    }
    const { expiresAt } = received;
    const entry = entryFor(context, session, { ...publication, topicName }, { expiresAt, received });
    if (!entry) {
      deferred.delete(received);
      acknowledge(context, session.broker, received, undefined);
      continue;
    }
    const isOver = expiresAt !== undefined && expiresAt <= context.now;
    const admission = isOver ? refuseEntry(context, session, entry, "expired") : enqueue(context, session, entry);
    if (admission === "wait") return watchExpiry(context, session, expiresAt);
    deferred.delete(received);
    if (admission === "dropped") acknowledge(context, session.broker, received, undefined);
  }
}

/** Puts an entry into the outbox, if there is room. */
export function enqueue(context: Context, session: Session, entry: OutboxEntry): Admission {
  // A message that would never be sent must not take space in the buffer.
  if (!mayHave(context, session, "receive", entry.publication.topicName))
    return refuseEntry(context, session, entry, "topic-not-allowed");
  const admission = admit(context, session, entry);
  if (admission !== "in") return admission;
  const { received } = entry;
  if (received) bindDelivery(entry, received);
  session.outbox.push(entry);
  context.touch(session);
  watchExpiry(context, session, entry.expiresAt);
  // Messages of this topic stand aside; their places in the broker's window are needed for others.
  const isHeldUp = session.outbox.historyOf(entry)?.isAside === true;
  if (isHeldUp || (session.state !== "active" && session.state !== "awake")) takeCustody(context, session, entry);
  return "in";
}
