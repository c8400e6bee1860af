/** Converts a session to its stored record, and back. */
import type { Context } from "../context.ts";
import type { SessionRecord } from "../record.ts";
import { assumedDialect } from "../speech.ts";
import { homeOf, placeOf, type Session } from "../state/session.ts";
import { recordOfTopic, type Topic } from "../state/topic-registry.ts";
import type { PeerId } from "../types.ts";
import { beginProof, prove } from "./proof.ts";

/** The complete record of a session, for display. */
export function recordOf(session: Session): SessionRecord {
  const topics = [...session.registry.topics()].map((topic) => ({ id: topic.id, ...recordOfTopic(topic) }));
  return { ...storedRecordOf(session), topics };
}

/** The record of a session as it is stored. Each topic has a record of its own. */
function storedRecordOf(session: Session): SessionRecord {
  return {
    clientId: session.clientId,
    peer: session.peer,
    state: session.state === "awake" ? "asleep" : session.state,
    clean: session.clean,
    keepAliveSeconds: session.keepAliveSeconds,
    sleepSeconds: session.sleepSeconds,
    farewell: session.willPending,
    ...(session.spoke && { spoke: true }),
    ...(session.dialect.name !== assumedDialect && { dialect: session.dialect.name }),
    ...(session.unproven && session.peer !== undefined && { unproven: true }),
    ...(session.vouched && { vouched: true }),
    ...(session.boundTo !== undefined && { boundTo: session.boundTo }),
    will: session.will,
    brokerWill: session.broker.link?.will,
    ...(session.shown.size > 0 && { shown: session.shown.records() }),
    topics: [],
    nextTopicId: session.registry.next,
    ...(homeOf(session) !== "" && { home: homeOf(session) }),
    ...(session.leaves !== undefined && { movingTo: placeOf(session) }),
    subscriptions: [...session.subscriptions.values()].map(({ filter, qos, by, predefinedId, isRefused }) => ({
      filter,
      qos,
      by,
      predefinedId,
      ...(isRefused && { isRefused }),
    })),
  };
}

/** The session is stored with its state at the end of this turn. */
export function markChanged(context: Context, session: Session): void {
  context.journal.mark(session, () => storedRecordOf(session));
}

/** As `markChanged`, for a change that no answer waits for. */
export function noteChanged(context: Context, session: Session): void {
  context.journal.note(session, () => storedRecordOf(session));
}

/** More than CONNECT was received: the client uses its session, and keeps it in the next run. */
export function noteSpoke(context: Context, session: Session): void {
  session.spoke = true;
  context.sessions.noteStanding(session);
  markChanged(context, session);
}

/** The client has shown that it knows the id of this topic. */
export function confirm(context: Context, session: Session, topic: Topic): void {
  topic.known = true;
  topic.told = true;
  if (topic.confirmed) return;
  topic.confirmed = true;
  const history = session.outbox.names.get(topic.name);
  // Whether a REGISTER was ever answered does not change.
  if (history) Object.assign(history, { isAside: false, isGivenUp: false });
  session.registry.noteChanged(topic);
  context.journal.noteTopics(session);
}

/** The client has said that it does not know the id. */
export function doubt(context: Context, session: Session, topic: Topic): void {
  topic.known = false;
  topic.told = false;
  topic.confirmed = false;
  session.outbox.names.delete(topic.name);
  session.registry.noteChanged(topic);
  context.journal.noteTopics(session);
}

/**
 * The client has this address now, and the earlier client at this address has not. Both changes are stored, so that a
 * restart finds both.
 */
export function moveTo(context: Context, session: Session, peer: PeerId): void {
  const before = context.sessions.byPeer(peer);
  if (before === session) return;
  if (before) markChanged(context, before);
  context.sessions.bind(session, peer);
  beginProof(context, session, peer);
  markChanged(context, session);
}

/** The client has answered a MsgId of the gateway, so it receives at its address. */
export function noteAnswer(context: Context, session: Session): void {
  if (prove(session)) markChanged(context, session);
}
