/**
 * Restores a session of an earlier run of the gateway.
 *
 * Each client gets its full keep-alive or sleep period again, with the tolerance, because the time while the gateway
 * was down must not count against it. An active client keeps its address, its topic ids and the messages in flight. The
 * session at the broker continues with its packet ids.
 */

import { holderOfId } from "../broker/client-ids.ts";
import { exchangeFrom } from "../broker/exchange-record.ts";
import { restoreExperience } from "../broker/experience-record.ts";
import { openLink } from "../broker/links.ts";
import { joinLane } from "../broker/shared-subscriptions.ts";
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import type { SessionRecord, StoredState, TopicRecord } from "../record.ts";
import { drainSoon } from "../session/backlog.ts";
import { supervise } from "../session/client-life.ts";
import { disconnectClient, endForRoom } from "../session/departure.ts";
import { endSession } from "../session/end.ts";
import { watchExpiry } from "../session/expiry.ts";
import { newSession } from "../session/new-session.ts";
import { parkAgain } from "../session/park.ts";
import { beginProof } from "../session/proof.ts";
import { entryFrom } from "../session/queued-record.ts";
import { endForbidden } from "../session/rights-changed.ts";
import { markChanged } from "../session/session-record.ts";
import { staysAdmitted } from "../session/shut-out.ts";
import type { PublishExchange, Received } from "../state/exchanges.ts";
import { bindDelivery, isFree, type OutboxEntry } from "../state/outbox-entry.ts";
import { keepingMeanings } from "../state/predefined-topics.ts";
import { Restoring } from "../state/restoring.ts";
import { bindUplink, homeOf, type Session } from "../state/session.ts";
import type { Topic } from "../state/topic-registry.ts";
import { beginLeaving } from "./leaving.ts";
import { beginMove, hasForwarding } from "./restore-moved.ts";
import { isSharedKey, restoreShared } from "./restore-shared.ts";
import { catchUp } from "./shared-link.ts";

/** Restores one slice of the records in the store. */
export function onRestored(context: Context, input: Extract<Input, { kind: "restored" }>): void {
  const { states = [], known = [], letters = [], highest, goesOn } = input;
  if (goesOn) context.restoring ??= new Restoring();
  if (highest) {
    context.journal.startAbove(highest.queued);
    context.letters.last = Math.max(context.letters.last, highest.letter);
  }
  for (const clientId of known) context.acceptedByBroker.restore(clientId);
  for (const [id, clientId] of letters) context.letters.restore(id, clientId);
  for (const state of states) {
    if (isSharedKey(state.session.clientId)) restoreSharedOnce(context, state);
    else restoreSession(context, state);
  }
}

/** Shared connections are restored first, and the slices of all sessions have them again. */
function restoreSharedOnce(context: Context, state: StoredState): void {
  const { clientId: key } = state.session;
  if (context.restoring?.isSettled(key)) return;
  restoreShared(context, state);
  context.restoring?.settle(key);
}

/** Restores this session, unless the client has one now, or its session has ended since the start. */
export function restoreSession(context: Context, stored: StoredState): void {
  const { session: record } = stored;
  const { restoring } = context;
  if (context.sessions.has(record.clientId) || restoring?.isSettled(record.clientId)) return;
  if (restoring && context.sessions.size >= context.options.clients.sessionsMax) makeRoom(context, record);
  context.sessions.restored++;
  // Another client was heard from this address after the start, so this client is not there any more.
  const hasMoved = restoring !== undefined && record.peer !== undefined && context.sessions.hasAt(record.peer);
  if (hasMoved) return restoreSessionAt(context, { ...stored, session: { ...record, peer: undefined } }, hasMoved);
  restoreSessionAt(context, stored, hasMoved);
  if (record.peer !== undefined) restoring?.release(record.peer);
}

/**
 * If new clients have connected meanwhile, there would be a session more than allowed. Otherwise the limit was higher in
 * an earlier run, and what was stored then stays.
 */
