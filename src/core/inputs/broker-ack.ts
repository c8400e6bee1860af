/** Finds the exchange that an acknowledgement of the broker belongs to. Other acknowledgements are ignored. */
import { forgetRetired, storeExperience } from "../broker/experience-record.ts";
import { noteAnswered } from "../broker/retained.ts";
import { sendWaiting } from "../broker/sending.ts";
import { settleUnsubscribe } from "../broker/shared-record.ts";
import { ask, askMore } from "../broker/shared-subscriptions.ts";
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import { onPublishAck } from "../session/publish-answered.ts";
import { onSubscribeAck, onUnsubscribeAck } from "../session/subscribe.ts";
import { dropLateRefused } from "../session/subscription-loss.ts";
import type { Exchange, SubscribeExchange } from "../state/exchanges.ts";
import type { Link } from "../state/link.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";
import { onLeavingAnswered } from "./leaving.ts";

export function onBrokerAck(context: Context, link: Link, input: Extract<Input, { kind: "brokerAck" }>): void {
  const { broker } = link;
  const exchange = broker.inFlight.get(input.packetId);
  if (!exchange) return unmatched(context, link, input);
  link.upstream.evidence.noteAnswered(context.now);
  take(context, link, exchange, input);
  if (broker.isQuiet) return; // nothing was learnt, and no packet waits: the usual case
  storeExperience(context, broker);
  sendWaiting(context, broker);
}

function take(
  context: Context,
  link: Link,
  exchange: Exchange<Session>,
  input: Extract<Input, { kind: "brokerAck" }>,
): void {
  const { broker } = link;
  switch (input.ack) {
    case "suback":
      if (exchange.kind !== "subscribe") return unmatched(context, link, input);
      broker.answered(exchange, context.now);
      broker.finish(exchange);
      if (link.shared) return onSharedSubscribed(context, link.shared, exchange, input.code);
      return onSubscribeAck(context, link.session, exchange, input.code);
    case "unsuback":
      if (exchange.kind !== "unsubscribe") return unmatched(context, link, input);
      broker.answered(exchange, context.now);
      broker.finish(exchange);
      if (link.shared) {
        settleUnsubscribe(context, link.shared, exchange.filter);
        askMore(context, link.shared);
      }
      onUnsubscribeAck(context, exchange);
      if (link.shared?.isLeaving) onLeavingAnswered(context, link.shared, link.upstream);
      return;
    default:
      if (exchange.kind !== "publish") return unmatched(context, link, input);
      return onPublishAck(context, broker, exchange, { kind: input.ack, code: input.code });
  }
}

export function onSharedSubscribed(
  context: Context,
  shared: SharedConnection<Session>,
  exchange: SubscribeExchange<Session>,
  code: number,
): void {
  if (!exchange.shared) return;
  const { entry, requests, waits } = exchange.shared;
  entry.asking = undefined;
  noteAnswered(context, waits);
  for (const request of requests) {
    const { origin } = request;
    if (!origin || !isAwaited(request)) continue;
    const granted = code < 0x80 ? Math.min(code, request.qos) : code;
    onSubscribeAck(context, origin.session, request, granted);
  }
  if (code >= 0x80) {
    // Clients that had subscribed before lose the subscription too, because the broker has it no more.
    for (const row of [...entry.members.keys()]) {
      dropLateRefused(context, context.sessions.at(row), entry.filter, code);
      entry.members.delete(row);
    }
    if (entry.next.length === 0) shared.filters.remove(entry);
  }
  context.sessions.noteQuiet(shared, entry);
  if (entry.next.length > 0) {
    for (const request of entry.next) {
      const { origin, qos } = request;
      // Clients that got "congestion" meanwhile are members as before.
      if (origin && isAwaited(request)) entry.members.set(origin.session.row, qos);
    }
    ask(context, shared, entry);
  }
  for (const waiting of shared.unasked) {
    shared.unasked.delete(waiting);
    if (waiting.members.size === 0) continue;
    ask(context, shared, waiting);
    break;
  }
  askMore(context, shared);
}

/** The client still exists, and this request was not answered yet. */
function isAwaited(request: SubscribeExchange<Session>): boolean {
  const { origin } = request;
  return origin !== undefined && origin.session.subscribesInFlight.get(origin.msgId) === request;
}

/**
 * At QoS 2 the broker may still ask for the PUBREL of an exchange that the gateway gave up. The gateway sends the
 * PUBREL, because otherwise the broker would ask for ever.
 */
function unmatched(context: Context, link: Link, input: Extract<Input, { kind: "brokerAck" }>): void {
  if (input.ack === "pubcomp" && link.broker.retired.delete(input.packetId)) {
    const clientId = link.session?.clientId ?? link.shared?.key ?? "";
    // The exchange is over: the packet id may mean another message now.
    return forgetRetired(context, clientId, input.packetId);
  }
  context.counters.dropped["unmatched-ack"]++;
  if (input.ack === "pubrec" && input.code < 0x80) {
    context.out.add({ kind: "release", linkId: link.id, packetId: input.packetId });
  }
}
