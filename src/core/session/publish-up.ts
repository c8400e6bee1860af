/**
 * From the client to the broker. [MQTT-SN 1.2 §6.6, §6.8]
 *
 * The gateway acknowledges to the client only when the broker has acknowledged. The exchange of a repetition is found
 * by its MsgId, so the message is published once, whatever DUP says. At QoS 2 each answer to the client waits for the
 * broker's answer.
 */
import { isSafeToShare, isTopicName, shortNameFromId } from "../../wire/topic.ts";
import { verdictOn } from "../broker/door.ts";
import { forgetExchange, storeExchange } from "../broker/exchange-record.ts";
import { takesPublication } from "../broker/limits.ts";
import { awaitCustody } from "../broker/links.ts";
import { mayPublish } from "../broker/rights.ts";
import { reasonOf, sendOrWait, sendUnanswered, sendWaiting } from "../broker/sending.ts";
import { publishByService } from "../broker/service.ts";
import { toBroker } from "../broker/topic-prefix.ts";
import type { Context } from "../context.ts";
import { pubAck } from "../messages.ts";
import { hashOf } from "../octets.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import { newPublishExchange, type PublishExchange } from "../state/exchanges.ts";
import { predefinedName } from "../state/predefined-topics.ts";
import { bindUplink, type Session, unbindUplink } from "../state/session.ts";
import type { PeerId, Publication } from "../types.ts";
import type { Publish, Reason } from "../words.ts";
import { drainSoon, isStoreAndForward } from "./backlog.ts";
import { onAcceptedSettled } from "./backlog-drain.ts";
import { decodedOf, metaFor, publishRaw } from "./contents.ts";
import {
  awaitPubRel,
  forgetTaken,
  isTaken,
  makeRoomForTaken,
  matchInFlight,
  noteCompleted,
  remember,
} from "./duplicates.ts";
import { mayAsk } from "./limits.ts";
import { mayGoToBroker } from "./safe-name.ts";
import { confirm } from "./session-record.ts";
import { acceptPublish, isBrokerExpected, isForBacklog } from "./store-and-forward.ts";
import { isTimeAsked, tellTime } from "./time.ts";
import { onWillSettled } from "./will-delivery.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export function onPublish(context: Context, session: Session, message: Publish): void {
  const isWithin = mayAsk(context, session, "PUBLISH");
  if (message.qos === -1) {
    if (isWithin) onPublishWithoutAnswer(context, session.peer, session, message);
    return;
  }
  if (message.qos > 0) {
    if (message.msgId === 0) {
      return context.drop("message-id-zero", { clientId: session.clientId, peer: session.peer, detail: "PUBLISH" });
    }
    if (isRepeat(context, session, message)) return;
  }
  if (!isWithin) {
    sayRefused(context, session, message, "congestion");
    return;
  }
  if (isTimeAsked(context, message)) return tellTime(context, session, message);
  const topicName = topicNameOf(context, session, message);
  if (topicName === undefined) {
    const isNoId = message.topicIdType === "reserved" || message.topicIdType === "name";
    const reason = isNoId ? "notSupported" : "invalidTopicId";
    refuse(context, session, message, reason, "unknown-topic-id");
    return;
  }

  if (!mayGoToBroker(topicName, session.shared !== undefined)) {
    refuse(context, session, message, "notSupported", "unsafe-topic");
    return;
  }
  const { payloadBytesMax, topicPrefix } = session.upstream.options;
  if (message.data.byteLength > payloadBytesMax) {
    refuse(context, session, message, "notSupported", "too-large-for-broker");
    return;
  }
  const decoded = context.payloads && decodedOf(context, session, topicName, message.data);
  const { qos, retain } = message;
  const meta = metaFor(context, session.upstream.options, session, decoded);
  const name = toBroker(topicPrefix, decoded?.topicName ?? topicName);
  const payload = decoded?.payload ?? message.data;
  const publication: Publication = meta
    ? { topicName: name, payload, qos, retain, meta }
    : { topicName: name, payload, qos, retain };
  if (goesOn(context, session, message, publication) && decoded?.rawTopicName !== undefined)
    publishRaw(context, session, publication, { topicName: decoded.rawTopicName, payload: message.data });
}

