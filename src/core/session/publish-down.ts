/**
 * From the broker to the client. [MQTT-SN 1.2 §6.10]
 *
 * `deliver` puts a publication into the outbox, and the client's acknowledgement removes the head. At the end of each
 * turn, `sendNext` looks at the outboxes that the turn touched, and sends what the client's state and the limit of one
 * message in flight allow. The gateway acknowledges at the broker when the client has acknowledged (client-answers.ts),
 * or when it takes custody because the client sleeps and the message is buffered (and stored). See custody.ts.
 */
import { mayHave } from "../broker/rights.ts";
import { type Context, maxMessageBytes } from "../context.ts";
import { pingResp } from "../messages.ts";
import type { OutboxEntry } from "../state/outbox-entry.ts";
import { isReachable, type Session } from "../state/session.ts";
import type { Topic } from "../state/topic-registry.ts";
import type { PublishByName, PublishToClient, ToClient } from "../words.ts";
import { admitDeferred } from "./admission.ts";
import { changeState } from "./client-life.ts";
import { persistFirstFlight, takeCustodyOfAll } from "./custody.ts";
import { markLost } from "./departure.ts";
import { giveUp, outboxShift, stopInFlight } from "./drop.ts";
import { isExpired } from "./expiry.ts";
import { waitDown } from "./limits.ts";
import { mayBeSent, noteSent } from "./proof.ts";
import { noteShown } from "./repeated-retained.ts";
import { isBeingSubscribed, type TopicChoice, topicFor } from "./topic-choice.ts";
import {
  isExplained,
  isGivenUp,
  isShortened,
  mayHaveAnother,
  noteSilence,
  repetitionsOf,
  stepAside,
  wasHeardSince,
} from "./unanswered.ts";

/** Shortest time between two copies of the same message, if the client asks for one. */
const resendPauseMs = 1_000;

/** For this time after a SUBACK, a client may not know yet the topic id in it. */
const justToldMs = 5_000;

/**
 * While the head cannot be sent, the gateway checks at this interval whether a message that stands aside is overdue.
 */
const overdueLookMs = 1_000;

/** Limit of QoS 0 messages that are remembered during `justToldMs`. */
const justSentMax = 8;

/** If an awake client sends PINGREQ so often and does not answer its message, the next message is sent. */
const pingsMax = 2;

/** Sends from the outbox as far as possible. Called only at the end of a turn (turn-end.ts). */
export function sendNext(context: Context, session: Session): void {
  const { outbox } = session;
  // The usual case: the client only publishes.
  if (outbox.length === 0 && session.state === "active" && session.broker.deferred.size === 0) return;
  while (isReachable(session) && !context.isConnecting(session) && outbox.inFlight === undefined) {
    admitDeferred(context, session);
    if (outbox.pausedUntil > context.now) return;
    const entry = nextEntry(context, session);
    if (!entry || outbox.allowance <= 0) {
      if (session.state === "awake") finishWaking(context, session);
      else waitForAside(context, session);
      return;
    }
    if (!step(context, session, entry)) return;
  }
}

function nextEntry(context: Context, session: Session): OutboxEntry | undefined {
  const overdueMs = context.roundMs(session);
  return session.outbox.next(context.now, { isAwake: session.state === "awake", overdueMs });
}

/** Only messages that stand aside are left. They are sent when their time has come. */
function waitForAside(context: Context, session: Session): void {
  const at = session.outbox.nextAside();
  if (at !== undefined) context.deadlines.set(session.retry, Math.max(at, context.now));
}

/**
 * The head cannot be sent while the store fails. A message that stands aside and becomes overdue meanwhile is sent
 * before it.
 */
function waitForOverdue(context: Context, session: Session): void {
  const at = session.outbox.nextAside();
  if (at === undefined) return;
  const overdueAt = at + context.roundMs(session) + 1;
  context.deadlines.set(session.retry, Math.max(overdueAt, context.now + overdueLookMs));
}

