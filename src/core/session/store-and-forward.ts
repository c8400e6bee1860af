/**
 * Publications that are accepted without the broker. [store and forward]
 *
 * While the broker is away, and until the backlog is sent, QoS 1 and 2 publications are written to disk, and the client
 * is answered after the commit. The exchange with the client ends here; the exchange with the broker follows later
 * (backlog-drain.ts). A QoS 2 MsgId is remembered until the client's PUBREL, so a repetition is answered and not
 * accepted twice.
 */
import { keepDeadLetter } from "../broker/dead-letters.ts";
import { storeExchange } from "../broker/exchange-record.ts";
import type { Context } from "../context.ts";
import { pubAck } from "../messages.ts";
import { hashOf } from "../octets.ts";
import type { UplinkPolicy } from "../options.ts";
import { backlogBytes } from "../record.ts";
import type { PublishExchange } from "../state/exchanges.ts";
import { bindUplink, type Session, type Taken, unbindUplink } from "../state/session.ts";
import type { CommitToken, Publication } from "../types.ts";
import type { Publish } from "../words.ts";
import { append, dropOldest, isStoreAndForward } from "./backlog.ts";
import { awaitPubRel, heardHash, noteCompleted, noteTaken } from "./duplicates.ts";

/**
 * Whether this publication belongs into the backlog: the broker is away, or earlier publications of the client wait
 * there and must stay before it.
 */
export function isForBacklog(context: Context, session: Session, message: Publish): boolean {
  const { link } = session.broker;
  const { backlog } = session.account;
  const isLive = link?.up === true && !link.congested;
  if (message.qos === 0) {
    return (
      !isLive && isStoreAndForward(context, session.clientId) && context.options.uplink.policyOf(session.clientId).qos0
    );
  }
  // At QoS 2 an exchange is on disk with its packet id, and after a crash it is sent before the backlog. So it must not begin while a QoS 1
  // publication from the backlog is in flight.
  const mayNotPass = backlog.count > 0 || (message.qos === 2 && session.account.accepted > 0);
  return (!isLive || mayNotPass) && isStoreAndForward(context, session.clientId);
}

/**
 * Whether the broker is expected soon: it has just closed the connection, or the gateway has just started. Over the
 * next connection the broker answers itself. So the gateway acknowledges nothing for which the broker would close the
 * connection again.
 */
export function isBrokerExpected(context: Context, session: Session, message: Publish): boolean {
  const { broker, account, publishesInFlight } = session;
  const { link } = broker;
  if (message.qos <= 0 || !link || link.up || link.isMissed || context.now >= link.answersFrom) return false;
  if (account.backlog.count > 0 || account.accepted > 0) return false; // the publication must not overtake these
  return publishesInFlight.size < context.options.clients.uplinkInFlightMax;
}

/**
 * Why this publication cannot be accepted now; undefined: it can. At the limit, the oldest one may be dropped later
 * instead.
 */
function obstacle(
  context: Context,
  session: Session,
  publication: Publication,
  policy: UplinkPolicy,
): "store-failing" | "backlog-full" | "uplink-congested" | "drop" | undefined {
  if (context.storeFails) return "store-failing";
  const { uplink, clients } = context.options;
  if (publication.qos === 2 && session.inboundQoS2.size >= clients.uplinkInFlightMax) return "uplink-congested";
  const { backlog } = session.account;
  const bytes = backlogBytes(publication);
  const isFull =
    backlog.count >= policy.messagesMax ||
    backlog.bytes + bytes > policy.bytesMax ||
    context.counters.backlogMessages >= uplink.messagesMax ||
    context.counters.backlogBytes + bytes > uplink.bytesMax;
  if (!isFull) return undefined;
  if (policy.atLimit === "newest") return "drop";
  return policy.atLimit === "oldest" && dropOldest(context, session, bytes) ? undefined : "backlog-full";
}

/** Accepts a publication, or returns why not; then the client gets "congestion". */
export function acceptPublish(
  context: Context,
  session: Session,
  message: Publish,
  publication: Publication,
): "store-failing" | "backlog-full" | "uplink-congested" | undefined {
  const { clientId } = session;
  const why = obstacle(context, session, publication, context.options.uplink.policyOf(clientId));
  if (why !== undefined && why !== "drop") return why;
  context.counters.acceptedUp++;
  let after: CommitToken | undefined;
  if (why === "drop") {
    const detail = `QoS ${publication.qos} ${publication.topicName}: the newest is dropped`;
    context.drop("backlog-full", { clientId, peer: session.peer, detail });
    keepDeadLetter(context, { clientId, direction: "up", reason: "backlog-full", publication });
  } else after = append(context, session, publication);
  if (message.qos === 0) return undefined;
  const { msgId, topicId } = message;
  answer(context, session, publication, { msgId, topicId, hash: hashOf(message.data) }, after);
  return undefined;
}

