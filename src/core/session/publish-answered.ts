/**
 * The answers to a client's publication: those of the broker, and at QoS 2 the PUBREL of the client. [MQTT-SN 1.2 §6.6]
 *
 * At QoS 2 each answer to the client waits for the broker's answer.
 */
import { forgetExchange, storeExchange } from "../broker/exchange-record.ts";
import { reasonOf, sendRelease, sendWaiting } from "../broker/sending.ts";
import type { Context } from "../context.ts";
import { pubAck } from "../messages.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import type { PublishExchange } from "../state/exchanges.ts";
import { type Session, unbindUplink } from "../state/session.ts";
import { drainSoon } from "./backlog.ts";
import { onAcceptedSettled } from "./backlog-drain.ts";
import { awaitPubRel, forgetTaken, noteCompleted, remember } from "./duplicates.ts";
import { onWillSettled } from "./will-delivery.ts";

/**
 * PUBREL: the client has the gateway's PUBREC. If the MsgId is unknown, the exchange has ended already. [interpretation
 * 17]
 */
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
  if (link?.up) sendRelease(context, link.id, exchange);
}

/** The broker's answer to a publication of the gateway. */
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
  if (exchange.owner) drainSoon(context, exchange.owner); // this packet may have been the one that filled the window
  if (exchange.isWill) return onWillSettled(context, exchange);
  if (exchange.accepted && exchange.owner) return onAcceptedSettled(context, exchange.owner, exchange, ack.code);
  const { origin } = exchange;
  if (!origin) return;
  const { session, msgId, topicId } = origin;
  const reason = reasonOf(ack.code);
  if (qos === 2 && exchange.stage !== "released" && reason === "accepted") {
    // For the broker the exchange has ended, for the client it has just begun. The gateway answers its PUBREL.
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
 * The broker answers as if the publication had another QoS: RabbitMQ 3.10 answers PUBACK to QoS 2. It has the message
 * and will send no other answer, so the exchange ends here, with the guarantee of that QoS. Otherwise the exchange, and
 * its client, would wait for ever.
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

/**
 * The broker answered PUBREC to QoS 1. It waits for PUBREL, and takes this packet id for the same message until it has
 * answered PUBREL.
 */
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
    if (broker.link?.up) sendRelease(context, broker.link.id, exchange);
  } else if (origin) {
    context.answer(origin.session, { type: "PUBREC", msgId: origin.msgId });
    releaseOwed(context, origin.session);
  }
}

/**
 * The broker's window is full, and a packet waits for it. A publication for which the client owes PUBREL takes a place
 * in the window, and a client that has begun something else may never send PUBREL. So the gateway sends PUBREL to the
 * broker for the oldest such publication. [interpretation 32]
 */
export function releaseOwed(context: Context, { shared, broker }: Session): void {
  if (shared) return; // over a shared connection no client owes PUBREL, and the loop would visit many packets
  const { link } = broker;
  if (!link?.up || !broker.hasLine || broker.hasRoom(2, link.limits)) return;
  for (const exchange of broker.inFlight.values()) {
    if (exchange.kind !== "publish" || exchange.stage !== "received" || !exchange.origin) continue;
    return releaseAtBroker(context, exchange, exchange.origin);
  }
}

/**
 * Over a shared connection, the exchange with the broker does not wait for the client's PUBREL: a client that never
 * sends it would take a place in the window of all. The MsgId is remembered until the client's PUBREL. [interpretation
 * 32]
 */
function onReceivedOverShared(
  context: Context,
  exchange: PublishExchange<Session>,
  origin: NonNullable<PublishExchange<Session>["origin"]>,
): void {
  releaseAtBroker(context, exchange, origin);
  if (!exchange.fromBeforeConnect) context.answer(origin.session, { type: "PUBREC", msgId: origin.msgId });
}

/** Sends PUBREL to the broker before the client's PUBREL. From then on the gateway answers the client's PUBREL. */
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
  if (link?.up) sendRelease(context, link.id, exchange);
}