function makeRoom(context: Context, { vouched = false }: SessionRecord): void {
  if (context.sessions.size <= context.sessions.restored) return;
  const gives = context.sessions.toGiveUp({ vouched, now: context.now });
  if (gives) endForRoom(context, gives);
}

function restoreSessionAt(context: Context, stored: StoredState, hasMoved: boolean): void {
  const { session: record } = stored;
  const session = newSession(context, record.clientId, {
    clean: record.clean,
    peer: record.peer,
    dialect: context.dialectNamed(record.dialect),
  });
  session.state = record.state;
  session.keepAliveSeconds = record.keepAliveSeconds;
  session.sleepSeconds = record.sleepSeconds;
  session.will = record.will;
  session.willPending = record.farewell;
  // Records of an earlier version do not have this field: a client with anything stored here has sent messages.
  session.spoke = record.spoke ?? (record.topics.length > 0 || record.subscriptions.length > 0);
  session.vouched = record.vouched === true;
  session.boundTo = record.boundTo;
  session.lastHeard = context.now;
  for (const [id, topic] of stored.topics ?? []) restoreTopic(session, id, topic);
  for (const { id, ...topic } of record.topics) {
    const restored = restoreTopic(session, id, topic);
    session.registry.noteChanged(restored); // from here on the session has a record of its own
  }
  if (record.topics.length > 0 || hasMoved) markChanged(context, session);
  for (const shown of record.shown ?? []) session.shown.restore(shown);
  session.registry.goOnAt(record.nextTopicId);
  for (const subscription of record.subscriptions) session.subscriptions.set(subscription.filter, subscription);
  session.predefined = keepingMeanings(context.predefined, record.clientId, record.subscriptions);
  context.sessions.add(session);
  if (record.peer !== undefined) {
    context.sessions.bind(session, record.peer);
    if (record.unproven) beginProof(context, session, record.peer);
  }
  const entries = restoreOutbox(context, session, stored);
  const left = placeToLeave(record, homeOf(session));
  const isMoved = left !== undefined;
  if (isMoved) leaveHome(context, session, stored, left);
  // The packet ids belong to the client's own connection, so they are valid only if the client uses this connection
  // again.
  if (!isMoved || (left !== (record.home ?? "") && !session.shared)) restoreReceived(session, stored, entries);
  restoreExperience(context, session.broker, record.clientId, stored);
  const move = isMoved ? { session, uplink: [...stored.uplink] } : undefined;
  if (!move) restoreUplink(context, session, stored);
  if (session.shared)
    for (const { filter, qos, isRefused } of record.subscriptions)
      if (!isRefused) joinLane(session.shared, session, filter, qos);
  if (move) beginMove(context, move);
  restoreBacklog(session, stored);
  endForbidden(context, session);
  const isIdle = session.state === "disconnected" || session.state === "lost";
  session.awaitsForwarding = isIdle && (session.account.unforwarded > 0 || (move !== undefined && hasForwarding(move)));
  supervise(context, session);
  context.sessions.setIdle(session, isIdle);
  session.isUnasked = true;
  // The session had ended. Only an exchange on a shared connection had not.
  if (isIdle && session.clean && !session.willPending && !session.awaitsForwarding)
    return endSession(context, session, "it was over before the restart");
  // The transports are not open yet: a client that is refused gets the answer to its next message.
  if (!isIdle && !staysAdmitted(context, session, { tell: false, isHeard: false })) return;
  if (!isIdle && !hasItsId(context, session))
    return disconnectClient(context, session, "its id at the broker is another's");
  if (!isIdle || session.willPending || session.awaitsForwarding) attach(context, session);
  if (session.shared) goOnWith(context, session);
  parkAgain(context, session);
}

/** The shared connection may have been up before this session was restored: what waits for its client is sent. */
function goOnWith(context: Context, session: Session): void {
  const { link } = session.broker;
  if (link?.wasUp) context.touch(session);
  if (!link?.up) return;
  catchUp(context, session);
  drainSoon(context, session);
}

