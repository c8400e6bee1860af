/**
 * Who holds a message.
 *
 * A QoS 1 or 2 message is the broker's until it is acknowledged there. While the client is active we acknowledge when
 * the client has; once it sleeps, we take custody of what fits into the buffer (stored first, if configured) and
 * acknowledge that. What does not fit stays unacknowledged: the broker keeps it, and its window holds back the rest,
 * so nothing that was acknowledged is ever dropped for want of room, unless a rule of the operator says so (room.ts).
 */
import {
  acknowledge,
  contentHash,
  forgetReceived,
  isSameMessage,
  samePublication,
  storeReceived,
} from "../broker/received-record.ts";
import { fromBroker } from "../broker/topic-prefix.ts";
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import type { BrokerSession, Link, Received } from "../state/broker-session.ts";
import { entryBytes, type OutboxEntry } from "../state/outbox.ts";
import type { Session } from "../state/session.ts";
import type { CommitToken, Publication } from "../types.ts";
import { takeExpired, watchExpiry } from "./expiry.ts";
import { giveUp, pump } from "./publish-down.ts";
import { expiryOf, newEntry, queuedRecord } from "./queued-record.ts";
import { type Admission, admit, fits, turnAway } from "./room.ts";

/** Deliveries remembered per client for which there is no room. */
const outsideMax = 1_000;

type Delivered = Extract<Input, { kind: "delivered" }>;

/** A publication came from the broker for this client. */
export function onDelivered(context: Context, session: Session, link: Link, input: Delivered): void {
  const { broker, clientId } = session;
  if (session.lingers && session.clean) return leaveAtBroker(context, session, input);
  const topicName = fromBroker(session.upstream.options.topicPrefix, input.publication.topicName);
  const expiresAt = topicName === undefined ? undefined : expiryOf(context, clientId, topicName, input.expirySeconds);
  if (input.publication.qos === 0) {
    if (topicName === undefined) return;
    const entry = newEntry(context, clientId, { ...input.publication, topicName }, { expiresAt });
    if (take(context, session, entry) === "in") pump(context, session);
    return;
  }
  const known = broker.received.get(input.packetId);
  if (known && isSame(known, input)) return onRedelivered(context, session, link, known);
  if (known?.entry) known.entry.received = undefined; // the broker reused the id: the old one is ours alone
  const received = newReceived(broker, input, expiresAt);
  broker.received.set(input.packetId, received);
  offer(context, session, received);
}

/** The session that this was for is over; only its link is still needed. */
function leaveAtBroker(context: Context, session: Session, input: Delivered): void {
  context.counters.dropped["session-ended"]++;
  if (input.publication.qos === 0) return;
  const { broker } = session;
  const received = newReceived(broker, input, undefined);
  broker.received.set(input.packetId, received);
  acknowledge(context, broker, received, undefined);
}

function newReceived(broker: BrokerSession, input: Delivered, expiresAt: Received["expiresAt"]): Received {
  const { packetId, publication } = input;
  return {
    packetId,
    publication,
    connection: broker.connection,
    stage: "open",
    expiresAt,
    entry: undefined,
    stored: false,
    hash: publication.qos === 2 ? contentHash(publication) : undefined,
  };
}

/** Takes a delivery into the outbox; without room, or behind others that found none, it waits at the broker. */
function offer(context: Context, session: Session, received: Received): void {
  const { outside } = session.broker;
  if (outside.size >= outsideMax) {
    // Only a broker without a window comes here. It sends what it has no answer for again with the next connection.
    const detail = `QoS ${received.publication.qos} ${received.publication.topicName}: left at the broker`;
    return context.drop("buffer-full", { clientId: session.clientId, detail });
  }
  outside.set(received, true);
  letIn(context, session);
  if (received.entry) pump(context, session);
}

/**
 * Lets in, in their order, what found no room before. A broker does not send again what it sent on this connection, so
 * what we refused has to be remembered, or it and the window it takes would be stuck until the connection ends.
 */
export function letIn(context: Context, session: Session): void {
  const { outside } = session.broker;
  if (outside.size === 0) return;
  for (const received of outside.keys()) {
    const { publication } = received;
    const topicName = fromBroker(session.upstream.options.topicPrefix, publication.topicName);
    if (topicName === undefined) {
      outside.delete(received);
      acknowledge(context, session.broker, received, undefined);
      continue;
    }
    const { expiresAt } = received;
    const entry = newEntry(context, session.clientId, { ...publication, topicName }, { expiresAt, received });
    const isOver = expiresAt !== undefined && expiresAt <= context.now;
    const admission = isOver ? turnAway(context, session, entry, "expired") : take(context, session, entry);
    if (admission === "wait") return watchExpiry(context, session, expiresAt);
    outside.delete(received);
    if (admission === "dropped") acknowledge(context, session.broker, received, undefined);
  }
}

/** What has waited too long goes, and makes room. */
export function dropExpired(context: Context, session: Session): void {
  for (const entry of takeExpired(context, session)) giveUp(context, session, entry, "expired");
  letIn(context, session);
  pump(context, session);
}

