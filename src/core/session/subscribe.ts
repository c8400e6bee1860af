/**
 * SUBSCRIBE and UNSUBSCRIBE. The client gets the answer when the broker has answered. [MQTT-SN 1.2 §6.9; interpretation
 * 11]
 */

import { hasWildcard, isTopicFilter, shortNameFromId, utf8Length } from "../../wire/topic.ts";
import { storeExperience } from "../broker/experience-record.ts";
import { hasPlaceFor } from "../broker/lanes.ts";
import { takesFilter } from "../broker/limits.ts";
import { awaitCustody } from "../broker/links.ts";
import { mayHave } from "../broker/rights.ts";
import { reasonOf, sendOrWait, sendWaiting } from "../broker/sending.ts";
import { leaveFilter, settleMembership, subscribeOverShared } from "../broker/shared-subscriptions.ts";
import { withdraw } from "../broker/withdraw.ts";
import type { Context } from "../context.ts";
import { subAck } from "../messages.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import { newSubscribe, newUnsubscribe, type SubscribeExchange, type UnsubscribeExchange } from "../state/exchanges.ts";
import { identityOf } from "../state/packet-key.ts";
import { predefinedName } from "../state/predefined-topics.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";
import type { QoS, SubscribedBy } from "../types.ts";
import type { Reason, Subscribe, Unsubscribe } from "../words.ts";
import { isStoreAndForward } from "./backlog.ts";
import { givenUp, isRepeated, settleGivenUp } from "./earlier-requests.ts";
import { mayAsk } from "./limits.ts";
import { mayGoToBroker } from "./safe-name.ts";
import { markChanged } from "./session-record.ts";
import { dropLateRefused, dropSubscription } from "./subscription-loss.ts";
import { assignTopic, hasRoomFor } from "./topic-octets.ts";

export function onSubscribe(context: Context, session: Session, message: Subscribe): void {
  const { peer, clientId, broker } = session;
  const { msgId } = message;
  if (peer === undefined) return;
  if (msgId === 0) return context.drop("message-id-zero", { clientId, peer, detail: "SUBSCRIBE" });
  const what = named(session, message, false);
  const { subscriptionsMax, subscriptionQoSMax, uplinkInFlightMax } = context.options.clients;
  const qos = Math.min(message.qos, subscriptionQoSMax) as QoS;
  if (isRepeated(session, msgId, typeof what === "string" ? "" : what.filter, qos)) {
    context.counters.dropped.repeat++;
    return;
  }
  const refuse = (reason: Reason, topicId = 0) => context.tell(session, subAck({ qos: 0, topicId, msgId, reason }));

  if (!mayAsk(context, session, "SUBSCRIBE")) return refuse("congestion");
  if (message.qos === -1) return refuse("notSupported");
  if (typeof what === "string") {
    return refuse(what, what === "invalidTopicId" && typeof message.topic === "number" ? message.topic : 0);
  }
  if (!mayHave(context, session, "subscribe", what.filter)) return refuse("notSupported", what.predefinedId);
  if (isRefusedFilter(context, session, what.filter)) return refuse("notSupported", what.predefinedId);
  const { link } = broker;
  if (link?.up && !takesFilter(link.limits, session.upstream.options.topicPrefix, what.filter))
    return refuse("notSupported");
  if (session.shared && !hasPlaceFor(context, session.shared, what.filter)) {
    context.drop("too-many-pending", {
      clientId,
      peer,
      detail: `SUBSCRIBE ${what.filter}: overlaps with too many others`,
    });
    return refuse("congestion");
  }
  const packetId = session.shared ? 0 : broker.freePacketId();
  const isNew = !session.subscriptions.has(what.filter);
  const earlier = givenUp(session, msgId, what.filter);
  const goesOn = link?.up || isStoreAndForward(context, clientId);
  if (!goesOn || packetId === undefined) return refuse("congestion");
  if (
    (isNew && session.subscriptions.size >= subscriptionsMax) ||
    session.subscribesInFlight.size - earlier.length >= uplinkInFlightMax
  ) {
    context.drop("too-many-pending", { clientId, peer, detail: `SUBSCRIBE ${what.filter}` });
    return refuse("congestion");
  }
  const haveNoRoom = () => {
    context.drop("topic-ids-exhausted", { clientId, peer, detail: `SUBSCRIBE ${what.filter.slice(0, 200)}` });
    refuse("congestion");
  };
  if (isNew && !hasRoomFor(context, session, utf8Length(what.filter))) return haveNoRoom();
  let topicId = what.predefinedId;
  if (what.by === "name" && !hasWildcard(what.filter) && !session.dialect.namesTopics) {
    const isNewName = session.registry.byName(what.filter) === undefined;
    const topic = assignTopic(context, session, what.filter);
    if (!topic) return haveNoRoom();
    // The id is kept even if the broker refuses: a REGISTER may tell the client this id, and a later run must not give
    // it to another name.
    if (isNewName) markChanged(context, session);
    topicId = topic.id;
  }
  takeBackUnsubscribe(context, session, what.filter);
  const origin = { session, msgId, topicId, by: what.by, predefinedId: what.predefinedId };
  const exchange = newSubscribe<Session>({ packetId, filter: what.filter, qos, origin });
  awaitBroker(session, msgId, exchange);
  // After the new request: a suspicion against its filter stays.
  if (earlier.length > 0) settleGivenUp(context, session, earlier, what.filter);
  session.broker.askedAgain.delete(what.filter);
  if (session.shared) subscribeOverShared(context, session.shared, session, exchange);
  if (!link?.up) return grantUnlessSoon(context, session);
  if (!session.shared) sendOrWait(context, broker, exchange);
}

