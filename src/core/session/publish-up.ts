/**
 * Publications from the client to the broker. [MQTT-SN 1.2 §6.6, §6.8]
 *
 * The gateway acknowledges to the client only when the broker has acknowledged. The exchange of a repetition is found
 * by its MsgId, so the message is published once, whatever DUP says. The answers are in publish-answered.ts.
 */
import { isSafeToShare } from "../../wire/topic.ts";
import { verdictOn } from "../broker/door.ts";
import { storeExchange } from "../broker/exchange-record.ts";
import { takesPublication } from "../broker/limits.ts";
import { awaitCustody } from "../broker/links.ts";
import { mayPublish } from "../broker/rights.ts";
import { sendOrWait, sendUnanswered } from "../broker/sending.ts";
import { publishByService } from "../broker/service.ts";
import { toBroker } from "../broker/topic-prefix.ts";
import type { Context } from "../context.ts";
import { pubAck } from "../messages.ts";
import { hashOf } from "../octets.ts";
import { newPublishExchange } from "../state/exchanges.ts";
import { bindUplink, type Session } from "../state/session.ts";
import type { PeerId, Publication } from "../types.ts";
import type { Publish, Reason } from "../words.ts";
import { isStoreAndForward } from "./backlog.ts";
import { decodedOf, metaFor, publishRaw } from "./contents.ts";
import { isTaken, makeRoomForTaken, matchInFlight } from "./duplicates.ts";
import { mayAsk } from "./limits.ts";
import { releaseOwed } from "./publish-answered.ts";
import { topicNameOf, withoutAnswerTopic } from "./publish-topic.ts";
import { mayGoToBroker } from "./safe-name.ts";
import { acceptPublish, isBrokerExpected, isForBacklog } from "./store-and-forward.ts";
import { isTimeAsked, tellTime } from "./time.ts";

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

/** True: the publication is sent to the broker, or was accepted. False: it is refused. */
function goesOn(context: Context, session: Session, message: Publish, publication: Publication): boolean {
  const { link } = session.broker;
  const { uplinkInFlightMax } = context.options.clients;
  // The rights are checked again when the message is sent. A refusal here is earlier, before any work is done for the
  // message.
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
    // The gateway does not silently lower the QoS or leave out retain, because the device would not know of it.
    return refuse(context, session, message, "notSupported", "too-large-for-broker");
  }
  context.counters.publishedUp++;
  if (message.qos > 0) return publishWithAnswer(context, session, message, publication);
  if (sendUnanswered(context, session.broker, session, publication)) return true;
  return refuse(context, session, message, "congestion", "uplink-congested");
}

/**
 * Sends a refusal that was counted already. At QoS 0 too, because the device may receive the answer and stop. [§5.4.13]
 */
function sayRefused(context: Context, session: Session, { topicId, msgId }: Publish, reason: Reason): false {
  context.tell(session, pubAck(topicId, msgId, reason));
  return false;
}

/**
 * The gateway does not acknowledge a suspect itself. Its device gets the broker's answer, or 0x03 when the packet is
 * taken out.
 */
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

/**
 * The publication waits for the next connection. If that takes too long, it is taken into custody
 * (inputs/connection-end.ts).
 */
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

/** QoS -1: any sender may use it, with predefined ids and short names. It is never answered. [§6.8] */
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

/** True: this repeats a message that is in flight or was just completed. It gets the answer again, if there is one. */
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