/** At QoS 2 the id tells a repetition, until PUBREL, unless the content differs; at QoS 1 the broker may have begun anew with it. */
function isSame(known: Received, { publication, dup }: Delivered): boolean {
  if (known.publication.qos !== publication.qos) return false;
  return publication.qos === 2
    ? isSameMessage(known, publication)
    : dup && samePublication(known.publication, publication);
}

function onRedelivered(context: Context, session: Session, link: Link, known: Received): void {
  const { broker } = session;
  known.connection = broker.connection;
  if (known.stage === "open" && !known.entry) return offer(context, session, known); // no room last time
  context.counters.dropped.repeat++;
  if (known.stage === "open") return; // still on its way to the client
  if (known.stage === "done") return acknowledge(context, broker, known, undefined);
  context.out.add({ kind: "ackBroker", linkId: link.id, ack: "pubrec", packetId: known.packetId });
}

/** PUBREL: the broker is through with this id. */
export function onReleased(context: Context, link: Link, packetId: number): void {
  const { broker } = link;
  const received = broker.received.get(packetId);
  const owner = link.session?.clientId ?? link.trunk?.key;
  if (received && owner !== undefined) forgetReceived(context, owner, received);
  broker.received.delete(packetId);
  context.out.add({ kind: "ackBroker", linkId: link.id, ack: "pubcomp", packetId });
}

/** A message that is ours alone, for this client. Where there is no room, it is dropped. */
export function handOver(context: Context, session: Session, publication: Publication): void {
  const { clientId } = session;
  const expiresAt = expiryOf(context, clientId, publication.topicName, undefined);
  const entry = newEntry(context, clientId, publication, { expiresAt });
  if (take(context, session, entry) !== "in") return;
  entry.seq = context.journal.keep(clientId, 0, queuedRecord(context, entry)).seq;
  pump(context, session);
}

/**
 * One client's copy of a delivery to several: ours at once, whatever the client does. Answers the commit that makes it
 * safe; without room it is dropped, for this client alone.
 */
export function deliver(
  context: Context,
  session: Session,
  publication: Publication,
  expirySeconds: number | undefined,
): CommitToken | undefined {
  const { clientId } = session;
  const expiresAt = expiryOf(context, clientId, publication.topicName, expirySeconds);
  const entry = newEntry(context, clientId, publication, { expiresAt });
  if (take(context, session, entry) !== "in") return undefined;
  let after: CommitToken | undefined;
  if (publication.qos > 0) {
    const kept = context.journal.keep(clientId, 0, queuedRecord(context, entry));
    entry.seq = kept.seq;
    after = kept.after;
  }
  pump(context, session);
  return after;
}

/** Puts an entry into the outbox, if there is room. */
function take(context: Context, session: Session, entry: OutboxEntry): Admission {
  const admission = admit(context, session, entry);
  if (admission !== "in") return admission;
  const { received } = entry;
  if (received) received.entry = entry;
  session.outbox.push(entry);
  context.counters.bufferedMessages++;
  context.counters.bufferedBytes += entryBytes(entry);
  watchExpiry(context, session, entry.expiresAt);
  if (session.state !== "active" && session.state !== "awake") takeCustody(context, session, entry);
  return "in";
}

/** The client sleeps: what fits into the buffer becomes ours. */
export function takeCustodyOfAll(context: Context, session: Session): void {
  for (const entry of session.outbox) if (entry.received) takeCustody(context, session, entry);
}

function takeCustody(context: Context, session: Session, entry: OutboxEntry): void {
  const { received } = entry;
  if (received?.stage !== "open" || !fits(context, session, entry.policy, { messages: 0, bytes: 0 })) return;
  const kept = context.journal.keep(session.clientId, entry.seq, queuedRecord(context, entry));
  entry.seq = kept.seq;
  storeReceived(context, session.clientId, received, 0);
  if (kept.after !== undefined)
    context.journal.promised(kept.after, () => takeBackCustody(context, { session, received, entry }));
  acknowledge(context, session.broker, received, kept.after);
}

/**
 * A QoS 2 message is about to leave for the first time: its MsgId, and which of the broker's deliveries it is, must be
 * known to a later life, or the client would get it twice.
 */
export function persistFirstFlight(context: Context, session: Session, entry: OutboxEntry): void {
  if (!context.journal.enabled || entry.publication.qos !== 2) return;
  const { received } = entry;
  entry.seq = context.journal.keep(session.clientId, entry.seq, queuedRecord(context, entry)).seq;
  if (received) storeReceived(context, session.clientId, received, entry.seq);
}

/** The client's PUBREC came: the stored message must say so before PUBREL goes on. */
export function persistReleased(context: Context, session: Session, entry: OutboxEntry): CommitToken | undefined {
  if (entry.seq === 0) return undefined;
  const { seq, received } = entry;
  if (received) storeReceived(context, session.clientId, received, 0);
  return context.journal.keep(session.clientId, seq, queuedRecord(context, entry)).after;
}

/** The commit failed: the promise was not given, the message is the broker's again (unless the client has it by now). */
function takeBackCustody(
  context: Context,
  promised: { readonly session: Session; readonly received: Received; readonly entry: OutboxEntry },
): void {
  const { session, received, entry } = promised;
  received.stage = "open";
  session.broker.received.set(received.packetId, received);
  if (!session.outbox.has(entry)) return acknowledge(context, session.broker, received, undefined);
  received.entry = entry;
  entry.received = received;
}