/**
 * There is no connection. If the broker has just closed it, or it is not known yet whether the broker is there (the gateway has just
 * started), the request waits a short time for the next connection.
 */
function grantUnlessSoon(context: Context, session: Session): void {
  const id = session.broker.link?.id;
  const link = id && context.links.get(id);
  if (!link || context.now >= link.answersFrom) grantPendingRequests(context, session);
  else awaitCustody(context, link);
}

/**
 * Whether the broker has recently closed a connection because of this filter. Then it is not asked, except from time to
 * time by a suspect.
 */
function isRefusedFilter(context: Context, session: Session, filter: string): boolean {
  for (const { broker, key } of session.shared?.all() ?? [{ broker: session.broker, key: session.clientId }])
    if (isRefusedBy(context, broker, key, filter)) return true;
  return false;
}

function isRefusedBy(context: Context, broker: BrokerSession<Session>, whose: string, filter: string): boolean {
  if (broker.kinds.size === 0) return false;
  const asked = newSubscribe<Session>({ packetId: 0, filter, qos: 0, origin: undefined });
  const { key } = identityOf(asked, whose);
  const verdict = broker.kinds.verdict(context.now, { key, content: "", octets: 0 });
  if (verdict === "suspect") broker.search.suspect({ key, client: broker.key, ofKnownKind: true });
  storeExperience(context, broker);
  return verdict === "refuse";
}

export function onSubscribeAck(
  context: Context,
  owner: Session | undefined,
  exchange: SubscribeExchange<Session>,
  code: number,
): void {
  const { origin, filter, qos } = exchange;
  if (!origin) return dropLateRefused(context, owner, filter, code);
  const { session, msgId, topicId, by, predefinedId } = origin;
  session.subscribesInFlight.delete(msgId);
  context.touch(session); // a message may have waited for this answer
  const answer = (message: ReturnType<typeof subAck>) => {
    if (!exchange.fromBeforeConnect) context.answer(session, message);
  };
  const reason = reasonOf(code);
  if (reason !== "accepted") {
    if (session.shared) settleMembership(context, session.shared, session, filter);
    answer(subAck({ qos: 0, topicId: predefinedId, msgId, reason }));
    return;
  }
  if (!mayHave(context, session, "subscribe", filter)) {
    // The access rules were changed while the gateway waited for the broker.
    session.subscriptions.set(filter, { filter, qos, by, predefinedId });
    dropSubscription(context, session, filter);
    answer(subAck({ qos: 0, topicId: predefinedId, msgId, reason: "notSupported" }));
    return;
  }
  if (by === "predefined") endEarlierMeaning(context, session, filter, predefinedId);
  session.subscriptions.set(filter, { filter, qos, by, predefinedId });
  if (session.broker.deafTo.size > 0) session.broker.deafTo.delete(filter);
  const topic = by === "name" && topicId !== 0 ? session.registry.byId(topicId) : undefined;
  if (topic && !context.isConnecting(session) && !exchange.fromBeforeConnect) {
    topic.known = true;
    topic.told = true;
    session.registry.noteChanged(topic);
    topic.toldAt = context.now;
    topic.refused = false;
    session.outbox.names.delete(topic.name);
  }
  markChanged(context, session);
  const granted = Math.min(code, 2) as QoS;
  answer(subAck({ qos: granted, topicId, msgId, reason }));
}

