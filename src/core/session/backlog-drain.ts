/**
 * Sends the backlogs to the broker: for each client in order and at most a window at a time, and at a limited rate for
 * all clients together. New publications are sent meanwhile.
 *
 * A QoS 1 record stays on disk until the broker's PUBACK; after a crash it is sent again. A QoS 2 record is replaced by
 * the record of its exchange, which contains the packet id, before PUBLISH is sent; after a crash the message is
 * recognized by this packet id.
 */
import { keepDeadLetter } from "../broker/dead-letters.ts";
import { storeExchange } from "../broker/exchange-record.ts";
import { propertyBytes } from "../broker/limits.ts";
import { sendOrWait, sendUnanswered } from "../broker/sending.ts";
import type { Context } from "../context.ts";
import type { Input } from "../input.ts";
import type { BacklogEntry } from "../state/backlog.ts";
import { newPublishExchange, type PublishExchange } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import { drainIn, drainSoon, makeRoom, readAhead, readMax, tickMs, windowMax } from "./backlog.ts";
import { withAcceptance } from "./contents.ts";
import { onAllForwarded } from "./departure.ts";

/** Pause after a read that failed. */
const readPauseMs = 1_000;

/** Sends as many publications as the rate allows now, one of each client in turn. */
export function onDrainDeadline(context: Context): void {
  const perTick = (context.options.uplink.drainPerSecond * tickMs) / 1_000;
  const { drain } = context;
  const { waiting } = drain;
  drain.credit = Math.min(drain.credit + perTick, Math.max(perTick, 1));
  while (drain.credit >= 1 && waiting.size > 0) {
    for (const session of waiting) {
      if (drain.credit < 1) break;
      waiting.delete(session);
      if (!sendNext(context, session)) continue; // an acknowledgement, a read or a connection adds the client again
      drain.credit--;
      session.account.drainedAt = ++drain.turns;
      if (session.account.backlog.count > 0) waiting.add(session);
    }
  }
  if (waiting.size > 0) context.deadlines.set(drain.deadline, context.now + tickMs);
}

/** Sends one publication of the client. False: there is none, or none may be sent now. */
function sendNext(context: Context, session: Session): boolean {
  const { broker } = session;
  const { link } = broker;
  const { backlog } = session.account;
  if (!link?.up || link.congested) return false;
  if (session.account.accepted >= windowMax) return false;
  // Over a shared connection the publication waits in line with those of other clients instead.
  if (!session.shared && broker.openPublications >= link.limits.receiveMaximum) return false;
  readAhead(context, session);
  if (backlog.head[0]?.publication.qos === 2 && !mayReplace(session)) return false;
  for (let entry = backlog.shift(); entry; entry = backlog.shift()) if (send(context, session, entry)) return true;
  checkAllForwarded(context, session);
  return false;
}

/**
 * Whether a QoS 2 record may now be replaced by the record of its exchange. It may not while earlier QoS 1 records are
 * not acknowledged: they stay in the backlog, and after a crash they would be sent after it. It may if one of these was
 * the only unanswered packet when the broker closed the connection, or if the broker refuses every packet, because then
 * this packet may be the only witness.
 */
function mayReplace(session: Session): boolean {
  const { search, inFlight } = session.broker;
  let isAhead = false;
  for (const exchange of inFlight.values()) {
    if (exchange.kind !== "publish" || exchange.owner !== session || exchange.backlogId === 0) continue;
    if (exchange.suspicion && exchange.suspicion.deaths > 0) return true;
    isAhead = true;
  }
  return !isAhead || search.isSick;
}

export function onFetched(context: Context, session: Session, input: Extract<Input, { kind: "fetched" }>): void {
  const { backlog } = session.account;
  const { entries } = input;
  const upTo = backlog.readingUpTo;
  if (upTo === undefined) return;
  backlog.readingUpTo = undefined;
  if (input.failed !== undefined) {
    return drainIn(context, session, readPauseMs);
  }
  for (const [id, { publication, at }] of entries)
    if (id > backlog.readUpTo && !backlog.withdrawn.has(id)) backlog.head.push({ id, publication, at });
  const last = entries.at(-1)?.[0] ?? 0;
  backlog.readUpTo = Math.max(backlog.readUpTo, entries.length < readMax ? upTo : 0, last);
  for (const id of backlog.withdrawn) if (id <= backlog.readUpTo) backlog.withdrawn.delete(id);
  if (backlog.readUpTo >= backlog.next - 1 && backlog.unread !== 0) {
    backlog.recount(); // some records are damaged; the store has reported this
  }
  makeRoom(context, session);
  if (!checkAllForwarded(context, session)) drainSoon(context, session);
}