/** True: it is being sent to the broker. False: it is refused. */
function goesOn(context: Context, session: Session, message: Publish, publication: Publication): boolean {
  const { link } = session.broker;
  const { uplinkInFlightMax } = context.options.clients;
  // It is asked again where it leaves; here it can be refused before anything is made of it.
  if (!mayPublish(context, session, publication)) return sayRefused(context, session, message, "notSupported");
  const verdict = verdictOn(context, session.broker, session.clientId, publication);
  if (verdict === "refuse") return refuse(context, session, message, "notSupported", "refused-by-broker");
  if (verdict === "suspect") return publishSuspect(context, session, message, publication);
  if (isBrokerExpected(context, session, message) && isStoreAndForward(context, session.clientId))
    return publishSoon(context, session, message, publication);
  if (isForBacklog(context, session, message)) {
    const why = acceptPublish(context, session, message, publication);
    if (why !== undefined) return refuse(context, session, message, "congestion", why);
    context.counters.publishedUp++;
    return true;
  }
  if (!link?.up) return refuse(context, session, message, "congestion", "link-down");
  if (link.congested || (message.qos > 0 && session.publishesInFlight.size >= uplinkInFlightMax)) {
    return refuse(context, session, message, "congestion", "uplink-congested");
  }
  if (message.qos === 2 && !makeRoomForTaken(context, session)) {
    return refuse(context, session, message, "congestion", "uplink-congested");
  }
  if (message.qos === 2 && context.storeFails) {
    return refuse(context, session, message, "congestion", "store-failing");
  }
  if (!takesPublication(link.limits, publication)) {
    // A silent downgrade would be a lie to the device.
    return refuse(context, session, message, "notSupported", "too-large-for-broker");
  }
  context.counters.publishedUp++;
  if (message.qos > 0) return publishWithAnswer(context, session, message, publication);
  if (sendUnanswered(context, session.broker, session, publication)) return true;
  return refuse(context, session, message, "congestion", "uplink-congested");
}

/** It is counted already. At QoS 0 too: the device may receive the answer, and stop. [§5.4.13] */
function sayRefused(context: Context, session: Session, { topicId, msgId }: Publish, reason: Reason): false {
  context.tell(session, pubAck(topicId, msgId, reason));
  return false;
}

/** The gateway does not answer it itself: its device gets the broker's answer, or 0x03 when the packet is taken out. */
function publishSuspect(context: Context, session: Session, message: Publish, publication: Publication): boolean {
  const { link } = session.broker;
  const isLive = link?.up === true || isStoreAndForward(context, session.clientId);
  const isFull =
    session.publishesInFlight.size >= context.options.clients.uplinkInFlightMax || session.account.backlog.count > 0;
  if (!isLive || isFull || link?.congested || (message.qos === 2 && context.storeFails))
    return refuse(context, session, message, "congestion", "uplink-congested");
  if (message.qos === 2 && !makeRoomForTaken(context, session))
    return refuse(context, session, message, "congestion", "uplink-congested");
  context.counters.publishedUp++;
  return publishWithAnswer(context, session, message, publication);
}

/** It waits for the next connection. When that takes too long, it is taken into custody (inputs/connection-end.ts). */
function publishSoon(context: Context, session: Session, message: Publish, publication: Publication): boolean {
  if (message.qos === 2 && (context.storeFails || !makeRoomForTaken(context, session)))
    return refuse(context, session, message, "congestion", "uplink-congested");
  const id = session.broker.link?.id;
  const link = id && context.links.get(id);
  if (link) awaitCustody(context, link);
  context.counters.publishedUp++;
  return publishWithAnswer(context, session, message, publication);
}

function publishWithAnswer(context: Context, session: Session, message: Publish, publication: Publication): boolean {
  const { broker } = session;
  const { msgId, topicId, qos } = message;
  const packetId = broker.freePacketId();
  if (packetId === undefined) return refuse(context, session, message, "congestion", "uplink-congested");
  const exchange = newPublishExchange(packetId, publication, session);
  broker.add(exchange);
  const isAsHeard = publication.payload === message.data;
  // Without a spread operator, which would cost as much as the rest of the procedure.
  bindUplink(
    exchange,
    isAsHeard ? { session, msgId, topicId } : { session, msgId, topicId, heard: hashOf(message.data) },
  );
  if (qos === 2) storeExchange(context, session.clientId, exchange);
  sendOrWait(context, broker, exchange);
  if (exchange.stage === "waiting") releaseOwed(context, session);
  return true;
}

