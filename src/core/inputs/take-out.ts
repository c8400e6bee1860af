/**
 * Takes out a packet that was proved to end connections. If its device waits for an answer, it gets a refusal. If its
 * device already has an acknowledgement, the packet becomes a dead letter. If the broker may have the packet all the
 * same, it is counted as uncertain.
 */
import { keepDeadLetter } from "../broker/dead-letters.ts";
import { forgetExchange } from "../broker/exchange-record.ts";
import { retire } from "../broker/experience-record.ts";
import { settleUnsubscribe } from "../broker/shared-record.ts";
import type { Context } from "../context.ts";
import { pubAck } from "../messages.ts";
import { drainSoon } from "../session/backlog.ts";
import { onAcceptedSettled } from "../session/backlog-drain.ts";
import { markChanged } from "../session/session-record.ts";
import { onSubscribeAck, onUnsubscribeAck } from "../session/subscribe.ts";
import { onWillSettled } from "../session/will-delivery.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import type { Exchange, PublishExchange, SubscribeExchange, UnsubscribeExchange } from "../state/exchanges.ts";
import type { Link } from "../state/link.ts";
import { contentKey, kindKey } from "../state/packet-key.ts";
import { type Session, unbindUplink } from "../state/session.ts";
import type { Suspicion } from "../state/suspicion.ts";

/** A packet that is taken out counts as refused by the broker with this reason of MQTT 5. */
export const notAuthorized = 0x87;

export function takeOut(context: Context, link: Link, suspicion: Suspicion<Exchange<Session>>): void {
  const { broker } = link;
  const { key, packets, named, isKind, client } = suspicion;
  const all = [...packets];
  broker.search.forget(key);
  for (const [i, exchange] of all.entries()) {
    report(context, broker, exchange, suspicion);
    if (exchange.kind === "subscribe") takeOutSubscribe(context, link, exchange);
    else if (exchange.kind === "unsubscribe") takeOutUnsubscribe(context, link, exchange);
    else takeOutPublish(context, broker, exchange);
    if (i > 0) continue;
    const octets = exchange.kind === "publish" ? exchange.publication.payload.byteLength : 0;
    const isPublication = exchange.kind === "publish" && !exchange.isWill;
    const kind = exchange.kind === "publish" ? kindKey(client, exchange.publication) : key;
    const content = exchange.kind === "publish" ? contentKey(exchange.publication) : "";
    const isSure = named || isKind || !isPublication;
    broker.kinds.noteTakenOut(context.now, { key: kind, client, content, octets, isSure });
    if (isPublication && !isKind) refuseOthersOfKind(context, broker, kind, client);
  }
}

/**
 * The kind may be known now. Later packets of the same client and kind that wait are refused, like new ones, because each would end some
 * more connections. Packets that were accepted are not refused: each needs its own proof.
 */
function refuseOthersOfKind(context: Context, broker: BrokerSession<Session>, kind: string, client: string): void {
  for (const exchange of [...broker.inFlight.values()]) {
    if (exchange.kind !== "publish" || exchange.isWill || exchange.accepted || !exchange.origin) continue;
    const { publication, origin, stage } = exchange;
    if (stage !== "waiting" && stage !== "sent") continue;
    if (origin.session.clientId !== client || kindKey(client, publication) !== kind) continue;
    const octets = publication.payload.byteLength;
    const verdict = broker.kinds.verdict(context.now, { key: kind, content: contentKey(publication), octets });
    if (verdict === "refuse") takeOutPublish(context, broker, exchange);
  }
}

function report(
  context: Context,
  broker: BrokerSession<Session>,
  exchange: Exchange<Session>,
  { client, ordinal }: Suspicion<Exchange<Session>>,
): void {
  const publication = exchange.kind === "publish" ? exchange.publication : undefined;
  context.out.report({
    event: "packet_taken_out",
    clientId: client === broker.key && client.startsWith("\0") ? undefined : client,
    packet: exchange.kind === "publish" && exchange.isWill ? "will" : exchange.kind,
    topic: publication?.topicName ?? (exchange.kind === "publish" ? "" : exchange.filter),
    qos: publication?.qos ?? (exchange.kind === "subscribe" ? exchange.qos : 0),
    bytes: publication?.payload.byteLength ?? 0,
    ordinal,
  });
}

