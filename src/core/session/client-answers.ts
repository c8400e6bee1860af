/**
 * The answers of a client to messages for it: PUBACK, PUBREC, PUBCOMP and REGACK, with their refusals. publish-down.ts
 * sends the messages. [MQTT-SN 1.2 §6.10]
 */
import { acknowledge } from "../broker/received-record.ts";
import type { Context } from "../context.ts";
import { type OutboxEntry, unbindDelivery } from "../state/outbox-entry.ts";
import { isReachable, type Session } from "../state/session.ts";
import type { Topic } from "../state/topic-registry.ts";
import type { CommitToken } from "../types.ts";
import type { AnsweredPublish, Reason } from "../words.ts";
import { persistReleased } from "./custody.ts";
import { finish, giveUp, stopInFlight } from "./drop.ts";
import { watchExpiry } from "./expiry.ts";
import { armRetry, finishWaking, newRound, noteDelivered, sendInFlight, wasJustTold } from "./publish-down.ts";
import { confirm, doubt, noteAnswer } from "./session-record.ts";
import { dropSubscription } from "./subscription-loss.ts";

/** The gateway waits for this time if a client does not know an id yet. */
const notReadyPauseMs = 1_000;

export function onPubAck(context: Context, session: Session, message: AnsweredPublish, reason: Reason): void {
  if (message.msgId === 0) return onQoS0Refused(context, session, message.topicId, reason);
  const entry = session.outbox.sentAs(message.msgId);
  if (!entry || entry.released) return unmatched(context, session, "PUBACK", message.msgId);
  session.outbox.answers++;
  noteAnswer(context, session);
  switch (reason) {
    case "accepted":
      if (entry.publication.qos !== 1) return unmatched(context, session, "PUBACK", message.msgId);
      return delivered(context, session, entry);
    case "congestion":
      if (!isInFlight(session, entry)) return unmatched(context, session, "PUBACK", message.msgId);
      return pause(context, session);
    case "invalidTopicId":
      // A refusal counts only while the message is in flight, so that a second copy of the same refusal does not count
      // twice.
      if (!isInFlight(session, entry)) return unmatched(context, session, "PUBACK", message.msgId);
      return onInvalidTopicId(context, session, entry);
    default:
      if (!isInFlight(session, entry)) return unmatched(context, session, "PUBACK", message.msgId);
      if (hadDup(session) && !entry.dupRefused) {
        entry.dupRefused = true;
        return sendInFlight(context, session);
      }
      if (entry.dupRefused && mayBeTheSame(context, session, entry)) return;
      return refusedByClient(context, session, entry);
  }
}

function isInFlight(session: Session, entry: OutboxEntry): boolean {
  const { inFlight } = session.outbox;
  return inFlight?.kind === "publish" && inFlight.entry === entry;
}

function wasRepeated(session: Session): boolean {
  return (session.outbox.inFlight?.tries ?? 0) > 0;
}

/** Whether the refused copy had DUP set. */
function hadDup({ outbox }: Session): boolean {
  return (outbox.inFlight?.tries ?? 0) > 0 || outbox.inFlight?.isAgain === true;
}

/**
 * The client does not know the topic id: the gateway registers it again, once, then sends the message again. [§6.10]
 */
function onInvalidTopicId(context: Context, session: Session, entry: OutboxEntry): void {
  if (entry.registeredAgain) {
    if (mayBeTheSame(context, session, entry)) return;
    return refusedByClient(context, session, entry);
  }
  // A SUBACK has told the client the id since, and the message was sent again. This is a second copy of the same
  // refusal.
  if (entry.topicIdRefused && !wasRepeated(session)) return unmatched(context, session, "PUBACK", entry.msgId);
  const topic = session.registry.byName(entry.publication.topicName);
  if (topic?.known && !entry.waitedForId && wasJustTold(context, topic)) {
    entry.waitedForId = true;
    return waitForClient(context, session);
  }
  entry.topicIdRefused = true;
  if (!topic) return refusedByClient(context, session, entry); // predefined and short ids cannot be registered
  doubt(context, session, topic);
  if (session.outbox.inFlight?.kind === "publish") stopInFlight(context, session);
}

/**
 * The message was refused again after it was registered again. This may be a copy of the first refusal that the network
 * made; nothing distinguishes the two. The message is sent once more after such copies have arrived, and the answer to
 * that copy counts.
 */
function mayBeTheSame(context: Context, session: Session, entry: OutboxEntry): boolean {
  if (entry.refusedAgain) return false;
  entry.refusedAgain = true;
  waitForClient(context, session);
  return true;
}

/** The client is not ready: nothing is sent to it for a moment. */
function waitForClient(context: Context, session: Session): void {
  stopInFlight(context, session);
  session.outbox.pausedUntil = context.now + notReadyPauseMs;
  context.deadlines.set(session.retry, session.outbox.pausedUntil);
}

