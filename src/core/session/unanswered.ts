/**
 * A message that a client does not answer although the client is there: it is larger than the client's buffer, or the
 * client cannot process a REGISTER.
 *
 * A device does not say that it cannot process a message: it is silent, as it is when a datagram is lost. So one round
 * (the first copy and `retry.limit` more) proves nothing. A client that was heard since the first copy is not lost; the
 * message stands aside, and other messages are sent. A client that was not heard at all is first sent one other
 * message, if one waits, because many devices only listen for longer than a round takes.
 *
 * The message is tried again after 1, 2, 4 ... rounds. For a sleeping client it is tried in a later wake-up, when no
 * other message waits; if new messages fill every wake-up, it takes the last place of one, and after some of them the
 * first (`Outbox.next`). The message is given up after three rounds, or five wake-ups, *between which something else
 * that was sent to this client was answered*: this shows that the client was reachable. A good message is given up only
 * if all its copies were lost: with a loss of 30 % in each direction and `retry.limit` 5, in five cases of a million. A
 * wake-up may end a round early, so as many copies as three rounds have must have been sent too. After that, a round is
 * a single copy.
 *
 * With an unanswered REGISTER, the topic name stands aside, with all messages of this name. If a SUBACK, or the REGACK
 * to the client's own REGISTER, has told the id before, the client may know the id but no REGISTER from a gateway (the
 * two clients of RIOT). Then the id is used without the REGISTER. Its meaning is certain, and a client that does not
 * know it says so. [interpretation 40] One round is enough for this, once: each further connection begins with a single
 * copy, until a REGISTER is answered.
 */
import type { Context } from "../context.ts";
import { newUnanswered, type OutboxEntry, type Unanswered } from "../state/outbox-entry.ts";
import type { Session } from "../state/session.ts";
import type { Instant } from "../types.ts";
import { takeCustody } from "./custody.ts";
import { finish, giveUp, stopInFlight } from "./drop.ts";
import { queuedRecord } from "./queued-record.ts";

const roundsMax = 3;
const wakeUpsMax = 5;

/** Limit of a pause, in rounds. */
const pauseRoundsMax = 64;

/** How often the message in flight is repeated before the round is over. */
export function repetitionsOf(context: Context, session: Session): number {
  const { limit } = context.retryOf(session);
  const history = historyInFlight(session);
  if (!history) return limit;
  const enough = isTold(session) ? limit + 1 : enoughCopies(limit);
  return Math.max(0, Math.min(limit, enough - history.tries - 1));
}

/** Whether a REGISTER is in flight for an id that the client has been told before. */
function isTold({ outbox, registry }: Session): boolean {
  const { inFlight } = outbox;
  return inFlight?.kind === "register" && registry.byName(inFlight.topicName)?.told === true;
}

function enoughCopies(limit: number): number {
  return roundsMax * (limit + 1);
}

function historyInFlight({ outbox }: Session): Unanswered | undefined {
  const { inFlight } = outbox;
  if (!inFlight) return undefined;
  return inFlight.kind === "register" ? outbox.names.get(inFlight.topicName) : inFlight.entry.unanswered;
}

/**
 * Whether the round was shortened. A client that is silent for such a short time is not declared lost because of it.
 */
export function isShortened(context: Context, session: Session): boolean {
  return (session.outbox.inFlight?.tries ?? 0) < context.retryOf(session).limit;
}

/** Whether the client was heard since the first copy of the message in flight. Then it is there. */
export function wasHeardSince({ outbox, heard }: Session): boolean {
  return outbox.inFlight !== undefined && heard > outbox.inFlight.heardThen;
}

/**
 * Whether the client did not answer this message before and has answered others since. Its silence now says nothing
 * about the client.
 */
export function isExplained(session: Session): boolean {
  const history = historyInFlight(session);
  return history !== undefined && history.rounds > 0 && session.outbox.answers > history.answersThen;
}

/**
 * Whether one other message may be tried. The client is silent, which may be the fault of the one message that was sent
 * to it. A client that has nothing to send for longer than a round, or waits for PINGRESP, answers another message. So
 * one more is tried, once in each silence.
 */
export function mayHaveAnother({ outbox, heard }: Session): boolean {
  const { inFlight } = outbox;
  if (!inFlight || outbox.silentAt === heard) return false;
  const other = outbox.find((entry) => {
    const { topicName, qos } = entry.publication;
    if (inFlight.kind === "publish" ? entry === inFlight.entry : topicName === inFlight.topicName) return false;
    return qos > 0 && !outbox.historyOf(entry)?.isAside;
  });
  if (!other) return false;
  outbox.silentAt = heard;
  return true;
}

/**
 * The client is completely silent. A message that was sent during this silence for the first time keeps its place,
 * because it may be as good as any other. After a second such round it stands aside; otherwise it would come first in
 * each connection, or each wake-up, of a client that can never process it.
 */
export function noteSilence(context: Context, session: Session): void {
  const { inFlight } = session.outbox;
  const history = noteRound(context, session);
  stopInFlight(context, session);
  takeBack(session);
  if (!inFlight || !history?.isAside) return;
  if (inFlight.kind === "publish") return keep(context, session, inFlight.entry);
  for (const entry of session.outbox) {
    if (entry.publication.topicName === inFlight.topicName && !entry.released) takeCustody(context, session, entry);
  }
}

