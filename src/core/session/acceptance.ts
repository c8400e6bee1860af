/**
 * Publications accepted without the broker. [store and forward]
 *
 * While the broker is away, and until what waits from then is sent, QoS 1 and 2 go onto disk and the client is answered
 * after the commit: its leg ends here, the broker's goes on without it (routing/drain.ts). A QoS 2 MsgId is remembered
 * until the client's PUBREL, so that a repetition is answered and not taken twice.
 */
import type { Publish } from "../../wire/v12/messages.ts";
import { bury } from "../broker/dead-letters.ts";
import { storeExchange } from "../broker/exchange-record.ts";
import type { Context } from "../context.ts";
import { pubAck, returnCodes } from "../messages.ts";
import { hashOf } from "../octets.ts";
import type { UplinkPolicy } from "../options.ts";
import { backlogBytes } from "../record.ts";
import { drainSoon, dropOldest } from "../routing/drain.ts";
import type { PublishExchange } from "../state/broker-session.ts";
import type { Session } from "../state/session.ts";
import type { CommitToken, Publication } from "../types.ts";

/** Does the gateway answer this client while the broker is away? */
export function storesFor(context: Context, clientId: string): boolean {
  return context.journal.enabled && context.options.uplink.policyOf(clientId).whenAway === "store";
}

/** Is this publication for the backlog: the broker is away, or others of the client wait there, which it may not pass? */
export function isForBacklog(context: Context, session: Session, message: Publish): boolean {
  const { link } = session.broker;
  const { backlog } = session.account;
  const isLive = link?.up === true && !link.congested;
  if (message.qos === 0) {
    return !isLive && storesFor(context, session.clientId) && context.options.uplink.policyOf(session.clientId).qos0;
  }
  // At QoS 2 an exchange is on disk under its packet id, and after a crash it goes before what the backlog holds: so not
  // while one of QoS 1 that came from there is still on its way.
  const mayNotPass = backlog.count > 0 || (message.qos === 2 && session.account.accepted > 0);
  return (!isLive || mayNotPass) && storesFor(context, session.clientId);
}

/** Why this publication cannot be accepted now; undefined = it can. At a limit the oldest may make way, later. */
function obstacle(
  context: Context,
  session: Session,
  publication: Publication,
  policy: UplinkPolicy,
): "store-failing" | "backlog-full" | "uplink-congested" | "drop" | undefined {
  if (context.storeFails) return "store-failing";
  const { uplink, clients } = context.options;
  if (publication.qos === 2 && session.taken.size >= clients.uplinkInFlightMax) return "uplink-congested";
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

/** Accepts a publication, or says why not: then the client is to hear "congestion". */
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
    const detail = `QoS ${publication.qos} ${publication.topicName}: the newest goes`;
    context.drop("backlog-full", { clientId, peer: session.peer, detail });
    bury(context, { clientId, direction: "up", reason: "backlog-full", publication });
  } else after = append(context, session, publication);
  if (message.qos === 0) return undefined;
  answer(context, session, publication, { msgId: message.msgId, topicId: message.topicId }, after);
  return undefined;
}

/** Puts a publication behind what waits for the broker. Answers the commit that makes it safe. */
export function append(context: Context, session: Session, publication: Publication): CommitToken | undefined {
  const { clientId } = session;
  const { backlog } = session.account;
  const id = backlog.next++;
  const bytes = backlogBytes(publication);
  const record = { v: 1, publication, at: context.environment.wallClock() ?? 0 } as const;
  const after = context.journal.put({ of: "backlog", clientId, id, record });
  count(context, session, 1, bytes);
  if (!session.reported) {
    session.reported = true;
    context.out.report({ event: "backlog", clientId, count: backlog.count });
  }
  if (after !== undefined) {
    context.journal.promised(after, () => {
      // The client was not answered and will say it again. On disk it may be yet, with the next commit, for a moment.
      backlog.withdrawn.add(id);
      count(context, session, -1, -bytes);
      context.journal.remove({ of: "backlog", clientId, id, record: undefined });
    });
  }
  drainSoon(context, session);
  return after;
}

function count(context: Context, session: Session, messages: number, bytes: number): void {
  session.account.backlog.count += messages;
  session.account.backlog.bytes += bytes;
  context.counters.backlogMessages += messages;
  context.counters.backlogBytes += bytes;
}