function onQoS0Refused(context: Context, session: Session, topicId: number, reason: Reason): void {
  const topic = session.registry.byId(topicId);
  if (topic && reason === "invalidTopicId") {
    if (wasJustTold(context, topic) && putBackQoS0(context, session, topic)) return;
    doubt(context, session, topic);
  } else if (reason === "congestion") pause(context, session);
  else unmatched(context, session, "PUBACK", 0);
}

/** A QoS 0 message with an id that a SUBACK has just told the client is sent once more. */
function putBackQoS0(context: Context, session: Session, topic: Topic): boolean {
  const { outbox } = session;
  const refused = outbox.justSent.filter(({ publication }) => publication.topicName === topic.name);
  outbox.justSent = outbox.justSent.filter(({ publication }) => publication.topicName !== topic.name);
  if (refused.length === 0) return false;
  for (const entry of refused.reverse()) {
    entry.waitedForId = true;
    outbox.putFirst(entry);
    watchExpiry(context, session, entry.expiresAt);
  }
  if (!outbox.inFlight) waitForClient(context, session);
  return true;
}

/**
 * "Rejected: congestion": the client wants a pause. An awake client goes back to sleep, and the rest of its messages
 * waits.
 */
function pause(context: Context, session: Session): void {
  stopInFlight(context, session);
  if (session.state === "awake") return finishWaking(context, session);
  session.outbox.pausedUntil = context.now + context.options.retry.congestionPauseSeconds * 1_000;
  context.deadlines.set(session.retry, session.outbox.pausedUntil);
}

function refusedByClient(context: Context, session: Session, entry: OutboxEntry): void {
  if (session.outbox.inFlight?.kind === "publish") stopInFlight(context, session);
  giveUp(context, session, entry, "refused-by-client");
}

/**
 * PUBREC: the client has the message. PUBREL is sent for an unknown MsgId too, because the client waits for it.
 * [interpretation 17]
 */
export function onPubRec(context: Context, session: Session, msgId: number): void {
  const entry = session.outbox.sentAs(msgId);
  if (entry) noteAnswer(context, session);
  let after: CommitToken | undefined;
  if (entry) session.outbox.answers++;
  if (entry && entry.publication.qos === 2 && !entry.released) {
    entry.released = true;
    session.outbox.forgetUnanswered(entry);
    confirmId(context, session, entry);
    noteDelivered(context, session, entry);
    after = persistReleased(context, session, entry);
    const received = unbindDelivery(entry);
    if (received) acknowledge(context, session.broker, received, after);
    const { inFlight } = session.outbox;
    if (inFlight && isInFlight(session, entry)) Object.assign(inFlight, newRound(context, session), { behind: after });
  } else if (!entry) {
    context.counters.dropped["unmatched-ack"]++;
  }
  if (session.peer === undefined) return;
  context.tell(session, { type: "PUBREL", msgId }, after);
  if (!entry) return;
  // The message was put aside, and nothing else is in flight, so its exchange continues now.
  if (!session.outbox.inFlight && isReachable(session))
    session.outbox.inFlight = { kind: "publish", entry, ...newRound(context, session) };
  if (isInFlight(session, entry)) armRetry(context, session);
}

export function onPubComp(context: Context, session: Session, msgId: number): void {
  const entry = session.outbox.sentAs(msgId);
  if (!entry?.released) return unmatched(context, session, "PUBCOMP", msgId);
  session.outbox.answers++;
  finish(context, session, entry);
}

export function onRegAck(context: Context, session: Session, msgId: number, reason: Reason): void {
  const { inFlight } = session.outbox;
  if (inFlight?.kind !== "register" || inFlight.msgId !== msgId) {
    return unmatched(context, session, "REGACK", msgId);
  }
  session.outbox.answers++;
  noteAnswer(context, session);
  if (reason === "congestion") return pause(context, session);
  stopInFlight(context, session);
  session.outbox.names.delete(inFlight.topicName);
  const topic = session.registry.byName(inFlight.topicName);
  if (topic && reason === "accepted") confirm(context, session, topic);
  else if (topic) {
    // A refusal counts as an unsubscribe from this topic name; a subscription with a wildcard stays. [§6.10]
    topic.refused = true;
    dropSubscription(context, session, topic.name);
  }
}

function unmatched(context: Context, session: Session, what: string, msgId: number): void {
  context.drop("unmatched-ack", { clientId: session.clientId, peer: session.peer, detail: `${what} ${msgId}` });
}

/** The client has the QoS 1 message. */
function delivered(context: Context, session: Session, entry: OutboxEntry): void {
  noteDelivered(context, session, entry);
  confirmId(context, session, entry);
  finish(context, session, entry);
}

/** The client has accepted a message with this id, so it knows the id. */
function confirmId(context: Context, session: Session, entry: OutboxEntry): void {
  const topic = session.registry.byName(entry.publication.topicName);
  if (topic?.known) confirm(context, session, topic);
}