/**
 * Answers the client after the commit. If the commit fails, the publication counts as not accepted. But if the broker
 * has the publication by then (`isWithBroker`), the answer is true without the commit.
 */
function answer(
  context: Context,
  session: Session,
  publication: Publication,
  of: {
    readonly msgId: number;
    readonly topicId: number;
    readonly hash: number;
    readonly isWithBroker?: () => boolean;
  },
  after: CommitToken | undefined,
): void {
  const { clientId } = session;
  const { msgId, topicId, hash, isWithBroker = () => false } = of;
  if (publication.qos === 2) {
    const taken: Taken = { topicId, hash, after, fromBeforeConnect: false };
    const token = noteTaken(context, session, msgId, taken);
    if (token !== undefined) {
      context.journal.promised(token, () => {
        if (session.inboundQoS2.get(msgId) !== taken) return; // the MsgId belongs to another message now
        if (isWithBroker())
          return taken.fromBeforeConnect ? undefined : context.tell(session, { type: "PUBREC", msgId });
        session.inboundQoS2.delete(msgId);
        context.journal.remove({ of: "taken", clientId, id: msgId, record: undefined });
      });
    }
    context.tell(session, { type: "PUBREC", msgId }, token ?? after);
    return;
  }
  noteCompleted(context, session, { msgId, topicId, qos: 1, hash, after });
  if (after !== undefined) context.journal.promised(after, () => session.recentPublishes.forget(msgId));
  context.tell(session, pubAck(topicId, msgId, "accepted"), after);
}

/** The connection has ended: the gateway takes over the publications for which the client waits, and answers them. */
export function acceptInFlight(
  context: Context,
  session: Session,
  { isUnsentOnly }: { isUnsentOnly: boolean } = { isUnsentOnly: false },
): void {
  const { broker, publishesInFlight, clientId } = session;
  for (const [msgId, exchange] of publishesInFlight) {
    const { origin, stage, publication } = exchange;
    if (!origin || (isUnsentOnly && (stage !== "waiting" || exchange.sentBefore))) continue;
    if (stage === "released") {
      settle(session, exchange);
      context.tell(session, { type: "PUBCOMP", msgId });
      continue;
    }
    // The gateway never acknowledges a suspect, because it may be taken out later.
    if (context.storeFails || exchange.fromBeforeConnect || exchange.suspicion?.isSuspect) continue;
    const isWithBroker = () => broker.inFlight.get(exchange.packetId) !== exchange || isReceived(exchange);
    const of = { msgId, topicId: origin.topicId, hash: heardHash(exchange), isWithBroker };
    if (stage === "received") {
      // The client has its PUBREC. The gateway sends its PUBREL to the broker, as if the client's PUBREL had come.
      settle(session, exchange);
      exchange.stage = "released";
      storeExchange(context, clientId, exchange);
      awaitPubRel(context, session, exchange, origin);
      continue;
    }
    settle(session, exchange);
    context.counters.acceptedUp++;
    const after = storeExchange(context, clientId, exchange);
    answer(context, session, publication, of, after);
    if (after !== undefined) context.journal.promised(after, () => takeBack(session, broker, exchange, origin));
  }
}

/** At QoS 2: whether the broker has the message. The exchange then continues to its end without the client. */
function isReceived({ stage }: PublishExchange<Session>): boolean {
  return stage === "received" || stage === "released";
}

function settle(session: Session, exchange: PublishExchange<Session>): void {
  session.broker.accept(exchange);
  unbindUplink(exchange);
}

/** The commit failed: the client waits for the broker again. */
function takeBack(
  session: Session,
  broker: Session["broker"],
  exchange: PublishExchange<Session>,
  origin: NonNullable<PublishExchange<Session>["origin"]>,
): void {
  if (broker.inFlight.get(exchange.packetId) !== exchange || session.publishesInFlight.has(origin.msgId)) return;
  if (isReceived(exchange)) return; // the exchange with the client has ended nevertheless
  broker.takeBack(exchange);
  bindUplink(exchange, origin);
}
