/**
 * A retained message that the client already has and did not request again. The broker sent it because the gateway
 * subscribed again, as it does once after each start. Over MQTT 5 such a SUBSCRIBE asks for no retained messages; a
 * broker of MQTT 3.1.1 sends all of them.
 *
 * A message that differs from the last one that was sent to the client is delivered, because it has changed meanwhile.
 * A message that the broker marks as sent before (DUP) is delivered too, because it was on its way when the connection
 * ended.
 */
import { matches } from "../../wire/topic.ts";
import type { Context } from "../context.ts";
import { sameBytes } from "../octets.ts";
import type { OutboxEntry } from "../state/outbox-entry.ts";
import type { Session } from "../state/session.ts";
import type { Publication } from "../types.ts";
import { noteChanged } from "./session-record.ts";

/**
 * Whether the client has this message, or it is the message in flight to it, and the client has sent no request that caused it.
 * `publication`: with the topic as the client knows it.
 */
export function repeatedRetained(session: Session, publication: Publication): "shown" | OutboxEntry | undefined {
  const { broker, subscriptions, shown } = session;
  if (broker.askedAgain.size === 0) return undefined;
  const where = shown.has(publication) ? "shown" : waiting(session, publication);
  if (!where) return undefined;
  for (const filter of subscriptions.keys())
    if (!broker.askedAgain.has(filter) && matches(filter, publication.topicName)) return undefined;
  return where;
}

/** Finds the message among those that wait for the client or are in flight to it. */
function waiting({ outbox }: Session, { topicName, payload }: Publication): OutboxEntry | undefined {
  const isSame = (other: Publication) => other.topicName === topicName && sameBytes(other.payload, payload);
  return outbox.find((entry) => isSame(entry.publication));
}

/**
 * The client has this message, or the message was sent and needs no answer. If the message is not known to be retained,
 * it is written with the next change or at the end of the process.
 */
export function noteShown(context: Context, session: Session, publication: Publication): void {
  if (!session.shared && session.shown.note(publication)) noteChanged(context, session);
}

/** The process ends: writes what is not written yet. */
export function writeShown(context: Context): void {
  for (const session of context.sessions.live()) if (session.shown.isNew) noteChanged(context, session);
}