/** Handles the head: sends it, registers its topic, or drops it. False: it has to wait. */
function step(context: Context, session: Session, entry: OutboxEntry): boolean {
  if (isExpired(context, entry)) {
    giveUp(context, session, entry, "expired");
    return true;
  }
  if (standsStill(context, entry)) {
    if (session.state === "awake") finishWaking(context, session);
    else waitForOverdue(context, session);
    return false;
  }
  if (entry.released) {
    if (!mayBeSent(context, session, { type: "PUBREL", msgId: entry.msgId })) return waits(context, session);
    startFlight(context, session, entry);
    return true;
  }
  if (!mayHave(context, session, "receive", entry.publication.topicName)) {
    giveUp(context, session, entry, "topic-not-allowed");
    return true;
  }
  const topic = topicFor(context, session, entry.publication.topicName);
  if (topic === "refused" || topic === "exhausted") {
    giveUp(context, session, entry, topic === "refused" ? "registration-refused" : "topic-ids-exhausted");
    return true;
  }
  if (topic.type === "normal" && !topic.known) {
    if (isGivenUp(context, session, entry.publication.topicName)) {
      giveUp(context, session, entry, "unanswered", "its REGISTER was not answered either");
      return true;
    }
    if (isBeingSubscribed(session, entry.publication.topicName)) return false;
    const { topicName } = entry.publication;
    if (!mayBeSent(context, session, { type: "REGISTER", topicId: topic.id, msgId: 1, topicName }))
      return waits(context, session);
    register(context, session, entry, { topicId: topic.id, topicName });
    return true;
  }
  const message = publishMessage(entry, topic);
  if (session.peer !== undefined && session.dialect.encodedLength(message) > maxMessageBytes(context, session.peer)) {
    giveUp(context, session, entry, "too-large-for-peer");
    return true;
  }
  if (!mayBeSent(context, session, message)) return waits(context, session);
  if (session.allowance || session.limitsBy !== context.access) {
    const pauseMs = waitDown(context, session, session.dialect.encodedLength(message));
    if (pauseMs > 0) return waitForAllowance(context, session, pauseMs);
  }
  if (entry.publication.qos === 0) {
    outboxShift(context, session, entry);
    noteDelivered(context, session, entry);
    outboxAllow(session);
    noteQoS0(context, session, entry);
    noteSent(session, message);
    context.tell(session, message);
    return true;
  }
  startFlight(context, session, entry);
  return true;
}

/** The client's limit was reached, so this message waits. An awake client goes back to sleep. */
function waitForAllowance(context: Context, session: Session, pauseMs: number): false {
  if (session.state === "awake") return waits(context, session);
  session.outbox.pausedUntil = context.now + pauseMs;
  context.deadlines.set(session.retry, session.outbox.pausedUntil);
  return false;
}

/**
 * Remembers a QoS 0 message that was sent, because it must be sent again if the client is not ready for its topic id
 * yet.
 */
function noteQoS0(context: Context, session: Session, entry: OutboxEntry): void {
  const { outbox, registry } = session;
  const topic = registry.byName(entry.publication.topicName);
  if (!topic || !wasJustTold(context, topic)) {
    if (outbox.justSent.length > 0) outbox.justSent = [];
  } else if (!entry.waitedForId && outbox.justSent.length < justSentMax) outbox.justSent.push(entry);
}

/** The head has to wait for the client. A client that is awake goes back to sleep meanwhile. */
function waits(context: Context, session: Session): false {
  if (session.state === "awake") finishWaking(context, session);
  return false;
}

/**
 * Whether the message has to wait for the store: a step of QoS 2 must be on disk before it is sent, which is impossible
 * while the store fails.
 */
function standsStill(context: Context, { publication }: OutboxEntry): boolean {
  return publication.qos === 2 && context.journal.enabled && context.storeFails;
}

function register(
  context: Context,
  session: Session,
  entry: OutboxEntry,
  topic: { topicId: number; topicName: string },
): void {
  const msgId = session.outbox.freeMsgId();
  entry.registeredAgain = entry.topicIdRefused;
  noteTry(session, session.outbox.names.get(topic.topicName)?.isAside === true);
  session.outbox.inFlight = { kind: "register", msgId, ...topic, ...newRound(context, session) };
  const message = { type: "REGISTER", msgId, ...topic } as const;
  if (session.peer !== undefined && session.dialect.encodedLength(message) > maxMessageBytes(context, session.peer)) {
    session.outbox.inFlight = undefined;
    return giveUp(context, session, entry, "too-large-for-peer");
  }
  sendInFlight(context, session);
}

function startFlight(context: Context, session: Session, entry: OutboxEntry): void {
  const isAside = entry.unanswered?.isAside === true;
  noteTry(session, isAside);
  if (isAside) outboxAllow(session);
  session.outbox.inFlight = { kind: "publish", entry, ...newRound(context, session), isAgain: entry.msgId !== 0 };
  if (entry.msgId === 0) {
    outboxAllow(session);
    session.outbox.giveMsgId(entry);
    entry.fresh = true;
    persistFirstFlight(context, session, entry);
  }
  sendInFlight(context, session);
}

export function newRound({ now }: Context, { heard }: Session) {
  return { tries: 0, since: now, sentAt: now, heardThen: heard, pings: 0, behind: undefined, isAgain: false };
}

/** A message that stood aside was tried. One such try is enough in a wake-up. */
function noteTry({ outbox }: Session, isAside: boolean): void {
  if (isAside) outbox.triedAsideIn = outbox.wakeUps;
}

/** Sends what is in flight, for the first time or again, and sets the time of the next try. */
export function sendInFlight(context: Context, session: Session): void {
  const { inFlight } = session.outbox;
  if (!inFlight || session.peer === undefined) return;
  const isFinished = inFlight.kind === "publish" && inFlight.entry.released;
  const { topicName } = inFlight.kind === "publish" ? inFlight.entry.publication : inFlight;
  if (!isFinished && !mayHave(context, session, "receive", topicName)) {
    stopInFlight(context, session);
    if (inFlight.kind === "publish") giveUp(context, session, inFlight.entry, "topic-not-allowed");
    return context.touch(session); // the end of the turn continues, or finds the next message that must wait
  }
  inFlight.sentAt = context.now;
  armRetry(context, session);
  if (inFlight.kind === "register") {
    const { topicId, msgId, topicName } = inFlight;
    return sendIfProven(context, session, { type: "REGISTER", topicId, msgId, topicName });
  }
  const { entry } = inFlight;
  if (entry.released) return sendIfProven(context, session, { type: "PUBREL", msgId: entry.msgId });
  const topic = topicFor(context, session, entry.publication.topicName);
  if (topic === "refused" || topic === "exhausted") return;
  const dup = !entry.fresh && !entry.dupRefused;
  entry.fresh = false;
  sendIfProven(context, session, publishMessage(entry, topic, dup));
}

