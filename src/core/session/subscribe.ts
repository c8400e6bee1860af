/**
 * SUBSCRIBE and UNSUBSCRIBE, answered when the broker has answered. [MQTT-SN 1.2 §6.9; interpretation 11]
 */
import { hasWildcard, isSafeToShare, isTopicFilter, shortNameFromId } from "../../wire/topic.ts";
import type { Subscribe, Unsubscribe } from "../../wire/v12/messages.ts";
import { returnCodeOf, sendExchange } from "../broker/sending.ts";
import { leaveFilter, settleMembership, subscribeOverTrunk } from "../broker/trunk-subscriptions.ts";
import type { Context } from "../context.ts";
import { returnCodes, subAck } from "../messages.ts";
import type { SubscribeExchange, UnsubscribeExchange } from "../state/exchanges.ts";
import { predefinedName } from "../state/predefined-topics.ts";
import type { Session } from "../state/session.ts";
import type { Trunk } from "../state/trunk.ts";
import type { QoS, SubscribedBy } from "../types.ts";
import { storesFor } from "./backlog.ts";
import { markChanged } from "./session-record.ts";
import { dropLateRefused } from "./subscription-loss.ts";

export function onSubscribe(context: Context, session: Session, message: Subscribe): void {
  const { peer, clientId, broker } = session;
  const { msgId } = message;
  if (peer === undefined) return;
  if (msgId === 0) return context.drop("message-id-zero", { clientId, peer, detail: "SUBSCRIBE" });
  if (session.subscribing.has(msgId)) {
    context.counters.dropped.repeat++;
    return;
  }
  const refuse = (returnCode: number, topicId = 0) =>
    context.out.send(peer, subAck({ qos: 0, topicId, msgId, returnCode }));

  if (message.qos === -1) return refuse(returnCodes.notSupported);
  const what = named(session, message);
  if (typeof what === "number") {
    return refuse(what, what === returnCodes.invalidTopicId && typeof message.topic === "number" ? message.topic : 0);
  }
  const { link } = broker;
  const packetId = session.trunk ? 0 : broker.freePacketId();
  const { subscriptionsMax, subscriptionQoSMax, uplinkInFlightMax } = context.options.clients;
  const isNew = !session.subscriptions.has(what.filter);
  const goesOn = link?.up || storesFor(context, clientId);
  if (!goesOn || packetId === undefined) return refuse(returnCodes.congestion);
  if ((isNew && session.subscriptions.size >= subscriptionsMax) || session.subscribing.size >= uplinkInFlightMax) {
    context.drop("too-many-pending", { clientId, peer, detail: `SUBSCRIBE ${what.filter}` });
    return refuse(returnCodes.congestion);
  }
  let topicId = what.predefinedId;
  if (what.by === "name" && !hasWildcard(what.filter)) {
    const isNewName = session.registry.byName(what.filter) === undefined;
    const topic = session.registry.assign(what.filter);
    if (!topic) return refuse(returnCodes.congestion);
    // Also if the broker refuses: a REGISTER may tell the client this id, and a later life may not give it to another name.
    if (isNewName) markChanged(context, session);
    topicId = topic.id;
  }
  const qos = Math.min(message.qos, subscriptionQoSMax) as QoS;
  const exchange: SubscribeExchange<Session> = {
    kind: "subscribe",
    packetId,
    filter: what.filter,
    qos,
    origin: { session, msgId, topicId, by: what.by, predefinedId: what.predefinedId },
  };
  awaitBroker(session, msgId, exchange);
  if (session.trunk) subscribeOverTrunk(context, session.trunk, session, exchange);
  if (!link?.up) return grantPendingRequests(context, session);
  if (!session.trunk) sendExchange(context, link, exchange);
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
  session.subscribing.delete(msgId);
  context.touch(session); // a message may have waited for this answer
  const returnCode = returnCodeOf(code);
  if (returnCode !== returnCodes.accepted) {
    if (session.trunk) settleMembership(context, session.trunk, session, filter);
    context.answer(session, subAck({ qos: 0, topicId: predefinedId, msgId, returnCode }));
    return;
  }
  if (by === "predefined") endEarlierMeaning(context, session, filter, predefinedId);
  session.subscriptions.set(filter, { filter, qos, by, predefinedId });
  const topic = by === "name" && topicId !== 0 ? session.registry.byId(topicId) : undefined;
  if (topic && !context.isConnecting(session)) {
    topic.known = true;
    topic.told = true;
    topic.toldAt = context.now;
    topic.refused = false;
    session.outbox.names.delete(topic.name);
  }
  markChanged(context, session);
  const granted = Math.min(code, 2) as QoS;
  context.answer(session, subAck({ qos: granted, topicId, msgId, returnCode }));
}