export function onUnsubscribe(context: Context, session: Session, message: Unsubscribe): void {
  const { peer, clientId, broker } = session;
  const { msgId } = message;
  if (peer === undefined) return;
  if (msgId === 0) return context.drop("message-id-zero", { clientId, peer, detail: "UNSUBSCRIBE" });
  const what = named(session, message, true);
  if (isRepeated(session, msgId, typeof what === "string" ? "" : what.filter, undefined)) {
    context.counters.dropped.repeat++;
    return;
  }
  if (!mayAsk(context, session, "UNSUBSCRIBE")) return; // UNSUBACK has no code: the client repeats
  const { link } = broker;
  const packetId = session.shared ? 0 : broker.freePacketId();
  if (typeof what === "string") return context.tell(session, { type: "UNSUBACK", msgId }); // without a code
  // Without the broker, no UNSUBACK is sent; the client repeats the request. [§6.13]
  const goesOn = link?.up || isStoreAndForward(context, clientId);
  if (!goesOn || packetId === undefined) return context.drop("link-down", { clientId, peer, detail: "UNSUBSCRIBE" });
  const earlier = givenUp(session, msgId, undefined);
  if (earlier.length > 0) settleGivenUp(context, session, earlier, undefined);
  const exchange = newUnsubscribe<Session>({ packetId, filter: what.filter, origin: { session, msgId } });
  if (takeBackSubscribe(context, session, what.filter)) {
    session.subscribesInFlight.set(msgId, exchange);
    return onUnsubscribeAck(context, exchange);
  }
  awaitBroker(session, msgId, exchange);
  if (session.shared) {
    session.subscriptions.delete(what.filter); // from now on, messages of this filter are not for this client
    markChanged(context, session);
    unsubscribeOverShared(context, session.shared, session, exchange);
  }
  if (!link?.up) return grantUnlessSoon(context, session);
  if (!session.shared) sendOrWait(context, broker, exchange);
}

/**
 * Withdraws a SUBSCRIBE that waits, also one for which the broker closes the connection. True: the broker never had the
 * filter, so no UNSUBSCRIBE is sent.
 */
function takeBackSubscribe(context: Context, session: Session, filter: string): boolean {
  const { broker } = session;
  for (const [msgId, request] of [...session.subscribesInFlight]) {
    if (request.kind !== "subscribe" || request.filter !== filter) continue;
    // The client has given up this request.
    if (session.shared || !request.isSent) session.subscribesInFlight.delete(msgId);
  }
  const isRefused = session.subscriptions.get(filter)?.isRefused === true;
  if (session.shared) return isRefused; // over a shared connection, leaving the filter withdraws the request
  let wasSuspect = isRefused;
  for (const exchange of [...broker.inFlight.values()]) {
    if (exchange.kind !== "subscribe" || exchange.filter !== filter || exchange.isSent) continue;
    wasSuspect ||= exchange.suspicion?.isSuspect === true;
    withdraw(broker, exchange);
  }
  storeExperience(context, broker);
  sendWaiting(context, broker); // packets that waited behind it
  return wasSuspect;
}

/**
 * An UNSUBSCRIBE of this filter that waits, because the broker closes for it, would delay the SUBSCRIBE behind it. The
 * broker keeps the old subscription, and the new one replaces it. So the UNSUBSCRIBE is withdrawn, and its client gets
 * UNSUBACK.
 */
function takeBackUnsubscribe(context: Context, session: Session, filter: string): void {
  for (const { broker } of session.shared?.all() ?? [session]) {
    if (!broker.search.isOn) continue;
    for (const exchange of [...broker.inFlight.values()]) {
      if (exchange.kind !== "unsubscribe" || exchange.filter !== filter || exchange.isSent) continue;
      withdraw(broker, exchange);
      if (!session.shared) broker.deafTo.set(filter, true); // until it is granted; shared ones check members
      onUnsubscribeAck(context, exchange);
    }
    storeExperience(context, broker);
  }
}

/**
 * Ends the subscription that the client made with this id when it stood for another topic, because one id stands for
 * one topic.
 */
function endEarlierMeaning(context: Context, session: Session, filter: string, predefinedId: number): void {
  const earlier = subscribedAs(session, predefinedId);
  if (earlier === undefined || earlier === filter) return;
  session.subscriptions.delete(earlier);
  if (session.shared) return void leaveFilter(context, session.shared, session, earlier, undefined);
  const { broker } = session;
  const packetId = broker.freePacketId();
  if (packetId === undefined) return;
  const exchange = newUnsubscribe<Session>({ packetId, filter: earlier, origin: undefined });
  broker.add(exchange);
  if (broker.link?.up) sendOrWait(context, broker, exchange);
}

/** A client unsubscribes. It is answered at once if other clients still need the filter. */
export function unsubscribeOverShared(
  context: Context,
  shared: SharedConnection<Session>,
  session: Session,
  request: UnsubscribeExchange<Session>,
): void {
  const asked = leaveFilter(context, shared, session, request.filter, request.origin);
  if (!asked) onUnsubscribeAck(context, request);
}

