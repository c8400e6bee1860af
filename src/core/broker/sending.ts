/**
 * The packets that are sent after a connection was opened (again), and their order. [MQTT-3.1.1 4.4]
 *
 * Everything is sent again with its packet id, in the old order, within the broker's window. The broker recognizes a
 * repetition by the packet id. If the broker has lost the session, exactly-once delivery cannot be guaranteed any more.
 * Messages that it may have had are counted as uncertain; they are never silently sent at a lower QoS.
 */
import { assertNever } from "../assert.ts";
import type { Context } from "../context.ts";
import { Deadline } from "../deadlines.ts";

import type { BrokerSession, Connection } from "../state/broker-session.ts";
import {
  type Exchange,
  newPublishExchange,
  newSubscribe,
  type PublishExchange,
  type SubscribeExchange,
  type UnsubscribeExchange,
} from "../state/exchanges.ts";
import type { Link } from "../state/link.ts";
import { identityOf } from "../state/packet-key.ts";
import type { Session } from "../state/session.ts";
import type { Instant, LinkId, Publication } from "../types.ts";
import type { Reason } from "../words.ts";
import { storeExperience } from "./experience-record.ts";
import { mayHave, mayPublish } from "./rights.ts";
import { filterToBroker } from "./topic-prefix.ts";

/** `withoutRetained`: the client has the retained messages, except for filters whose SUBSCRIBE was not answered. */
export function subscribeAgain(
  broker: BrokerSession<Session>,
  session: Session,
  { withoutRetained }: { withoutRetained: boolean },
): void {
  const wanting = new Set<string>();
  const before: Exchange<Session>[] = [];
  for (const exchange of broker.inFlight.values()) {
    if (exchange.kind !== "subscribe" || exchange.origin) continue;
    if (!exchange.withoutRetained) wanting.add(exchange.filter);
    before.push(exchange);
  }
  for (const { filter, qos, isRefused } of session.subscriptions.values()) {
    if (isRefused) continue;
    const packetId = broker.freePacketId();
    if (packetId === undefined) break;
    const has = withoutRetained && !wanting.has(filter);
    broker.add(newSubscribe({ packetId, filter, qos, origin: undefined, withoutRetained: has }));
    if (!wanting.has(filter)) broker.askedAgain.set(filter, true);
  }
  // The old exchanges end after the new ones are added, so that suspicions against a filter stay.
  for (const exchange of before) broker.finish(exchange);
}

export function resendAll(context: Context, broker: BrokerSession<Session>): void {
  const { link } = broker;
  if (!link) return;
  broker.search.connected(context.now);
  if (broker.search.isOn) {
    // Nothing is sent before the PINGREQ that shows that the connection works. Otherwise the end of the connection
    // could not be attributed to a packet.
    broker.owesReleases = true;
    broker.queueAll();
    return sendWaiting(context, broker);
  }
  // Packets were unanswered when an earlier connection ended. If that happens again, it must be known if the broker was
  // alive.
  if (broker.search.remembers) ping(context, broker, undefined);
  for (const exchange of broker.inFlight.values()) {
    if (exchange.kind !== "publish") sendRequest(context, broker, exchange);
  }
  releaseAll(context, broker);
  sendWaiting(context, broker);
}

function releaseAll(context: Context, broker: BrokerSession<Session>): void {
  const { link } = broker;
  broker.owesReleases = false;
  if (!link) return;
  for (const exchange of broker.inFlight.values())
    if (exchange.kind === "publish" && exchange.stage === "released") sendRelease(context, link.id, exchange);
}

/** Sends PUBREL, when the record says that it is sent. */
export function sendRelease(
  context: Context,
  linkId: LinkId,
  { packetId, writtenWith: behind }: PublishExchange<Session>,
): void {
  if (behind > 0) context.out.add({ kind: "release", linkId, packetId, behind });
  else context.out.add({ kind: "release", linkId, packetId });
}

