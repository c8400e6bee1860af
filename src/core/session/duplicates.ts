/**
 * Recognizes publications that a client repeats: by MsgId, and by content if the MsgId may belong to another message.
 */
import { storeExchange } from "../broker/exchange-record.ts";
import { sendRelease } from "../broker/sending.ts";
import type { Context } from "../context.ts";
import { hashOf } from "../octets.ts";
import type { PublishExchange } from "../state/exchanges.ts";
import { type Session, type Taken, unbindUplink } from "../state/session.ts";
import type { CommitToken } from "../types.ts";
import type { Publish } from "../words.ts";
import { detachRequests } from "./earlier-requests.ts";

/** The exchange with this MsgId, unless the client has reused the MsgId for a new message. */
export function matchInFlight(session: Session, message: Publish): PublishExchange<Session> | undefined {
  const exchange = session.publishesInFlight.get(message.msgId);
  if (!exchange?.fromBeforeConnect) return exchange;
  const { qos } = exchange.publication;
  if (message.dup && message.qos === qos && hashOf(message.data) === heardHash(exchange)) {
    exchange.fromBeforeConnect = false;
    return exchange;
  }
  unbindUplink(exchange);
  return undefined;
}

/**
 * The client connected again and may have lost its state, so a MsgId from before may now mean another message. Exchanges in flight continue
 * towards the broker, but the client gets an answer only if it repeats the message with DUP. Exchanges that the broker has are released and
 * remembered, so that a client that has kept its state gets its answers.
 */
export function detachInFlight(context: Context, session: Session): void {
  detachRequests(session);
  for (const taken of session.inboundQoS2.values()) taken.fromBeforeConnect = true;
  for (const exchange of session.publishesInFlight.values()) {
    if (exchange.stage === "waiting" || exchange.stage === "sent") {
      exchange.fromBeforeConnect = true;
      continue;
    }
    remember(context, session, exchange);
    unbindUplink(exchange);
    if (exchange.stage === "released") continue;
    exchange.stage = "released";
    storeExchange(context, session.clientId, exchange);
    const { link } = session.broker;
    if (link?.up) sendRelease(context, link.id, exchange);
  }
}

/** Remembers a finished publication, for as long as the client may repeat it. */
export function remember(context: Context, session: Session, exchange: PublishExchange<Session>): void {
  if (!exchange.origin) return;
  const { msgId, topicId } = exchange.origin;
  const { qos } = exchange.publication;
  const hash = heardHash(exchange);
  if (qos > 0) noteCompleted(context, session, { msgId, topicId, qos: qos === 2 ? 2 : 1, hash });
}

/** The hash by which a repetition is recognized: of the payload as the client sent it, before any declaration. */
export function heardHash({ origin, publication }: Pick<PublishExchange<Session>, "origin" | "publication">): number {
  return origin?.heard ?? hashOf(publication.payload);
}

/** Remembers a finished publication, for as long as the client may repeat it. */
export function noteCompleted(
  context: Context,
  session: Session,
  done: { msgId: number; topicId: number; qos: 1 | 2; hash: number; after?: CommitToken | undefined },
): void {
  const { msgId, topicId, qos, hash, after } = done;
  session.recentPublishes.note(
    { msgId, topicId, qos, hash, after, at: context.now },
    context.options.clients.uplinkInFlightMax,
  );
}

/** Whether this repeats a publication that was taken at QoS 2. If so, it is answered again. */
export function isTaken(context: Context, session: Session, message: Publish): boolean {
  const taken = session.inboundQoS2.get(message.msgId);
  if (!taken) return false;
  const isSame =
    message.qos === 2 &&
    taken.topicId === message.topicId &&
    taken.hash === hashOf(message.data) &&
    (message.dup || !taken.fromBeforeConnect);
  if (isSame) {
    taken.fromBeforeConnect = false;
    context.counters.dropped.repeat++;
    context.tell(session, { type: "PUBREC", msgId: message.msgId }, taken.after);
    return true;
  }
  forgetTaken(context, session, message.msgId); // the client has reused the MsgId
  return false;
}

/**
 * The client's PUBREL came, or the client does not know the MsgId any more. The MsgId may belong to another message
 * now.
 */
export function forgetTaken(context: Context, session: Session, msgId: number): void {
  if (!session.inboundQoS2.delete(msgId)) return;
  context.journal.put({ of: "taken", clientId: session.clientId, id: msgId, record: undefined });
}

/** The broker has the message. Its MsgId is remembered until the client's PUBREL. */
export function awaitPubRel(
  context: Context,
  session: Session,
  { publication, fromBeforeConnect }: PublishExchange<Session>,
  origin: NonNullable<PublishExchange<Session>["origin"]>,
): void {
  noteTaken(context, session, origin.msgId, {
    topicId: origin.topicId,
    hash: heardHash({ origin, publication }),
    after: undefined,
    fromBeforeConnect,
  });
}

/** Remembers a MsgId until the client's PUBREL, here and in the store. Returns the commit that makes it durable. */
export function noteTaken(context: Context, session: Session, msgId: number, what: Taken): CommitToken | undefined {
  const { topicId, hash } = what;
  session.inboundQoS2.set(msgId, what);
  return context.journal.put({ of: "taken", clientId: session.clientId, id: msgId, record: { topicId, hash } });
}

/** Makes room for one more remembered MsgId. MsgIds from before the last CONNECT are forgotten first. */
export function makeRoomForTaken(context: Context, session: Session): boolean {
  const { inboundQoS2 } = session;
  if (inboundQoS2.size < context.options.clients.uplinkInFlightMax) return true;
  for (const [msgId, { fromBeforeConnect }] of inboundQoS2) {
    if (!fromBeforeConnect) continue;
    forgetTaken(context, session, msgId);
    return true;
  }
  return false;
}