/**
 * Takes out a publication: nothing of it is sent to the broker any more. If an earlier part of the exchange may have
 * reached the broker, it is counted as uncertain.
 */
export function takeOutPublish(
  context: Context,
  broker: BrokerSession<Session>,
  exchange: PublishExchange<Session>,
  reason: "refused-by-broker" | "topic-not-allowed" = "refused-by-broker",
): void {
  const { publication, owner, origin, isWill, accepted } = exchange;
  const mayBeThere = publication.qos === 2 && (exchange.sentBefore || exchange.stage !== "waiting");
  const clientId = owner?.clientId ?? "";
  const note = (detail: string) => {
    // Otherwise the caller has counted it.
    if (reason === "refused-by-broker") context.drop(reason, { clientId, detail });
  };
  broker.finish(exchange);
  forgetExchange(context, exchange);
  if (mayBeThere) {
    retire(context, broker, exchange);
    context.counters.qos2Uncertain++;
    context.out.report({ event: "qos2_uncertain", clientId, packetId: exchange.packetId });
  }
  if (isWill) {
    note(`will, QoS ${publication.qos} ${publication.topicName}`);
    keepDeadLetter(context, { clientId, direction: "up", reason, publication, mayBeThere });
    return onWillSettled(context, exchange);
  }
  if (accepted && owner) return onAcceptedSettled(context, owner, exchange, notAuthorized, { reason, mayBeThere });
  note(`QoS ${publication.qos} ${publication.topicName}`);
  if (owner) drainSoon(context, owner); // this exchange may have been the one that filled the window
  if (!origin) return;
  const { session, msgId, topicId } = origin;
  unbindUplink(exchange);
  context.touch(session);
  if (!exchange.fromBeforeConnect) context.tell(session, pubAck(topicId, msgId, "notSupported"));
}

function takeOutSubscribe(context: Context, link: Link, exchange: SubscribeExchange<Session>): void {
  const { broker } = link;
  broker.finish(exchange);
  const { filter } = exchange;
  if (!exchange.shared) {
    onSubscribeAck(context, undefined, exchange, notAuthorized); // answers the client that waits
    if (link.session) markRefused(context, link.session, filter);
    return;
  }
  const { entry, requests } = exchange.shared;
  entry.asking = undefined;
  const members = [...entry.members.keys()];
  for (const request of [...requests, ...entry.next]) {
    const { origin } = request;
    if (!origin || origin.session.subscribesInFlight.get(origin.msgId) !== request) continue;
    onSubscribeAck(context, origin.session, request, notAuthorized);
  }
  entry.next = [];
  for (const row of members) {
    const session = context.sessions.at(row);
    if (session) markRefused(context, session, filter);
  }
  link.shared?.filters.remove(entry);
}

/**
 * The subscription is kept and shown to the operator, but the gateway does not subscribe to it at the broker. MQTT-SN
 * has no message that would tell the client.
 */
function markRefused(context: Context, session: Session, filter: string): void {
  const subscription = session.subscriptions.get(filter);
  if (!subscription) return;
  session.subscriptions.set(filter, { ...subscription, isRefused: true });
  context.drop("refused-by-broker", { clientId: session.clientId, detail: `SUBSCRIBE ${filter}` });
  markChanged(context, session);
}

/** UNSUBACK has no code. The client has left the filter, and no message of it is delivered to the client any more. */
function takeOutUnsubscribe(context: Context, link: Link, exchange: UnsubscribeExchange<Session>): void {
  const { broker, shared } = link;
  broker.finish(exchange);
  if (shared) settleUnsubscribe(context, shared, exchange.filter); // the next run does not unsubscribe again
  broker.deafTo.set(exchange.filter, true);
  onUnsubscribeAck(context, exchange);
}
