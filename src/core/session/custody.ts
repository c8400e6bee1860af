/**
 * Who holds a message.
 *
 * A QoS 1 or 2 message is the broker's until it is acknowledged there. While the client is active we acknowledge when
 * the client has; once it sleeps, we take custody of what fits into the buffer (stored first, if configured) and
 * acknowledge that. What does not fit stays unacknowledged: the broker keeps it, and its window holds back the rest,
 * so nothing that was acknowledged is ever dropped for want of room.
 */
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import type { BrokerSession, Link, Received } from "../routing/broker-session.ts";
import { fromBroker } from "../routing/topic-prefix.ts";
import { samePublication } from "../routing/transparent.ts";
import type { CommitToken, Publication } from "../types.ts";
import { entryBytes, type OutboxEntry } from "./outbox.ts";
import { outboxShift, pump } from "./publish-down.ts";
import { forgetReceived, storeReceived } from "./received-record.ts";
import type { Session } from "./session.ts";

/** Deliveries remembered per client for which there is no room. */
const outsideMax = 1_000;

type Delivered = Extract<Input, { kind: "delivered" }>;

/** A publication came from the broker for this client. */
export function onDelivered(context: Context, session: Session, link: Link, input: Delivered): void {
  const { broker } = session;
  if (session.lingers && session.clean) return leaveAtBroker(context, session, input);
  if (input.publication.qos === 0) {
    const topicName = fromBroker(session.upstream.options.topicPrefix, input.publication.topicName);
    if (topicName === undefined) return;
    if (take(context, session, newEntry({ ...input.publication, topicName }, expiry(context, input))))
      pump(context, session);
    return;
  }
  const known = broker.received.get(input.packetId);
  if (known && isSame(known, input)) return onRedelivered(context, session, link, known);
  if (known?.entry) known.entry.received = undefined; // the broker reused the id: the old one is ours alone
  const received: Received = {
    packetId: input.packetId,
    publication: input.publication,
    connection: broker.connection,
    stage: "open",
    expiresAt: expiry(context, input),
    entry: undefined,
    stored: false,
  };
  broker.received.set(input.packetId, received);
  offer(context, session, received);
}

/** The session that this was for is over; only its link is still needed. */
function leaveAtBroker(context: Context, session: Session, input: Delivered): void {
  context.counters.dropped["session-ended"]++;
  if (input.publication.qos === 0) return;
  const { broker } = session;
  const received: Received = {
    packetId: input.packetId,
    publication: input.publication,
    connection: broker.connection,
    stage: "open",
    expiresAt: undefined,
    entry: undefined,
    stored: false,
  };
  broker.received.set(input.packetId, received);
  acknowledge(context, broker, received, undefined);
}

/** Takes a delivery into the outbox; without room, or behind others that found none, it waits at the broker. */
function offer(context: Context, session: Session, received: Received): void {
  const { outside } = session.broker;
  if (outside.size >= outsideMax) {
    // Only a broker without a window comes here. It sends what it has no answer for again with the next connection.
    const detail = `QoS ${received.publication.qos} ${received.publication.topicName}: left at the broker`;
    return context.drop("buffer-full", { clientId: session.clientId, detail });
  }
  outside.add(received);
  letIn(context, session);
  if (received.entry) pump(context, session);
}

/**
 * Lets in, in their order, what found no room before. A broker does not send again what it sent on this connection, so
 * what we refused has to be remembered, or it and the window it takes would be stuck until the connection ends.
 */
export function letIn(context: Context, session: Session): void {
  const { outside } = session.broker;
  for (const received of outside) {
    const { publication } = received;
    const topicName = fromBroker(session.upstream.options.topicPrefix, publication.topicName);
    if (topicName === undefined) {
      outside.delete(received);
      acknowledge(context, session.broker, received, undefined);
      continue;
    }
    const entry = newEntry({ ...publication, topicName }, received.expiresAt, received);
    if (!take(context, session, entry)) return;
    outside.delete(received);
  }
}

/** At QoS 2 the id alone tells a repetition, until PUBREL; at QoS 1 the broker may have begun anew with it. */
function isSame(known: Received, input: Delivered): boolean {
  if (known.publication.qos !== input.publication.qos) return false;
  return known.publication.qos === 2 || (input.dup && samePublication(known.publication, input.publication));
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
  if (received && link.session) forgetReceived(context, link.session.clientId, received);
  broker.received.delete(packetId);
  context.out.add({ kind: "ackBroker", linkId: link.id, ack: "pubcomp", packetId });
}

function expiry(context: Context, input: Delivered): number | undefined {
  return input.expirySeconds === undefined ? undefined : context.now + input.expirySeconds * 1_000;
}