/** Sends a new packet, unless others wait or the window is full; then it waits. */
export function sendOrWait(context: Context, broker: BrokerSession<Session>, exchange: Exchange<Session>): void {
  const { link } = broker;
  if (!broker.search.isOn) {
    if (exchange.kind !== "publish") {
      if (!link?.up) return; // sent when the next connection opens
      sendWaiting(context, broker); // packets that a finished search has held are sent first
      if (broker.waitsBefore(exchange)) broker.queue(exchange);
      else sendRequest(context, broker, exchange);
      return;
    }
    if (link?.up && !broker.hasLine && broker.hasRoom(exchange.publication.qos, link.limits))
      return sendPublish(context, broker, exchange);
  }
  if (exchange.kind === "publish" || link?.up) broker.queue(exchange);
  sendWaiting(context, broker);
}

/**
 * Sends the waiting packets in order, as far as the broker's window allows; during a search for suspects, as the search
 * decides.
 */
export function sendWaiting(context: Context, broker: BrokerSession<Session>): void {
  const { link } = broker;
  if (!link?.up) return;
  if (!broker.search.isOn) {
    if (broker.isIdle) return;
    broker.clearUnanswered();
    return sendLines(context, broker);
  }
  const choice = broker.choose(context.now, link.limits);
  storeExperience(context, broker); // that the broker refuses every packet may have been found only now, and then there are no suspects any more
  switch (choice.kind) {
    case "ping":
      return ping(context, broker, undefined);
    case "test":
      for (const exchange of choice.packets) send(context, broker, exchange);
      return;
    case "flow":
      sendLines(context, broker);
      break;
    case "hold":
      if (choice.until === context.now) return sendWaiting(context, broker); // the choice may be another one now
      break;
    default:
      assertNever(choice);
  }
  if (choice.until !== undefined) askAgain(context, link, choice.until);
}

function sendLines(context: Context, broker: BrokerSession<Session>): void {
  const { link } = broker;
  while (link && broker.hasLine && broker.openPublications < link.limits.receiveMaximum) {
    const exchange = broker.nextWaiting(link.limits);
    if (!exchange) return;
    send(context, broker, exchange);
  }
}

/** Sets the time at which the search is asked again. */
function askAgain(context: Context, { id }: Connection, until: Instant): void {
  const link = context.links.get(id);
  if (!link) return;
  link.retest ??= new Deadline(link, "retest");
  context.deadlines.set(link.retest, until);
}

/** Sends PINGREQ. `after`: the publication at QoS 0 whose acceptance the answer shows. */
function ping(context: Context, broker: BrokerSession<Session>, after: PublishExchange<Session> | undefined): void {
  if (!broker.link) return;
  broker.pings.push(after);
  context.out.add({ kind: "ping", linkId: broker.link.id });
}

/** PINGRESP has arrived. */
export function onPong(context: Context, { broker }: Link): void {
  const exchange = broker.pings.shift();
  if (exchange) broker.answered(exchange, context.now);
  else broker.search.showsLife();
  if (exchange?.suspicion) broker.search.detach(exchange);
  if (broker.owesReleases) releaseAll(context, broker);
  storeExperience(context, broker);
  sendWaiting(context, broker);
}

function send(context: Context, broker: BrokerSession<Session>, exchange: Exchange<Session>): void {
  if (exchange.kind === "publish") sendPublish(context, broker, exchange);
  else sendRequest(context, broker, exchange);
}

/** Sends SUBSCRIBE or UNSUBSCRIBE. */
function sendRequest(
  context: Context,
  broker: BrokerSession<Session>,
  exchange: SubscribeExchange<Session> | UnsubscribeExchange<Session>,
): void {
  const { link } = broker;
  if (!link) return;
  if (exchange.kind === "subscribe" && !isAllowed(context, link, exchange)) {
    context.notAllowed.push({ broker, exchange });
    return;
  }
  broker.sent(exchange);
  const { packetId } = exchange;
  const topicFilter = filterToBroker(link.policy.topicPrefix, exchange.filter);
  if (exchange.kind === "unsubscribe") {
    context.out.add({ kind: "unsubscribe", linkId: link.id, packetId, topicFilter });
    return;
  }
  const { qos, shared } = exchange;
  const withoutRetained = shared ? shared.waits.length === 0 : exchange.withoutRetained === true;
  context.out.add({
    kind: "subscribe",
    linkId: link.id,
    packetId,
    topicFilter,
    qos,
    ...(shared && { subscriptionId: shared.entry.id }),
    ...(withoutRetained && { withoutRetained }),
  });
}