/** A message that may not be sent yet is tried again when the client is heard: the end of that turn looks at the outbox. */
function sendIfProven(context: Context, session: Session, message: ToClient): void {
  if (!mayBeSent(context, session, message)) return stopInFlight(context, session);
  noteSent(session, message);
  context.tell(session, message);
}

export function armRetry(context: Context, session: Session): void {
  context.deadlines.set(session.retry, context.now + context.retryOf(session).intervalMs);
}

function publishMessage(entry: OutboxEntry, topic: TopicChoice, dup = false): PublishToClient | PublishByName {
  const { topicName, qos, retain, payload } = entry.publication;
  const { msgId } = entry;
  if (topic.type === "name")
    return { type: "PUBLISH", dup, qos, retain, topicIdType: "name", topicName, msgId, data: payload };
  return {
    type: "PUBLISH",
    dup,
    qos,
    retain,
    topicIdType: topic.type,
    topicId: topic.id,
    msgId,
    data: payload,
  };
}

/** The time for an answer has passed. [§6.13, as the reference applies it to the gateway] */
export function onRetryDeadline(context: Context, session: Session): void {
  const { outbox } = session;
  if (outbox.pausedUntil > context.now) {
    context.deadlines.set(session.retry, outbox.pausedUntil);
    return;
  }
  if (!outbox.inFlight) return; // the end of the turn decides what is sent next
  const { behind } = outbox.inFlight;
  // The store has not answered yet. If a PUBREL were sent now, the next run might not know it, and the message would arrive twice.
  if (behind !== undefined && behind > context.store.answered) return armRetry(context, session);
  if (context.isConnecting(session)) return armRetry(context, session);
  // A message that cannot be sent cannot be answered, so it does not count as a try.
  const isHeld =
    session.state === "active" && outbox.inFlight.kind === "publish" && standsStill(context, outbox.inFlight.entry);
  if (isHeld || outbox.inFlight.tries < repetitionsOf(context, session)) {
    if (!isHeld) outbox.inFlight.tries++;
    context.counters.retransmissions++;
    return sendInFlight(context, session);
  }
  if (wasHeardSince(session) || isShortened(context, session) || isExplained(session) || mayHaveAnother(session))
    return stepAside(context, session);
  noteSilence(context, session);
  if (session.state !== "awake") return markLost(context, session, { why: "no answer to a message", tell: true });
  // The client fell asleep before it answered. It gets no PINGRESP, and the message keeps its place.
  changeState(context, session, "unanswered", "no answer while awake");
  takeCustodyOfAll(context, session);
}

/**
 * PINGREQ again while awake: the client's answer, or the gateway's message, was lost. The unacknowledged message is
 * sent again; the wake-up does not begin again.
 */
export function repeatInFlight(context: Context, session: Session): void {
  const { inFlight } = session.outbox;
  if (!inFlight) return;
  // A message that was sent a moment ago is not sent again: a copy that overtakes it would reach the client after the
  // end of the exchange.
  if (context.now - inFlight.sentAt < resendPauseMs || context.isConnecting(session)) return;
  inFlight.pings++;
  const isSlow = context.now - inFlight.since < context.retryOf(session).intervalMs;
  if (inFlight.pings >= pingsMax && !isSlow) {
    context.touch(session);
    return stepAside(context, session);
  }
  inFlight.tries++;
  sendInFlight(context, session);
}

/**
 * Whether a SUBACK has just told the client the topic id. Some clients (RIOT's emcute) note their subscription only
 * after they have processed SUBACK, answer "invalid topic id" to a message that comes at once, and do not support
 * REGISTER. So the same message is sent once more first.
 */
export function wasJustTold({ now }: Context, { toldAt }: Topic): boolean {
  return now - toldAt < justToldMs;
}

/** The client has acknowledged the message, or it was sent at QoS 0. */
export function noteDelivered(context: Context, session: Session, { publication }: OutboxEntry): void {
  context.counters.deliveredDown++;
  if (!session.shared) noteShown(context, session, publication);
}

function outboxAllow(session: Session): void {
  session.outbox.allowance--;
}

/** Everything is delivered, or as much as one wake-up allows. The client gets PINGRESP and is asleep again. */
export function finishWaking(context: Context, session: Session): void {
  session.lastHeard = context.now; // the sleep begins at PINGRESP
  changeState(context, session, "drained", "handed over");
  takeCustodyOfAll(context, session);
  if (session.peer === undefined) return;
  context.tell(session, pingResp);
  context.out.releaseLink(session.peer);
}