export function onUnsubscribe(context: Context, session: Session, message: Unsubscribe): void {
  const { peer, clientId, broker } = session;
  const { msgId } = message;
  if (peer === undefined) return;
  if (msgId === 0) return context.drop("message-id-zero", { clientId, peer, detail: "UNSUBSCRIBE" });
  if (session.subscribing.has(msgId)) {
    context.counters.dropped.repeat++;
    return;
  }
  const what = named(session, message);
  const { link } = broker;
  const packetId = session.trunk ? 0 : broker.freePacketId();
  if (typeof what === "number") return context.out.send(peer, { type: "UNSUBACK", msgId }); // it has no return code
  // Without the broker nothing is promised; the client repeats itself. [§6.13]
  const goesOn = link?.up || storesFor(context, clientId);
  if (!goesOn || packetId === undefined) return context.drop("link-down", { clientId, peer, detail: "UNSUBSCRIBE" });
  const exchange: UnsubscribeExchange<Session> = {
    kind: "unsubscribe",
    packetId,
    filter: what.filter,
    origin: { session, msgId },
  };
  awaitBroker(session, msgId, exchange);
  if (session.trunk) {
    session.subscriptions.delete(what.filter); // from now on nothing of it is for this client
    markChanged(context, session);
    unsubscribeOverTrunk(context, session.trunk, session, exchange);
  }
  if (!link?.up) return grantPendingRequests(context, session);
  if (!session.trunk) sendExchange(context, link, exchange);
}

/** The id meant another topic when the client subscribed to it before: that is over, as one id has one topic. */
function endEarlierMeaning(context: Context, session: Session, filter: string, predefinedId: number): void {
  const earlier = subscribedAs(session, predefinedId);
  if (earlier === undefined || earlier === filter) return;
  session.subscriptions.delete(earlier);
  if (session.trunk) return void leaveFilter(context, session.trunk, session, earlier, undefined);
  const { broker } = session;
  const packetId = broker.freePacketId();
  if (packetId === undefined) return;
  const exchange: UnsubscribeExchange<Session> = { kind: "unsubscribe", packetId, filter: earlier, origin: undefined };
  broker.add(exchange);
  if (broker.link?.up) sendExchange(context, broker.link, exchange);
}

/** A client unsubscribes; answered at once when others still want the filter. */
export function unsubscribeOverTrunk(
  context: Context,
  trunk: Trunk<Session>,
  session: Session,
  request: UnsubscribeExchange<Session>,
): void {
  const asked = leaveFilter(context, trunk, session, request.filter, request.origin);
  if (!asked) onUnsubscribeAck(context, request);
}

export function onUnsubscribeAck(context: Context, exchange: UnsubscribeExchange<Session>): void {
  const { origin, filter } = exchange;
  if (!origin) return;
  const { session, msgId } = origin;
  if (session.subscribing.get(msgId)?.origin !== origin) return; // answered already, while the broker was away
  session.subscribing.delete(msgId);
  session.subscriptions.delete(filter);
  markChanged(context, session);
  context.answer(session, { type: "UNSUBACK", msgId });
}

