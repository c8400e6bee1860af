/**
 * When a session is parked: some time after its client has gone to sleep, has left or is lost, or after the session was
 * needed meanwhile. See state/parked-sessions.ts.
 *
 * Only a session for which nothing is open is parked, because everything that is open refers to the session as an
 * object. If something is open, the gateway checks the session again later, each time after twice the time. Most of
 * what is open ends with the next message of the client, and when the client sleeps again, the time begins anew.
 *
 * In transparent mode a session has a connection of its own, which is an object too, so it is not parked.
 */
import type { Context } from "../context.ts";
import type { SubscribeExchange } from "../state/exchanges.ts";
import { isDormant, type Parking, type Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";
import { wasJustTold } from "./publish-down.ts";

const firstPauseMs = 1_000;
const pauseMaxMs = 600_000;

/**
 * If more packets than this are under way, the gateway does not check whether one of them is of this client, and the
 * session is not parked. So many packets are under way only if the broker is slow or away.
 */
const underWayMax = 1_000;

/** The deadline for checking whether the session may be parked is due. */
export function onParkDeadline(context: Context, session: Session): void {
  const { parking } = session;
  if (!parking || !isDormant(session)) return;
  if (parking.heard !== session.heard) begin(context, session, parking);
  if (mayBeParked(context, session) && isStored(context, parking)) return context.sessions.park(session);
  const pause = Math.min(Math.max(context.options.clients.parkAfterMs, firstPauseMs) * 2 ** parking.tries, pauseMaxMs);
  parking.tries++;
  context.deadlines.set(parking.deadline, context.now + pause);
}

/**
 * Parks a session that was parked until now, or that was just restored, if nothing was opened for it in this turn. No
 * commit has to be waited for, because nothing was promised to the client.
 */
export function parkAgain(context: Context, session: Session): void {
  if (context.options.clients.parkAfterMs === Number.POSITIVE_INFINITY) return;
  if (context.sessions.isCurrent(session) && mayBeParked(context, session)) context.sessions.park(session);
}

/** The client was heard since the last check. Its message may have begun a commit. */
function begin(context: Context, session: Session, parking: Parking): void {
  parking.heard = session.heard;
  parking.tries = 0;
  parking.behind = context.journal.lastCommit;
}

/**
 * Whether all commits that may concern the session are done. If a commit fails, what was promised on it is withdrawn.
 */
function isStored(context: Context, parking: Parking): boolean {
  const { answered } = context.store;
  if (context.journal.lastCommit <= answered) return true;
  if (parking.tries === 0) parking.behind = context.journal.lastCommit;
  return parking.behind <= answered;
}

/** Whether nothing is open for this session, neither here nor anywhere else. */
export function mayBeParked(context: Context, session: Session): boolean {
  if (!isDormant(session) || !session.shared) return false;
  // The session is about to end.
  if (session.silence.at === undefined || session.silence.at <= context.now) return false;
  // A client that has sent no message yet may have to make room for another one at any moment.
  if (!session.spoke && !session.vouched) return false;
  if (session.touched || context.storeFails || context.journal.isMarked(session.clientId)) return false;
  return !isUnsettled(session) && hasNothingOpen(context, session) && !isReferredTo(context, session);
}

/** Whether the client is connecting, leaving or moving to another connection, or the broker has refused it. */
function isUnsettled(session: Session): boolean {
  const { pendingConnect, willPending, awaitsForwarding, leaves, isHeldBack, isOver, brokerRefused } = session;
  return (
    brokerRefused ||
    pendingConnect !== undefined ||
    willPending ||
    awaitsForwarding ||
    leaves !== undefined ||
    isHeldBack ||
    isOver
  );
}

function hasNothingOpen(context: Context, session: Session): boolean {
  const { outbox, account, will, retry, registry, lastConnect } = session;
  const { backlog } = account;
  if (outbox.length > 0 || outbox.inFlight || outbox.names.size > 0 || retry.at !== undefined) return false;
  if (session.publishesInFlight.size > 0 || session.subscribesInFlight.size > 0 || session.inboundQoS2.size > 0)
    return false;
  if (account.unforwarded > 0 || backlog.readingUpTo !== undefined || backlog.withdrawn.size > 0) return false;
  if (lastConnect?.nothingSince || will?.meta || registry.hasChanged) return false;
  if (outbox.justSent.length === 0) return true;
  for (const topic of registry.topics()) if (wasJustTold(context, topic)) return false;
  return true;
}

/** Whether something that continues to exist refers to the session as an object. */
function isReferredTo(context: Context, session: Session): boolean {
  const { broker, shared, clientId } = session;
  if (context.moves.length > 0) return true; // moves exist only at the start
  if (context.drain.waiting.has(session) || session.retainedWaits > 0 || broker.hasWaiting(clientId)) return true;
  for (const exchange of broker.pings) if (exchange?.owner === session) return true;
  for (const lane of shared?.all() ?? []) if (isReferredToBy(lane, session)) return true;
  return false;
}

/**
 * Whether a packet that is under way over this connection refers to the session, also if the client does not wait for
 * it any more.
 */
function isReferredToBy({ broker, unasked, undecided }: SharedConnection<Session>, session: Session): boolean {
  if (broker.inFlight.size + unasked.size + undecided.size > underWayMax) return true;
  for (const exchange of broker.inFlight.values()) {
    if (exchange.kind === "publish" && exchange.owner === session) return true;
    if (exchange.origin?.session === session) return true;
    if (exchange.kind !== "subscribe" || !exchange.shared) continue;
    const { entry, requests, waits } = exchange.shared;
    if (isAskedFor(entry.next, session) || isAskedFor(requests, session)) return true;
    for (const wait of waits) if (wait.session === session) return true;
  }
  for (const { next } of unasked) if (isAskedFor(next, session)) return true;
  for (const { next } of undecided) if (isAskedFor(next, session)) return true;
  return false;
}

function isAskedFor(requests: readonly SubscribeExchange<Session>[], session: Session): boolean {
  return requests.some(({ origin }) => origin?.session === session);
}