function send(context: Context, session: Session, entry: BacklogEntry): boolean {
  const { broker, clientId } = session;
  const { id, at } = entry;
  const publication = withAcceptance(session.upstream.options, entry.publication, at);
  const { link } = broker;
  const forget = () => context.journal.remove({ of: "backlog", clientId, id, record: undefined });
  const reason = whyNot(context, session, publication, at);
  const packetId = publication.qos > 0 ? broker.freePacketId() : 0;
  if (!link || packetId === undefined || reason !== undefined) {
    const detail = `QoS ${publication.qos} ${publication.topicName}, accepted while the broker was away`;
    context.drop(reason ?? "uplink-congested", { clientId, peer: session.peer, detail });
    keepDeadLetter(context, { clientId, direction: "up", reason: reason ?? "uplink-congested", publication });
    forget();
    return false;
  }
  if (publication.qos === 0) {
    if (!sendUnanswered(context, broker, session, publication))
      context.drop("uplink-congested", { clientId, detail: `QoS 0 ${publication.topicName}, accepted earlier` });
    forget();
    checkAllForwarded(context, session);
    return true;
  }
  const backlogId = publication.qos === 1 ? id : 0;
  const exchange = newPublishExchange(packetId, publication, session, { accepted: true, backlogId });
  broker.add(exchange);
  if (publication.qos === 2) {
    storeExchange(context, clientId, exchange);
    forget();
  }
  sendOrWait(context, broker, exchange);
  return true;
}

function whyNot(
  context: Context,
  session: Session,
  publication: BacklogEntry["publication"],
  at: number,
): "expired" | "too-large-for-broker" | undefined {
  const { ageSecondsMax } = context.options.uplink.policyOf(session.clientId);
  const now = context.environment.wallClock();
  if (ageSecondsMax > 0 && at > 0 && now !== undefined && now - at > ageSecondsMax * 1_000) return "expired";
  const limits = session.broker.link?.limits;
  if (!limits) return undefined;
  const { maximumQoS, retainAvailable, maximumPacketBytes = Number.POSITIVE_INFINITY } = limits;
  const properties = publication.meta ? propertyBytes(publication.meta) : 0;
  const bytes = publication.payload.byteLength + 3 * publication.topicName.length + properties + 16;
  const isTaken =
    publication.qos <= maximumQoS && (retainAvailable || !publication.retain) && bytes <= maximumPacketBytes;
  return isTaken ? undefined : "too-large-for-broker";
}

/** An accepted publication has ended. Sends the client's next one, or finds that all were forwarded. */
export function onAcceptedSettled(
  context: Context,
  session: Session,
  exchange: PublishExchange<Session>,
  code: number,
  takenOut?: { readonly reason: "refused-by-broker" | "topic-not-allowed"; readonly mayBeThere: boolean },
): void {
  const { clientId } = session;
  if (exchange.backlogId > 0)
    context.journal.remove({ of: "backlog", clientId, id: exchange.backlogId, record: undefined });
  if (code >= 0x80) {
    const { publication } = exchange;
    const detail = `QoS ${publication.qos} ${publication.topicName}, reason code ${code}`;
    const { reason, mayBeThere } = takenOut ?? { reason: "refused-by-broker", mayBeThere: false };
    if (reason === "refused-by-broker") context.drop(reason, { clientId, detail });
    keepDeadLetter(context, { clientId, direction: "up", reason, publication, mayBeThere });
  }
  if (!checkAllForwarded(context, session)) drainSoon(context, session);
}

function checkAllForwarded(context: Context, session: Session): boolean {
  if (session.account.unforwarded > 0) return false;
  onAllForwarded(context, session);
  return true;
}