export function onUnsubscribeAck(context: Context, exchange: UnsubscribeExchange<Session>): void {
  const { origin, filter } = exchange;
  if (!origin) return;
  const { session, msgId } = origin;
  const request = session.subscribesInFlight.get(msgId);
  if (request?.origin !== origin) return; // answered while the broker was away, or given up
  session.subscribesInFlight.delete(msgId);
  session.subscriptions.delete(filter);
  markChanged(context, session);
  if (!request.fromBeforeConnect) context.answer(session, { type: "UNSUBACK", msgId });
}

/**
 * The broker is away, and the client's policy is to continue: the request is answered as the broker would have done, and is sent to the
 * broker over the next connection.
 */
export function grantPendingRequests(context: Context, session: Session): void {
  for (const exchange of [...session.subscribesInFlight.values()]) {
    const { broker } = session;
    if (isSuspected(session, exchange)) continue; // only the broker may grant a suspect
    if (session.shared) {
      // The requests to the broker are in the exchanges of the shared connection.
      if (exchange.kind === "subscribe") onSubscribeAck(context, session, exchange, exchange.qos);
      else onUnsubscribeAck(context, exchange);
      continue;
    }
    const packetId = broker.freePacketId();
    if (packetId === undefined) continue;
    const { filter } = exchange;
    // The new exchange is added before the old one is removed, so that a suspicion against it stays.
    if (exchange.kind === "subscribe") {
      const { qos } = exchange;
      broker.add(newSubscribe({ packetId, filter, qos, origin: undefined }));
      broker.finish(exchange);
      onSubscribeAck(context, session, exchange, qos);
    } else {
      broker.add(newUnsubscribe({ packetId, filter, origin: undefined }));
      broker.finish(exchange);
      onUnsubscribeAck(context, exchange);
    }
  }
}

function isSuspected(session: Session, exchange: SubscribeExchange<Session> | UnsubscribeExchange<Session>): boolean {
  if (exchange.suspicion?.isSuspect) return true;
  if (!session.shared || exchange.kind !== "subscribe") return false;
  return session.shared.entryOf(exchange.filter)?.asking?.suspicion?.isSuspect === true;
}

/** The connection has ended: these requests get no answer. A sleeping client gets "congestion"; an active client gets DISCONNECT anyway. */
export function failPendingRequests(context: Context, session: Session): void {
  context.touch(session); // a message may have waited for the answer
  for (const [msgId, exchange] of session.subscribesInFlight) {
    if (!session.shared) session.broker.finish(exchange);
    else if (exchange.kind === "subscribe") settleMembership(context, session.shared, session, exchange.filter);
    if (exchange.kind === "subscribe" && !exchange.fromBeforeConnect) {
      const topicId = exchange.origin?.predefinedId ?? 0;
      context.tell(session, subAck({ qos: 0, topicId, msgId, reason: "congestion" }));
    }
  }
  session.subscribesInFlight.clear();
}

/** Records that the client waits for the broker's answer. A shared connection sends one request for all its clients. */
function awaitBroker(
  session: Session,
  msgId: number,
  exchange: SubscribeExchange<Session> | UnsubscribeExchange<Session>,
): void {
  session.subscribesInFlight.set(msgId, exchange);
  if (!session.shared) session.broker.add(exchange);
}

/** The filter that the client subscribed to by this predefined id, whatever the id stands for now. */
function subscribedAs({ subscriptions }: Session, predefinedId: number): string | undefined {
  for (const { filter, by, predefinedId: id } of subscriptions.values()) {
    if (by === "predefined" && id === predefinedId) return filter;
  }
  return undefined;
}

/** The filter of a message and how it was named, or the reason of a refusal. */
type Named = { readonly filter: string; readonly by: SubscribedBy; readonly predefinedId: number } | Reason;

function named(session: Session, message: Unsubscribe, isUnsubscribe: boolean): Named {
  const { topic } = message;
  const isShared = session.shared !== undefined;
  switch (message.topicIdType) {
    case "normal":
    case "name":
      if (typeof topic !== "string" || !isTopicFilter(topic)) return "notSupported";
      if (!mayGoToBroker(topic, isShared)) return "notSupported";
      return { filter: topic, by: "name", predefinedId: 0 };
    case "predefined": {
      if (typeof topic !== "number") return "notSupported";
      const begun = isUnsubscribe ? subscribedAs(session, topic) : undefined;
      const filter = begun ?? predefinedName(session.predefined, session.clientId, topic);
      if (filter === undefined) return "invalidTopicId";
      if (!mayGoToBroker(filter, isShared)) return "notSupported";
      return { filter, by: "predefined", predefinedId: topic };
    }
    case "short": {
      const filter = typeof topic === "number" ? shortNameFromId(topic) : undefined;
      const isUsable = filter !== undefined && mayGoToBroker(filter, isShared);
      return !isUsable ? "notSupported" : { filter, by: "short", predefinedId: 0 };
    }
    case "reserved":
      return "notSupported";
  }
}