/**
 * The broker is away and the client's policy is to go on: it is answered as the broker would have, and what it asked
 * for is asked there with the next connection.
 */
export function grantPendingRequests(context: Context, session: Session): void {
  for (const exchange of [...session.subscribing.values()]) {
    const { broker } = session;
    if (session.trunk) {
      // What the broker is to hear stands in the trunk's exchanges.
      if (exchange.kind === "subscribe") onSubscribeAck(context, session, exchange, exchange.qos);
      else onUnsubscribeAck(context, exchange);
      continue;
    }
    broker.finish(exchange);
    const packetId = broker.freePacketId();
    if (packetId === undefined) continue;
    if (exchange.kind === "subscribe") {
      const { filter, qos } = exchange;
      onSubscribeAck(context, session, exchange, qos);
      broker.add({ kind: "subscribe", packetId, filter, qos, origin: undefined });
    } else {
      onUnsubscribeAck(context, exchange);
      broker.add({ kind: "unsubscribe", packetId, filter: exchange.filter, origin: undefined });
    }
  }
}

/** The connection is gone: nobody will answer these. A sleeper hears "congestion"; an active client is told anyway. */
export function failPendingRequests(context: Context, session: Session): void {
  for (const [msgId, exchange] of session.subscribing) {
    if (!session.trunk) session.broker.finish(exchange);
    else if (exchange.kind === "subscribe") settleMembership(context, session.trunk, session, exchange.filter);
    if (exchange.kind === "subscribe" && session.peer !== undefined) {
      const topicId = exchange.origin?.predefinedId ?? 0;
      context.out.send(session.peer, subAck({ qos: 0, topicId, msgId, returnCode: returnCodes.congestion }));
    }
  }
  session.subscribing.clear();
}

/** The client waits for the broker's answer to this. Over a shared connection the trunk asks, once for all who want it. */
function awaitBroker(
  session: Session,
  msgId: number,
  exchange: SubscribeExchange<Session> | UnsubscribeExchange<Session>,
): void {
  session.subscribing.set(msgId, exchange);
  if (!session.trunk) session.broker.add(exchange);
}

/** What a SUBSCRIBE to this predefined id began, whatever the id means now. */
function subscribedAs({ subscriptions }: Session, predefinedId: number): string | undefined {
  for (const { filter, by, predefinedId: id } of subscriptions.values()) {
    if (by === "predefined" && id === predefinedId) return filter;
  }
  return undefined;
}

/** What the message names: a filter and how it was named, or the return code that says why not. */
type Named = { readonly filter: string; readonly by: SubscribedBy; readonly predefinedId: number } | number;

function named(session: Session, message: Subscribe | Unsubscribe): Named {
  const { topic } = message;
  switch (message.topicIdType) {
    case "normal":
      if (typeof topic !== "string" || !isTopicFilter(topic)) return returnCodes.notSupported;
      if (session.trunk && !isSafeToShare(topic)) return returnCodes.notSupported;
      return { filter: topic, by: "name", predefinedId: 0 };
    case "predefined": {
      if (typeof topic !== "number") return returnCodes.notSupported;
      const begun = message.type === "UNSUBSCRIBE" ? subscribedAs(session, topic) : undefined;
      const filter = begun ?? predefinedName(session.predefined, session.clientId, topic);
      return filter === undefined ? returnCodes.invalidTopicId : { filter, by: "predefined", predefinedId: topic };
    }
    case "short": {
      const filter = typeof topic === "number" ? shortNameFromId(topic) : undefined;
      const isUsable = filter !== undefined && !(session.trunk && !isSafeToShare(filter));
      return !isUsable ? returnCodes.notSupported : { filter, by: "short", predefinedId: 0 };
    }
    case "reserved":
      return returnCodes.notSupported;
  }
}