function takeBack({ outbox, heard }: Session): void {
  const back = (history: Unanswered | undefined) => {
    if (history?.rounds === 1 && history.heardThen === heard) history.isAside = false;
  };
  for (const { unanswered } of outbox) back(unanswered);
  for (const [, history] of outbox.names) back(history);
}

/**
 * Takes custody of a message that stands aside, as of one for a sleeping client. Otherwise a few such messages would
 * fill the broker's window.
 */
function keep(context: Context, session: Session, entry: OutboxEntry): void {
  if (entry.received?.stage === "open") takeCustody(context, session, entry);
  else if (entry.seq > 0) context.journal.keep(session.clientId, entry.seq, queuedRecord(context, entry));
}

/** Puts the message in flight aside, or gives it up. Other messages continue. */
export function stepAside(context: Context, session: Session): void {
  const { outbox } = session;
  const { inFlight } = outbox;
  const history = noteRound(context, session);
  if (!inFlight || !history) return;
  stopInFlight(context, session);
  if (inFlight.kind === "register") return onRegisterUnanswered(context, session, inFlight.topicName, history);
  const { entry } = inFlight;
  if (isProven(context, session, history)) {
    // The client has the message. Only the end of the exchange is missing, and no client waits for it.
    if (entry.released) finish(context, session, entry);
    else giveUpUnanswered(context, session, entry, history);
    return;
  }
  keep(context, session, entry);
}

/** Records that one more round has ended without an answer. */
function noteRound(context: Context, session: Session): Unanswered | undefined {
  const { outbox, heard } = session;
  const { inFlight } = outbox;
  if (!inFlight) return undefined;
  const { limit } = context.retryOf(session);
  const history =
    inFlight.kind === "publish" ? outbox.unansweredOf(inFlight.entry) : ofName(session, inFlight.topicName);
  const isFull = inFlight.tries >= limit || history.tries + inFlight.tries + 1 >= enoughCopies(limit);
  if (history.proofs === 0 || outbox.answers > history.answersThen) {
    history.proofs++;
    if (isFull) history.fullProofs++;
    history.answersThen = outbox.answers;
  }
  history.tries += inFlight.tries + 1;
  history.rounds++;
  history.isAside = true;
  history.heardThen = heard;
  history.wakeUp = outbox.wakeUps;
  outbox.vainAt = context.now;
  history.until = context.now + Math.min(2 ** (history.rounds - 1), pauseRoundsMax) * context.roundMs(session);
  return history;
}

function ofName({ outbox }: Session, topicName: string): Unanswered {
  const present = outbox.names.get(topicName);
  if (present) return present;
  const history = newUnanswered();
  outbox.names.set(topicName, history);
  return history;
}

function isProven(context: Context, session: Session, { tries, proofs, fullProofs }: Unanswered): boolean {
  const isOften = fullProofs >= roundsMax || proofs >= wakeUpsMax;
  return isOften && tries >= enoughCopies(context.retryOf(session).limit);
}

function giveUpUnanswered(context: Context, session: Session, entry: OutboxEntry, { tries }: Unanswered): void {
  giveUp(context, session, entry, "unanswered", `${entry.publication.payload.byteLength} octets, ${tries} copies`);
}

function onRegisterUnanswered(context: Context, session: Session, topicName: string, history: Unanswered): void {
  const { outbox, registry } = session;
  const topic = registry.byName(topicName);
  if (topic?.told) {
    topic.known = true;
    history.isAside = false; // kept: each further connection sends a single REGISTER
    return;
  }
  const isProof = isProven(context, session, history);
  // At QoS 0 nothing is promised, and a client that gets no other messages can prove nothing.
  const isEnough = isProof || history.tries >= enoughCopies(context.retryOf(session).limit);
  for (const entry of [...outbox]) {
    const { topicName: name, qos } = entry.publication;
    if (name !== topicName || entry.released) continue;
    if (isProof || (isEnough && qos === 0)) giveUpUnanswered(context, session, entry, history);
    else takeCustody(context, session, entry);
  }
  if (!isProof) return;
  history.isGivenUp = true;
  history.isAside = false;
  history.until = context.now + pauseRoundsMax * context.roundMs(session);
}

/** Whether a REGISTER of this name was given up recently. Then messages of this topic are given up too. */
export function isGivenUp(context: Context, { outbox }: Session, topicName: string): boolean {
  const history = outbox.names.get(topicName);
  if (!history?.isGivenUp) return false;
  if (history.until > context.now) return true;
  outbox.names.delete(topicName);
  return false;
}

/** After a CONNECT, everything that stands aside is tried again, after the messages that wait for the first time. */
export function tryAgainSoon(context: Context, session: Session): void {
  // It is not tried before now. Otherwise it would be overdue, and would come first in each connection of a client that
  // soon sleeps again.
  const soon = (until: Instant) => Math.max(context.now, Math.min(until, context.now + context.roundMs(session)));
  for (const [topicName, history] of [...session.outbox.names]) {
    if (history.isGivenUp) session.outbox.names.delete(topicName);
    else history.until = soon(history.until);
  }
  for (const { unanswered } of session.outbox) {
    if (unanswered) unanswered.until = soon(unanswered.until);
  }
}
