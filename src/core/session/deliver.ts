/** A publication from the broker for a client: it goes into the outbox, or it waits at the broker. See custody.ts. */
import { matches } from "../../wire/topic.ts";
import { acknowledge, contentHash, forgetReceived, isSameMessage, samePublication } from "../broker/received-record.ts";
import { fromBroker } from "../broker/topic-prefix.ts";
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import type { Received } from "../state/exchanges.ts";
import type { Link } from "../state/link.ts";
import { type OutboxEntry, unbindDelivery } from "../state/outbox-entry.ts";
import type { Session } from "../state/session.ts";
import type { CommitToken, Publication } from "../types.ts";
import { admitDeferred, enqueue } from "./admission.ts";
import { encodedFor, entryFor } from "./contents.ts";
import { reopen, takeBackCustody, takeCustody } from "./custody.ts";
import { giveUp } from "./drop.ts";
import { takeExpired } from "./expiry.ts";
import { expiryOf, newEntry, queuedRecord } from "./queued-record.ts";
import { repeatedRetained } from "./repeated-retained.ts";

/** Limit of deliveries per client that are remembered while there is no room for them. */
const outsideMax = 1_000;

type Delivered = Extract<Input, { kind: "delivered" }>;

/** The broker has sent a publication for this client. */
export function onDelivered(context: Context, session: Session, link: Link, input: Delivered): void {
  const { broker, clientId } = session;
  if (session.awaitsForwarding && session.clean) return leaveAtBroker(context, session, input, "session-ended");
  const topicName = fromBroker(session.upstream.options.topicPrefix, input.publication.topicName);
  if (broker.deafTo.size > 0 && isUnwanted(session, topicName))
    return leaveAtBroker(context, session, input, "session-ended");
  const expiresAt = topicName === undefined ? undefined : expiryOf(context, clientId, topicName, input.expirySeconds);
  if (input.publication.qos === 0) {
    if (topicName === undefined) return;
    if (isAgain(context, session, input, topicName) !== undefined)
      return leaveAtBroker(context, session, input, "retained-again");
    const entry = entryFor(context, session, { ...input.publication, topicName }, { expiresAt });
    if (entry) enqueue(context, session, entry);
    return;
  }
  const known = broker.received.get(input.packetId);
  if (known && isSame(known, input)) return onRedelivered(context, session, link, known, input);
  if (known?.held) {
    // The broker has reused the packet id. The gateway alone has the old message now.
    const entry = session.outbox.find(({ received }) => received === known);
    if (entry) unbindDelivery(entry);
  }
  const again = isAgain(context, session, input, topicName);
  if (again === "shown" || (again && holdsAsOurs(context, session, again)))
    return leaveAtBroker(context, session, input, "retained-again", again === "shown" ? undefined : again);
  const received = newReceived(broker, input, expiresAt);
  broker.received.set(input.packetId, received);
  enqueueOrDefer(context, session, received);
}

function isAgain(
  context: Context,
  session: Session,
  { publication, dup }: Delivered,
  topicName: string | undefined,
): ReturnType<typeof repeatedRetained> {
  if (!publication.retain || dup || topicName === undefined) return undefined;
  // The name and payload are remembered as they were sent to the client.
  const encoded = encodedFor(context, session, { ...publication, topicName });
  return encoded === "unfit" ? undefined : repeatedRetained(session, encoded);
}

/**
 * The waiting entry is the same message as a retained message that the broker sends again. The new delivery is
 * acknowledged only if the gateway has custody of the entry, because the earlier delivery may belong to a connection
 * that the broker has forgotten, and a later run would not know of it.
 */
function holdsAsOurs(context: Context, session: Session, entry: OutboxEntry): boolean {
  if (entry.publication.qos === 0) return false;
  // Custody is also taken of earlier entries of this topic, because a later run delivers stored messages first.
  // [MQTT-3.1.1 4.6]
  for (const other of session.outbox) {
    if (other.publication.topicName === entry.publication.topicName) takeCustody(context, session, other);
    if (other === entry) break;
  }
  return entry.received === undefined;
}

/** Whether the message matches only a filter that the client has ended, and whose end the broker could not be told. */
function isUnwanted({ broker, subscriptions }: Session, topicName: string | undefined): boolean {
  if (topicName === undefined) return false;
  for (const filter of subscriptions.keys()) if (matches(filter, topicName)) return false;
  for (const filter of broker.deafTo.keys()) if (matches(filter, topicName)) return true;
  return false;
}

/**
 * Acknowledges a message that the client does not need: its session has ended and only the link is still used, or it
 * has the message, or the same message waits for it.
 */
function leaveAtBroker(
  context: Context,
  session: Session,
  input: Delivered,
  why: "session-ended" | "retained-again",
  same?: OutboxEntry,
): void {
  context.counters.dropped[why]++;
  if (input.publication.qos === 0) return;
  const { broker } = session;
  const received = newReceived(broker, input, undefined);
  broker.received.set(input.packetId, received);
  if (!same) return acknowledge(context, broker, received, undefined);
  // Waits for the commit of this entry too, if it is not done yet.
  const kept = context.journal.keep(session.clientId, same.seq, queuedRecord(context, same));
  same.seq = kept.seq;
  if (kept.after !== undefined)
    context.journal.promised(kept.after, () => {
      // If the commit of the earlier delivery failed too, the entry is the copy of that one. This one becomes an entry.
      if (!same.received) return takeBackCustody(context, { session, received, entry: same });
      if (reopen(session, received)) enqueueOrDefer(context, session, received);
    });
  acknowledge(context, broker, received, kept.after);
}