/**
 * On a shared connection: true if at least one member of the filter has the right. Received messages are checked for
 * each client.
 */
function isAllowed(context: Context, { id }: Connection, { filter, shared }: SubscribeExchange<Session>): boolean {
  if (shared) {
    for (const row of shared.entry.members.keys()) {
      const session = context.sessions.liveAt(row);
      // A parked client was checked when its rights changed.
      if (!session || mayHave(context, session, "subscribe", filter)) return true;
    }
    return shared.entry.members.size === 0;
  }
  const session = context.links.get(id)?.session;
  return session === undefined || mayHave(context, session, "subscribe", filter);
}

function sendPublish(context: Context, broker: BrokerSession<Session>, exchange: PublishExchange<Session>): void {
  const { link } = broker;
  if (!link) return;
  const { publication, packetId, sentBefore: dup, owner } = exchange;
  if (owner && !mayPublish(context, owner, publication)) {
    context.notAllowed.push({ broker, exchange });
    return;
  }
  broker.sent(exchange);
  const { writtenWith: behind } = exchange;
  // The record may have been written in an earlier turn, and its commit may not be done yet.
  if (behind > 0) context.out.add({ kind: "publish", linkId: link.id, publication, packetId, dup, behind });
  else context.out.add({ kind: "publish", linkId: link.id, publication, packetId, dup });
  if (packetId === 0) ping(context, broker, exchange);
}

/** QoS 0 publications of one client that may wait during a search for suspects. */
const unansweredWaitingMax = 20;

/**
 * A publication at QoS 0 is sent at once, and its result is not known. If connections ended while such publications were open, or while
 * suspects are searched, it waits for its turn, and a PINGREQ after it shows that it was accepted. False: the caller must count it as
 * dropped.
 */
export function sendUnanswered(
  context: Context,
  broker: BrokerSession<Session>,
  owner: Session | undefined,
  publication: Publication,
): boolean {
  const { link } = broker;
  if (!link?.up) return false;
  if (owner && !mayPublish(context, owner, publication)) return true;
  if (!broker.search.isOn && context.now >= broker.watchUntil && !broker.search.remembers) {
    broker.saidUnanswerable = true;
    context.out.add({ kind: "publish", linkId: link.id, publication, packetId: 0, dup: false });
    return true;
  }
  const exchange = newPublishExchange<Session>(0, publication, owner);
  const { key } = identityOf(exchange, broker.key);
  const suspicion = broker.search.find(key);
  // Of a suspected kind, one packet is tried at its time. A packet at QoS 0 is not sent again, so it would only wait.
  if (suspicion?.isSuspect && (suspicion.packets.length > 0 || suspicion.nextTry > context.now)) return false;
  if (broker.waitingBefore(exchange) >= unansweredWaitingMax) return false;
  broker.search.attach(exchange, key);
  sendOrWait(context, broker, exchange);
  return true;
}

/** Sends the last packet of a client on a connection that closes after it, so there is no time for an answer. */
export function sendLast(context: Context, session: Session, publication: Publication): void {
  const { link } = session.broker;
  if (!link || !mayPublish(context, session, publication)) return;
  context.out.add({
    kind: "publish",
    linkId: link.id,
    publication: { ...publication, qos: 0 },
    packetId: 0,
    dup: false,
  });
}

/** The answers to a device for MQTT reason codes. */
export function reasonOf(code: number): Reason {
  if (code < 0x80) return "accepted";
  return code === 0x97 ? "congestion" : "notSupported";
}