function newEntry(publication: Publication, expiresAt: number | undefined, received?: Received): OutboxEntry {
  return {
    publication,
    expiresAt,
    received,
    msgId: 0,
    fresh: false,
    released: false,
    topicIdRefused: false,
    registeredAgain: false,
    dupRefused: false,
    seq: 0,
  };
}

/** A message that is ours alone, for this client; false when there is no room. */
export function handOver(context: Context, session: Session, publication: Publication): boolean {
  const entry = newEntry(publication, undefined);
  if (!take(context, session, entry)) return false;
  entry.seq = context.journal.keep(session.clientId, 0, { v: 1, publication, msgId: 0, released: false }).seq;
  pump(context, session);
  return true;
}

/** Puts an entry into the outbox, if there is room. */
function take(context: Context, session: Session, entry: OutboxEntry): boolean {
  if (!admit(context, session, entry)) return false;
  const { received } = entry;
  if (received) received.entry = entry;
  session.outbox.push(entry);
  context.counters.bufferedMessages++;
  context.counters.bufferedBytes += entryBytes(entry);
  if (session.state !== "active" && session.state !== "awake") takeCustody(context, session, entry);
  return true;
}

/** Room for one more? At QoS 0 older QoS 0 makes way; at QoS 1 and 2 the broker's window is waited for. */
function admit(context: Context, session: Session, entry: OutboxEntry): boolean {
  const { outbox, clientId } = session;
  const { buffer } = context.options;
  const detail = `QoS ${entry.publication.qos} ${entry.publication.topicName}`;
  if (
    entry.publication.qos === 0 &&
    session.state !== "active" &&
    session.state !== "awake" &&
    !buffer.qos0WhileAsleep
  ) {
    context.drop("buffer-full", { clientId, detail: `${detail}: QoS 0 is not kept for sleepers` });
    return false;
  }
  while (!fits(context, session, entryBytes(entry), 1)) {
    const victim = outbox.oldestQoS0();
    if (!victim) break;
    context.drop("buffer-full", { clientId, detail: `QoS 0 ${victim.publication.topicName}: made way` });
    outboxShift(context, session, victim);
  }
  if (fits(context, session, entryBytes(entry), 1)) return true;
  // Unacknowledged messages wait here without custody, as many as the broker's window lets through.
  if (entry.received && outbox.length < buffer.messagesMax + session.upstream.options.receiveMaximum) return true;
  if (!entry.received) context.drop("buffer-full", { clientId, detail });
  return false;
}

function fits(context: Context, session: Session, moreBytes: number, moreMessages: number): boolean {
  const { buffer } = context.options;
  return (
    session.outbox.length + moreMessages <= buffer.messagesMax &&
    session.outbox.bytes + moreBytes <= buffer.bytesMax &&
    context.counters.bufferedBytes + moreBytes <= buffer.totalBytesMax
  );
}

/** The client sleeps: what fits into the buffer becomes ours. */
export function takeCustodyOfAll(context: Context, session: Session): void {
  for (const entry of session.outbox) if (entry.received) takeCustody(context, session, entry);
}

function takeCustody(context: Context, session: Session, entry: OutboxEntry): void {
  const { received } = entry;
  if (received?.stage !== "open" || !fits(context, session, 0, 0)) return;
  const { publication, msgId, released } = entry;
  const kept = context.journal.keep(session.clientId, entry.seq, { v: 1, publication, msgId, released });
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
  const { publication, msgId, released, received } = entry;
  entry.seq = context.journal.keep(session.clientId, entry.seq, { v: 1, publication, msgId, released }).seq;
  if (received) storeReceived(context, session.clientId, received, entry.seq);
}

/** The client's PUBREC came: the stored message must say so before PUBREL goes on. */
export function persistReleased(context: Context, session: Session, entry: OutboxEntry): CommitToken | undefined {
  if (entry.seq === 0) return undefined;
  const { publication, msgId, released, seq, received } = entry;
  if (received) storeReceived(context, session.clientId, received, 0);
  return context.journal.keep(session.clientId, seq, { v: 1, publication, msgId, released }).after;
}

/** Tells the broker that somebody has it; if the connection it came on is gone, when the broker asks again. */
export function acknowledge(
  context: Context,
  broker: BrokerSession,
  received: Received,
  after: CommitToken | undefined,
): void {
  if (received.stage !== "open" && received.stage !== "done") return;
  const { link } = broker;
  const { qos } = received.publication;
  if (received.entry) received.entry.received = undefined;
  received.entry = undefined;
  if (!link?.up || received.connection !== broker.connection) {
    received.stage = "done";
    return;
  }
  if (qos === 1) broker.received.delete(received.packetId);
  received.stage = "acknowledged";
  const { packetId } = received;
  const ack = qos === 1 ? "puback" : "pubrec";
  context.out.add({ kind: "ackBroker", linkId: link.id, ack, packetId, ...(after !== undefined && { after }) });
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
