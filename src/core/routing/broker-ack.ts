/** An acknowledgement of the broker finds the exchange it belongs to. Anything else is not for us. */
import { onTrunkSubscribed } from "../broker/trunk-subscriptions.ts";
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import { onPublishAck } from "../session/publish-up.ts";
import { onSubscribeAck, onUnsubscribeAck } from "../session/subscribe.ts";
import type { Link } from "../state/broker-session.ts";

export function onBrokerAck(context: Context, link: Link, input: Extract<Input, { kind: "brokerAck" }>): void {
  const { broker } = link;
  const exchange = broker.inFlight.get(input.packetId);
  if (!exchange) return unmatched(context, link, input);
  switch (input.ack) {
    case "suback":
      if (exchange.kind !== "subscribe") return unmatched(context, link, input);
      broker.finish(exchange);
      if (link.trunk) return onTrunkSubscribed(context, link.trunk, exchange, input.code);
      return onSubscribeAck(context, link.session, exchange, input.code);
    case "unsuback":
      if (exchange.kind !== "unsubscribe") return unmatched(context, link, input);
      broker.finish(exchange);
      return onUnsubscribeAck(context, exchange);
    default:
      if (exchange.kind !== "publish") return unmatched(context, link, input);
      return onPublishAck(context, broker, exchange, { kind: input.ack, code: input.code });
  }
}

/** At QoS 2 the broker may still ask for a PUBREL of an exchange that we gave up: it gets one, or it would ask for ever. */
function unmatched(context: Context, link: Link, input: Extract<Input, { kind: "brokerAck" }>): void {
  context.counters.dropped["unmatched-ack"]++;
  if (input.ack === "pubrec" && input.code < 0x80) {
    context.out.add({ kind: "release", linkId: link.id, packetId: input.packetId });
  }
}