/** The client's answer, once the commit is done; should that fail, as if nothing had been. */
function answer(
  context: Context,
  session: Session,
  publication: Publication,
  of: { readonly msgId: number; readonly topicId: number },
  after: CommitToken | undefined,
): void {
  const { clientId, peer } = session;
  const { msgId, topicId } = of;
  const hash = hashOf(publication.payload);
  if (publication.qos === 2) {
    session.taken.set(msgId, { topicId, hash, after, orphan: false });
    const token = context.journal.put({ of: "taken", clientId, id: msgId, record: { v: 1, topicId, hash } });
    if (token !== undefined) {
      context.journal.promised(token, () => {
        session.taken.delete(msgId);
        context.journal.remove({ of: "taken", clientId, id: msgId, record: undefined });
      });
    }
    if (peer !== undefined) context.out.send(peer, { type: "PUBREC", msgId }, token ?? after);
    return;
  }
  noteDone(context, session, { msgId, topicId, qos: 1, hash, after });
  if (after !== undefined) context.journal.promised(after, () => session.lately.forget(msgId));
  if (peer !== undefined) context.out.send(peer, pubAck(topicId, msgId, returnCodes.accepted), after);
}

/** Remembers a finished publication, for as long as the client may repeat it. */
export function noteDone(
  context: Context,
  session: Session,
  done: { msgId: number; topicId: number; qos: 1 | 2; hash: number; after?: CommitToken | undefined },
): void {
  const { msgId, topicId, qos, hash, after } = done;
  session.lately.note({ msgId, topicId, qos, hash, after, at: context.now }, context.options.clients.uplinkInFlightMax);
}

/** Is this a repetition of what was taken at QoS 2? Then it is answered again. */
export function isTaken(context: Context, session: Session, message: Publish): boolean {
  const taken = session.taken.get(message.msgId);
  if (!taken) return false;
  const isSame =
    message.qos === 2 &&
    taken.topicId === message.topicId &&
    taken.hash === hashOf(message.data) &&
    (message.dup || !taken.orphan);
  if (isSame) {
    taken.orphan = false;
    context.counters.dropped.repeat++;
    if (session.peer !== undefined)
      context.out.send(session.peer, { type: "PUBREC", msgId: message.msgId }, taken.after);
    return true;
  }
  forgetTaken(context, session, message.msgId); // the client has begun anew with the number
  return false;
}

/** The client's PUBREL came, or the client does not know of it any more. The number may mean another message now. */
export function forgetTaken(context: Context, session: Session, msgId: number): void {
  if (!session.taken.delete(msgId)) return;
  context.journal.put({ of: "taken", clientId: session.clientId, id: msgId, record: undefined });
}

/** The connection is gone: what the client waits for becomes ours, and it is answered. */
export function acceptInFlight(context: Context, session: Session): void {
  const { broker, uplink, clientId, peer } = session;
  for (const [msgId, exchange] of uplink) {
    const { origin, stage, publication } = exchange;
    if (!origin) continue;
    if (stage === "released") {
      settle(session, msgId, exchange);
      if (peer !== undefined) context.out.send(peer, { type: "PUBCOMP", msgId });
      continue;
    }
    if (context.storeFails || exchange.orphan) continue;
    const { topicId } = origin;
    if (stage === "received") {
      // The client has its PUBREC; what is left is our PUBREL, as if the client's had come.
      settle(session, msgId, exchange);
      exchange.stage = "released";
      storeExchange(context, clientId, exchange);
      remainTaken(context, session, exchange, origin);
      continue;
    }
    settle(session, msgId, exchange);
    context.counters.acceptedUp++;
    const after = storeExchange(context, clientId, exchange);
    answer(context, session, publication, { msgId, topicId }, after);
    if (after !== undefined) context.journal.promised(after, () => takeBack(session, broker, exchange, origin));
  }
}

/** The broker has it: its MsgId is remembered until the client's PUBREL. */
export function remainTaken(
  context: Context,
  { clientId, taken }: Session,
  { publication, orphan }: PublishExchange,
  { msgId, topicId }: NonNullable<PublishExchange["origin"]>,
): void {
  const hash = hashOf(publication.payload);
  taken.set(msgId, { topicId, hash, after: undefined, orphan });
  context.journal.put({ of: "taken", clientId, id: msgId, record: { v: 1, topicId, hash } });
}

/** Room for one more MsgId to remember; those of before a reconnect go first. */
export function makeRoomForTaken(context: Context, session: Session): boolean {
  const { taken } = session;
  if (taken.size < context.options.clients.uplinkInFlightMax) return true;
  for (const [msgId, { orphan }] of taken) {
    if (!orphan) continue;
    forgetTaken(context, session, msgId);
    return true;
  }
  return false;
}

function settle(session: Session, msgId: number, exchange: PublishExchange): void {
  session.broker.accept(exchange);
  session.uplink.delete(msgId);
}

/** The commit failed: the client waits for the broker again. */
function takeBack(
  session: Session,
  broker: Session["broker"],
  exchange: PublishExchange,
  origin: NonNullable<PublishExchange["origin"]>,
): void {
  if (broker.inFlight.get(exchange.packetId) !== exchange || session.uplink.has(origin.msgId)) return;
  broker.takeBack(exchange, origin);
  session.uplink.set(origin.msgId, exchange);
}
