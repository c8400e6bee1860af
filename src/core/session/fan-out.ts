/**
 * From a shared connection to the clients: which clients get a delivery, at which QoS, and when it is acknowledged at
 * the broker.
 *
 * The gateway takes custody for all recipients at once (on disk, if there is a store) and acknowledges the broker after
 * that commit. So a slow or sleeping client delays no other client. If a client has no room, only its copy is dropped,
 * counted and kept as a dead letter. The payload is never copied; there is one publication object for each QoS.
 */

import { contentHash, isSameMessage, storeReceived } from "../broker/received-record.ts";
import { noteLive, wants } from "../broker/retained.ts";
import { fromBroker } from "../broker/topic-prefix.ts";
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import { hashOf } from "../octets.ts";
import type { Connection } from "../state/broker-session.ts";
import type { Received, SharedFilter } from "../state/exchanges.ts";
import { isShared } from "../state/filter-tree.ts";
import type { Link } from "../state/link.ts";
import { isReachable, type Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";
import type { CommitToken, Publication, QoS } from "../types.ts";
import { deliver } from "./deliver.ts";
import { parkAgain } from "./park.ts";

/** At most so many members of a shared subscription are checked to find one that is reachable. */
const sharedTriesMax = 16;

/** So many acknowledged deliveries at QoS 1 are remembered. A broker has no more unanswered deliveries at a time. */
const recentDeliveriesMax = 1_000;

type Delivered = Extract<Input, { kind: "delivered" }>;

export function onSharedDelivered(
  context: Context,
  shared: SharedConnection<Session>,
  link: Link,
  input: Delivered,
): void {
  const { publication, packetId } = input;
  if (publication.qos > 0 && isRepeat(context, shared, link, input)) return;
  const topicName = fromBroker(shared.policy.topicPrefix, publication.topicName);
  const isWanted = topicName !== undefined && !isCounted(context, shared, link, topicName, input);
  const recipients = isWanted ? recipientsOf(context, shared, topicName, input) : nobody;
  const copies: (Publication | undefined)[] = [];
  let after: CommitToken | undefined;
  for (const [row, asked] of recipients) {
    const qos = Math.min(asked, publication.qos) as QoS;
    if (qos === 0 && input.dup) continue; // the client may have it, and must get it at most once
    const live = context.sessions.liveAt(row);
    const session = live ?? context.sessions.at(row);
    if (!session) continue;
    copies[qos] ??= { ...publication, topicName: topicName ?? "", qos };
    after = deliver(context, session, copies[qos], input.expirySeconds) ?? after;
    if (!live) parkAgain(context, session); // if nothing was kept for the client, because there may be a million
  }
  if (publication.qos > 0) acknowledgeCustody(context, shared, link, { packetId, publication }, after);
}

/**
 * Whether this is a further copy of a message that was distributed already. Copies are counted only if it is not known
 * how this broker sends them.
 */
function isCounted(
  { now, counters }: Context,
  shared: SharedConnection<Session>,
  { upstream }: Link,
  topicName: string,
  { publication, dup }: Delivered,
): boolean {
  if (upstream.copies !== "counted" || publication.retain || dup) return false;
  let filters = 0;
  shared.filters.match(topicName, ({ filter }) => {
    if (!isShared(filter)) filters++;
  });
  const isCopy = shared.copyCount.isCopy(contentHash(publication), filters, now);
  if (isCopy) counters.dropped.repeat++;
  else if (shared.copyCount.isOne) upstream.copies = "one";
  return isCopy;
}

/** The recipients, by their rows in the table of sessions. */
type Recipients = Iterable<readonly [row: number, qos: QoS]>;

const nobody: Recipients = [];

/** Returns each client once, at the highest QoS of its subscriptions that match. */
function recipientsOf(
  context: Context,
  shared: SharedConnection<Session>,
  topicName: string,
  { publication, subscriptionIds }: Delivered,
): Recipients {
  const matched: SharedFilter<Session>[] = [];
  shared.filters.match(topicName, (entry) => matched.push(entry));
  if (shared.isLeaving) dropGone(context, shared, matched);
  // MQTT 5: the broker says which subscriptions this copy is for. It may send a copy for each of several overlapping
  // subscriptions.
  const meant = subscriptionIds && matched.filter(({ id }) => subscriptionIds.includes(id));
  const entries = meant && meant.length > 0 ? meant : matched;
  if (publication.retain) return waiting(entries, topicName);
  for (const entry of entries) if (entry.waits) noteLive(entry, topicName);
  const [only] = entries;
  if (only && entries.length === 1 && !isShared(only.filter)) return only.members;
  const recipients = new Map<number, QoS>();
  for (const entry of entries) {
    if (isShared(entry.filter)) addHighest(recipients, ...nextOf(context, entry));
    else for (const [row, qos] of entry.members) addHighest(recipients, row, qos);
  }
  return recipients;
}

/**
 * Subscriptions of an MQTT session that is being left are not removed at the broker one by one. A client that has ended its session, or the
 * subscription, does not get the message.
 */
function dropGone(
  { sessions }: Context,
  { gone }: SharedConnection<Session>,
  matched: readonly SharedFilter<Session>[],
): void {
  for (const { filter, members } of matched)
    for (const row of [...members.keys()])
      if (gone.has(row) || !sessions.at(row)?.subscriptions.has(filter)) members.delete(row);
}

function addHighest(recipients: Map<number, QoS>, row: number, qos: QoS): void {
  recipients.set(row, Math.max(recipients.get(row) ?? 0, qos) as QoS);
}

/** A retained message goes to the clients that have just subscribed. */
function waiting(entries: readonly SharedFilter<Session>[], topicName: string): Recipients {
  const recipients = new Map<number, QoS>();
  for (const { waits, members } of entries) {
    for (const wait of waits?.values() ?? []) {
      if (wants(wait, topicName)) addHighest(recipients, wait.session.row, members.get(wait.session.row) ?? 0);
    }
  }
  return recipients;
}

/** The members of a shared subscription take turns. A member that is reachable comes before one that is not. */
function nextOf({ sessions }: Context, { members }: SharedFilter<Session>): [row: number, qos: QoS] {
  let first: [row: number, qos: QoS] | undefined;
  for (let tries = Math.min(members.size, sharedTriesMax); tries > 0; tries--) {
    const next = members[Symbol.iterator]().next();
    if (next.done) break;
    const [row, qos] = next.value;
    members.delete(row);
    members.set(row, qos);
    first ??= [row, qos];
    const session = sessions.liveAt(row);
    if (session && isReachable(session)) return [row, qos];
  }
  return first as [row: number, qos: QoS]; // an entry has at least one member
}

/**
 * At QoS 2 the id shows a repetition, until PUBREL, unless the content differs. At QoS 1 the broker may have reused the id. As far as the
 * gateway remembers it, a delivery that is repeated with DUP after a cut is not distributed again.
 */
function isRepeat(
  context: Context,
  shared: SharedConnection<Session>,
  link: Link,
  { packetId, publication, dup }: Delivered,
): boolean {
  let known = publication.qos === 2 ? shared.broker.received.get(packetId) : undefined;
  if (publication.qos === 1 && dup) {
    const last = shared.recentDeliveries.get(packetId);
    const { topicName, payload } = publication;
    if (last?.received.publication.topicName === topicName && last.hash === hashOf(payload)) known = last.received;
  }
  if (!known || (publication.qos === 2 && !isSameMessage(known, publication))) return false;
  known.connection = shared.broker.connection;
  context.counters.dropped.repeat++;
  if (known.stage === "acknowledged") sayReceived(context, link, known);
  return true;
}

function acknowledgeCustody(
  context: Context,
  shared: SharedConnection<Session>,
  link: Link,
  { packetId, publication }: { packetId: number; publication: Publication },
  after: CommitToken | undefined,
): void {
  const { topicName, qos, retain } = publication;
  const received: Received = {
    packetId,
    publication: { topicName, payload: nothing, qos, retain },
    connection: shared.broker.connection,
    stage: "acknowledged",
    expiresAt: undefined,
    held: false,
    stored: false,
    hash: publication.qos === 2 ? contentHash(publication) : undefined,
    after,
  };
  if (publication.qos === 1) remember(shared, received, hashOf(publication.payload));
  else {
    shared.broker.received.set(packetId, received);
    received.after = storeReceived(context, shared.key, received, 0) ?? after;
  }
  if (received.after !== undefined) {
    context.journal.promised(received.after, () => {
      received.stage = "open";
      shared.ackAwaitingStore.push(received);
    });
  }
  sayReceived(context, link, received);
}

function remember(shared: SharedConnection<Session>, received: Received, hash: number): void {
  const { recentDeliveries } = shared;
  recentDeliveries.delete(received.packetId);
  recentDeliveries.set(received.packetId, { received, hash });
  const oldest = recentDeliveries.size > recentDeliveriesMax ? recentDeliveries.keys().next() : undefined;
  if (oldest && !oldest.done) recentDeliveries.delete(oldest.value);
}

const nothing = new Uint8Array(0);

function sayReceived(context: Context, link: Connection, { packetId, publication, after }: Received): void {
  const ack = publication.qos === 1 ? "puback" : "pubrec";
  context.out.add({ kind: "ackBroker", linkId: link.id, ack, packetId, ...(after !== undefined && { after }) });
}

/** The store works again and has all missing changes: deliveries that were waiting for it are acknowledged. */
export function acknowledgeAwaitingStore(context: Context, shared: SharedConnection<Session>): void {
  const { broker } = shared;
  for (const received of shared.ackAwaitingStore.splice(0)) {
    received.stage = "acknowledged";
    received.after = undefined;
    if (broker.link?.up && received.connection === broker.connection) sayReceived(context, broker.link, received);
  }
}