/** QoS -1: from anyone, to predefined ids and short names, never answered. [§6.8] */
export function onPublishWithoutAnswer(
  context: Context,
  peer: PeerId | undefined,
  session: Session | undefined,
  message: Publish,
): void {
  const about = { clientId: session?.clientId, peer, detail: `${message.topicIdType} ${message.topicId}` };
  const named = withoutAnswerTopic(context, { peer, session }, message);
  if (!named) return context.drop("qos-minus-one-topic", about);
  if (!isSafeToShare(named.topicName)) return context.drop("unsafe-topic", about);
  const upstream = session?.upstream ?? context.upstreams.of(undefined, peer);
  if (named.payload.byteLength > upstream.options.payloadBytesMax) return context.drop("too-large-for-broker", about);
  const sender = { clientId: session?.clientId, peer };
  const decoded = decodedOf(context, sender, named.topicName, named.payload);
  const { topicName, payload } = decoded ?? named;
  const meta = metaFor(context, upstream.options, sender, decoded);
  const publication: Publication = { topicName, payload, qos: 0, retain: message.retain, ...(meta && { meta }) };
  const rights = session ? context.rightsOf(session) : context.rightsAt(undefined, peer);
  if (rights?.mayPublish(publication.topicName) === false) {
    const { clientId } = sender;
    return context.sayNotAllowed(rights, { clientId, peer, way: "publish", topic: publication.topicName });
  }
  context.counters.publishedUp++;
  const link = session?.broker.link;
  const via = link?.up ? link : upstream.service.link;
  if (via?.up && !takesPublication(via.limits, publication)) return context.drop("too-large-for-broker", about);
  if (session && link?.up && !link.congested) {
    const atBroker = { ...publication, topicName: toBroker(upstream.options.topicPrefix, topicName) };
    if (verdictOn(context, session.broker, session.clientId, atBroker) === "refuse") {
      context.counters.publishedUp--;
      return context.drop("refused-by-broker", about);
    }
    if (!sendUnanswered(context, session.broker, session, atBroker)) {
      context.counters.publishedUp--;
      context.drop("uplink-congested", about);
    }
  } else if (!publishByService(context, upstream, publication)) {
    context.counters.publishedUp--;
    context.drop("link-down", about);
  }
}

/** Topic name and payload of a message that its sender may send; undefined: it is none. Nothing is noted. */
export function publicationNamed(
  context: Context,
  sender: { readonly peer: PeerId; readonly session: Session | undefined },
  message: Publish,
): { readonly topicName: string; readonly payload: Uint8Array } | undefined {
  if (message.qos === -1) return withoutAnswerTopic(context, sender, message);
  const { session } = sender;
  if (!session) return undefined;
  const topicName =
    message.topicIdType === "normal"
      ? session.registry.byId(message.topicId)?.name
      : topicNameWithoutSession(context, session, message);
  return topicName === undefined ? undefined : { topicName, payload: message.data };
}

function withoutAnswerTopic(
  context: Context,
  { peer, session }: { readonly peer: PeerId | undefined; readonly session: Session | undefined },
  message: Publish,
): { topicName: string; payload: Uint8Array } | undefined {
  if (message.topicIdType === "normal") {
    // An extension of RSMB and Paho: the id is the length of a name that precedes the payload. [interpretation 20]
    if (!context.options.longNameQoSMinusOne(peer) || message.topicId === 0) return undefined;
    if (message.topicId > message.data.byteLength) return undefined;
    const topicName = topicNameFrom(message.data.subarray(0, message.topicId));
    return topicName === undefined ? undefined : { topicName, payload: message.data.subarray(message.topicId) };
  }
  const topicName = topicNameWithoutSession(context, session, message);
  return topicName === undefined ? undefined : { topicName, payload: message.data };
}

function topicNameWithoutSession(context: Context, session: Session | undefined, message: Publish): string | undefined {
  switch (message.topicIdType) {
    case "short":
      return shortNameFromId(message.topicId);
    case "predefined":
      return predefinedName(session?.predefined ?? context.predefined, session?.clientId, message.topicId);
    case "name":
      return nameIn(message);
    default:
      return undefined;
  }
}

/** PUBREL: the client has our PUBREC. For an id we do not know, the exchange is over already. [interpretation 17] */
export function onPubRel(context: Context, session: Session, msgId: number): void {
  const exchange = session.publishesInFlight.get(msgId);
  if (exchange?.publication.qos !== 2) {
    const taken = session.inboundQoS2.get(msgId);
    if (taken) noteCompleted(context, session, { msgId, topicId: taken.topicId, qos: 2, hash: taken.hash });
    forgetTaken(context, session, msgId);
    context.tell(session, { type: "PUBCOMP", msgId });
    return;
  }
  if (exchange.stage !== "received") return; // the broker's answer is not here yet
  exchange.stage = "released";
  storeExchange(context, session.clientId, exchange);
  const { link } = session.broker;
  if (link?.up) context.out.add({ kind: "release", linkId: link.id, packetId: exchange.packetId });
}