function newReceived(broker: BrokerSession<Session>, input: Delivered, expiresAt: Received["expiresAt"]): Received {
  const { packetId, publication, payloads } = input;
  return {
    packetId,
    publication,
    connection: broker.connection,
    stage: "open",
    expiresAt,
    held: false,
    stored: false,
    hash: publication.qos === 2 ? contentHash(publication) : undefined,
    ...(payloads && { payloads }),
  };
}

/** Puts a delivery into the outbox. If there is no room, or others wait for room, it waits at the broker. */
function enqueueOrDefer(context: Context, session: Session, received: Received): void {
  const { deferred } = session.broker;
  if (deferred.size >= outsideMax) {
    // Only a broker without a window causes this. Over the next connection it sends unanswered messages again.
    const detail = `QoS ${received.publication.qos} ${received.publication.topicName}: left at the broker`;
    return context.drop("buffer-full", { clientId: session.clientId, detail });
  }
  deferred.set(received, true);
  admitDeferred(context, session);
}

/** Drops messages that have waited too long, and admits others in their place. */
export function dropExpired(context: Context, session: Session): void {
  for (const entry of takeExpired(context, session)) giveUp(context, session, entry, "expired");
  admitDeferred(context, session);
}

/**
 * Whether a delivery repeats a known one. At QoS 2 the packet id shows a repetition until PUBREL, unless the content
 * differs. At QoS 1 the broker may have reused the id.
 */
function isSame(known: Received, { publication, dup }: Delivered): boolean {
  if (known.publication.qos !== publication.qos) return false;
  return publication.qos === 2
    ? isSameMessage(known, publication)
    : dup && samePublication(known.publication, publication);
}

function onRedelivered(context: Context, session: Session, link: Link, known: Received, { payloads }: Delivered): void {
  const { broker } = session;
  known.connection = broker.connection;
  if (payloads) known.payloads = payloads;
  if (known.stage === "open" && !known.held) return enqueueOrDefer(context, session, known); // there was no room before
  context.counters.dropped.repeat++;
  if (known.stage === "open") return; // the message is still being sent to the client
  const { stage, after, packetId } = known;
  if (stage === "done") return acknowledge(context, broker, known, after);
  context.out.add({
    kind: "ackBroker",
    linkId: link.id,
    ack: "pubrec",
    packetId,
    ...(after !== undefined && { after }),
  });
}

/**
 * PUBREL: the broker has finished with this packet id. It will not send the message again, even if the gateway has not
 * acknowledged it, so the gateway alone has it now.
 */
export function onReleased(context: Context, link: Link, packetId: number): void {
  const { broker, session } = link;
  const received = broker.received.get(packetId);
  const entry = received?.held && session?.outbox.find((each) => each.received === received);
  if (session && entry) {
    unbindDelivery(entry);
    entry.seq = context.journal.keep(session.clientId, entry.seq, queuedRecord(context, entry)).seq;
  }
  const owner = session?.clientId ?? link.shared?.key;
  if (received && owner !== undefined) forgetReceived(context, owner, received);
  broker.received.delete(packetId);
  context.out.add({ kind: "ackBroker", linkId: link.id, ack: "pubcomp", packetId });
}

/**
 * Delivers a message to this client that does not come from the broker. If there is no room, it is dropped.
 * `isEncoded`: the payload is already in the device's format.
 */
export function handOver(
  context: Context,
  session: Session,
  publication: Publication,
  { isEncoded }: { readonly isEncoded: boolean },
): void {
  const { clientId } = session;
  const expiresAt = expiryOf(context, clientId, publication.topicName, undefined);
  const entry = isEncoded
    ? newEntry(context, clientId, publication, { expiresAt })
    : entryFor(context, session, publication, { expiresAt });
  if (!entry) return;
  if (enqueue(context, session, entry) !== "in") return;
  entry.seq = context.journal.keep(clientId, 0, queuedRecord(context, entry)).seq;
}

/**
 * One client's copy of a delivery to several clients. The gateway takes custody of it at once, whatever the client
 * does. Returns the commit that makes it durable. If there is no space, only this client's copy is dropped.
 */
export function deliver(
  context: Context,
  session: Session,
  publication: Publication,
  expirySeconds: number | undefined,
): CommitToken | undefined {
  const { clientId } = session;
  const expiresAt = expiryOf(context, clientId, publication.topicName, expirySeconds);
  const entry = entryFor(context, session, publication, { expiresAt });
  if (!entry || enqueue(context, session, entry) !== "in") return undefined;
  let after: CommitToken | undefined;
  if (publication.qos > 0) {
    const kept = context.journal.keep(clientId, 0, queuedRecord(context, entry));
    entry.seq = kept.seq;
    after = kept.after;
  }
  return after;
}