/**
 * The place of this client's session at the broker in the last run, if it is not the present place. The client may have
 * been moving to another place when that run ended.
 */
function placeToLeave({ home = "", movingTo }: SessionRecord, now: string): string | undefined {
  if (home !== now) return home;
  return movingTo === now ? undefined : movingTo;
}

/**
 * Takes over the QoS 2 messages that the client received and the other broker has not released. They are on disk here.
 */
function leaveHome(context: Context, session: Session, stored: StoredState, home: string): void {
  const { session: record, received } = stored;
  const { clientId, clean } = record;
  const isComingBack = home !== (record.home ?? "");
  if (beginLeaving(context, session, { home, clean }, received) || (isComingBack && !session.shared)) return;
  for (const [id] of received) context.journal.remove({ of: "received", clientId, id, record: undefined });
}

/** The configuration may have given this client's id at the broker to another client since the last run. */
function hasItsId(context: Context, session: Session): boolean {
  const { clientId, peer, upstream } = session;
  const holder = holderOfId(context, clientId, upstream);
  if (holder === undefined) return true;
  session.lacksId = true;
  context.drop("client-id-taken", { clientId, peer, detail: `at the broker it is ${holder}'s` });
  return false;
}

function restoreTopic(session: Session, id: number, { name, known, told }: TopicRecord): Topic {
  return session.registry.restore({ id, name, known, told: known || told === true });
}

function attach(context: Context, session: Session): void {
  if (!session.shared && !session.isHeldBack) openLink(context, session, { clean: session.clean, resume: true });
}

function restoreOutbox(context: Context, session: Session, { queued }: StoredState): Map<number, OutboxEntry> {
  const entries = new Map<number, OutboxEntry>();
  for (const [seq, record] of queued) {
    const entry = entryFrom(context, session.clientId, seq, record);
    entries.set(seq, entry);
    session.outbox.push(entry);
    session.outbox.skipMsgId(record.msgId);
    watchExpiry(context, session, isFree(entry) ? entry.expiresAt : undefined);
    context.journal.startAbove(seq);
  }
  return entries;
}

/** The broker sends again what has no PUBREC yet, and sends PUBREL for the rest. */
function restoreReceived(session: Session, stored: StoredState, entries: ReadonlyMap<number, OutboxEntry>): void {
  for (const [packetId, { seq, hash }] of stored.received) {
    const entry = entries.get(seq);
    const received: Received = {
      packetId,
      publication: entry?.publication ?? { topicName: "", payload: new Uint8Array(0), qos: 2, retain: false },
      connection: 0,
      stage: entry ? "open" : "done",
      expiresAt: undefined,
      held: false,
      stored: true,
      hash,
    };
    if (entry) bindDelivery(entry, received);
    session.broker.received.set(packetId, received);
  }
}

function restoreBacklog(session: Session, { backlog, taken }: StoredState): void {
  for (const [msgId, { topicId, hash }] of taken) {
    session.inboundQoS2.set(msgId, { topicId, hash, after: undefined, fromBeforeConnect: false });
  }
  if (backlog) session.account.backlog.restore(backlog);
}

function restoreUplink(context: Context, session: Session, { uplink }: StoredState): void {
  for (const [packetId, record] of uplink) {
    // The store did not name this client among those that have publications under way, and the id is in use by now.
    if (session.broker.inFlight.has(packetId) || (session.shared && session.broker.link?.up)) {
      context.moves.push({ session, uplink: [[packetId, record]] });
      continue;
    }
    // The exchange was released. The device may have its PUBCOMP and sleep. If it has no PUBCOMP, it repeats PUBREL and
    // is answered at once.
    const isOpen = record.stage === "open" && record.origin !== undefined;
    const origin: PublishExchange<Session>["origin"] = isOpen ? { session, ...record.origin } : undefined;
    const exchange = exchangeFrom(packetId, record, { owner: session, origin });
    session.broker.restore(exchange);
    if (origin) bindUplink(exchange, origin);
  }
}