/** The broker's answer to a publication of ours. */
export function onPublishAck(
  context: Context,
  broker: BrokerSession<Session>,
  exchange: PublishExchange<Session>,
  ack: PublishAnswer,
): void {
  const { qos } = exchange.publication;
  if (exchange.stage === "waiting") return;
  const isOfThisStep = qos === 1 ? ack.kind === "puback" : ack.kind === "pubrec" || exchange.stage === "released";
  if (!isOfThisStep && exchange.stage !== "sent") return;
  const isOfOtherQoS = !isOfThisStep || (qos === 2 && ack.kind === "puback");
  if (isOfOtherQoS) noteOtherQoS(context, broker, exchange, ack.kind);
  broker.answered(exchange, context.now);
  if (qos === 2 && ack.kind === "pubrec" && ack.code < 0x80) return onReceivedByBroker(context, broker, exchange);
  broker.finish(exchange);
  forgetExchange(context, exchange);
  if (qos === 1 && ack.kind === "pubrec" && ack.code < 0x80) releaseUnasked(context, broker, exchange.packetId);
  sendWaiting(context, broker);
  if (exchange.owner) releaseOwed(context, exchange.owner);
  if (exchange.owner) drainSoon(context, exchange.owner); // it may have been this one that filled the window
  if (exchange.isWill) return onWillSettled(context, exchange);
  if (exchange.accepted && exchange.owner) return onAcceptedSettled(context, exchange.owner, exchange, ack.code);
  const { origin } = exchange;
  if (!origin) return;
  const { session, msgId, topicId } = origin;
  const reason = reasonOf(ack.code);
  if (qos === 2 && exchange.stage !== "released" && reason === "accepted") {
    // For the broker it is over, for the client it has just begun: its PUBREL is ours to answer.
    unbindUplink(exchange);
    awaitPubRel(context, session, exchange, origin);
    if (!exchange.fromBeforeConnect) context.answer(session, { type: "PUBREC", msgId });
    return;
  }
  if (reason === "accepted") remember(context, session, exchange);
  unbindUplink(exchange);
  if (exchange.fromBeforeConnect) return;
  if (qos === 2 && exchange.stage === "released") context.answer(session, { type: "PUBCOMP", msgId });
  else context.answer(session, pubAck(topicId, msgId, reason));
}

interface PublishAnswer {
  readonly kind: "puback" | "pubrec" | "pubcomp";
  readonly code: number;
}

/**
 * The broker answers as if the publication were of another QoS: RabbitMQ 3.10 says PUBACK to QoS 2. It has it, and will say
 * nothing more, so this is the end of it, with what that QoS promises. Waiting would hold it, and the client, for ever.
 */
function noteOtherQoS(
  context: Context,
  broker: BrokerSession<Session>,
  { owner, publication }: PublishExchange<Session>,
  answer: PublishAnswer["kind"],
): void {
  context.counters.otherQoSAnswers++;
  if (broker.saidOtherQoS) return;
  broker.saidOtherQoS = true;
  context.out.report({ event: "other_qos_answered", clientId: owner?.clientId, qos: publication.qos, answer });
}

/** PUBREC for QoS 1: the broker waits for PUBREL, and takes the packet id for this message until it has answered that. */
function releaseUnasked(context: Context, broker: BrokerSession<Session>, packetId: number): void {
  const { link } = broker;
  if (!link?.up) return;
  broker.retired.set(packetId, true);
  context.out.add({ kind: "release", linkId: link.id, packetId });
}

function onReceivedByBroker(
  context: Context,
  broker: BrokerSession<Session>,
  exchange: PublishExchange<Session>,
): void {
  const { origin } = exchange;
  if (origin?.session.shared) return onReceivedOverShared(context, exchange, origin);
  if (!origin) {
    exchange.stage = "released"; // a publication of the gateway itself: no client waits for it
    if (exchange.stored && exchange.owner) storeExchange(context, exchange.owner.clientId, exchange);
  }
  if (exchange.stage === "released") {
    if (broker.link?.up) context.out.add({ kind: "release", linkId: broker.link.id, packetId: exchange.packetId });
  } else if (origin) {
    context.answer(origin.session, { type: "PUBREC", msgId: origin.msgId });
    releaseOwed(context, origin.session);
  }
}

/**
 * The broker's window is full, and something waits for it. A publication for which the client owes PUBREL holds a place, and a client that
 * has begun something else may never send it: so the broker's leg of the oldest such one goes on without. [interpretation 32]
 */
function releaseOwed(context: Context, { shared, broker }: Session): void {
  if (shared) return; // nothing is owed there, and many packets would be looked at
  const { link } = broker;
  if (!link?.up || !broker.hasLine || broker.hasRoom(2, link.limits)) return;
  for (const exchange of broker.inFlight.values()) {
    if (exchange.kind !== "publish" || exchange.stage !== "received" || !exchange.origin) continue;
    return releaseAtBroker(context, exchange, exchange.origin);
  }
}

/**
 * Over a shared connection the broker's leg does not wait for the client's PUBREL: a client that never sends it would hold
 * a place in the window of all. The MsgId is remembered until then. [interpretation 32]
 */
function onReceivedOverShared(
  context: Context,
  exchange: PublishExchange<Session>,
  origin: NonNullable<PublishExchange<Session>["origin"]>,
): void {
  releaseAtBroker(context, exchange, origin);
  if (!exchange.fromBeforeConnect) context.answer(origin.session, { type: "PUBREC", msgId: origin.msgId });
}

/** PUBREL for the broker before the client's. From then on the client's PUBREL is ours to answer. */
function releaseAtBroker(
  context: Context,
  exchange: PublishExchange<Session>,
  origin: NonNullable<PublishExchange<Session>["origin"]>,
): void {
  const { session } = origin;
  unbindUplink(exchange);
  awaitPubRel(context, session, exchange, origin);
  exchange.stage = "released";
  storeExchange(context, session.clientId, exchange);
  const { link } = session.broker;
  if (link?.up) context.out.add({ kind: "release", linkId: link.id, packetId: exchange.packetId });
}

/** True: this repeats a message that is in flight or was just completed. It gets an answer if there is one. */
function isRepeat(context: Context, session: Session, message: Publish): boolean {
  const { peer, clientId } = session;
  const exchange = matchInFlight(session, message);
  if (exchange) {
    if (exchange.stage === "received" || exchange.stage === "released") {
      context.tell(session, { type: "PUBREC", msgId: message.msgId });
    }
    context.counters.dropped.repeat++;
    return true;
  }
  if (isTaken(context, session, message)) return true;
  // A repetition may arrive after the end of its exchange. Publishing it would deliver the message twice.
  if (!message.dup) return false;
  const done = session.recentPublishes.find(message.msgId);
  if (done?.topicId !== message.topicId || done.qos !== message.qos) return false;
  if (context.now - done.at > context.repetitionMs || done.hash !== hashOf(message.data)) return false;
  context.drop("repeat", { clientId, peer, detail: `QoS ${message.qos} MsgId ${message.msgId}, finished before` });
  if (peer === undefined) return true;
  if (message.qos === 2) context.tell(session, { type: "PUBREC", msgId: message.msgId });
  else context.tell(session, pubAck(message.topicId, message.msgId, "accepted"), done.after);
  return true;
}

function refuse(
  context: Context,
  session: Session,
  message: Publish,
  reason: Reason,
  why:
    | "unknown-topic-id"
    | "unsafe-topic"
    | "too-large-for-broker"
    | "link-down"
    | "uplink-congested"
    | "backlog-full"
    | "refused-by-broker"
    | "store-failing",
): false {
  const detail = `PUBLISH ${message.topicIdType} ${message.topicId}`;
  context.drop(why, { clientId: session.clientId, peer: session.peer, detail });
  context.tell(session, pubAck(message.topicId, message.msgId, reason));
  return false;
}

/** The name that the message gives, or that is behind its id. */
function topicNameOf(context: Context, session: Session, message: Publish): string | undefined {
  switch (message.topicIdType) {
    case "normal": {
      const topic = session.registry.byId(message.topicId);
      if (!topic) return undefined;
      confirm(context, session, topic);
      return topic.name;
    }
    case "predefined":
      return predefinedName(session.predefined, session.clientId, message.topicId);
    case "short":
      return shortNameFromId(message.topicId);
    case "name":
      return nameIn(message);
    case "reserved":
      return undefined;
  }
}

function nameIn({ topicName }: Publish): string | undefined {
  return typeof topicName === "string" && isTopicName(topicName) ? topicName : undefined;
}

function topicNameFrom(octets: Uint8Array): string | undefined {
  try {
    const name = utf8.decode(octets);
    return isTopicName(name) ? name : undefined;
  } catch {
    return undefined;
  }
}
