/**
 * Subscriptions of clients that share a connection.
 *
 * The broker has each filter once, at the highest QoS that a client has requested. The QoS of each client is applied
 * when a message is distributed to the clients. With MQTT 3.1.1 every filter has QoS 2. The reason: if filters overlap,
 * a broker may use any of them for its one copy (mosquitto does), and over a connection of its own each client would
 * have got its own QoS.
 *
 * For each SUBSCRIBE of a client the gateway sends one to the broker, so that the client gets the broker's answer and
 * the retained messages. Requests that arrive while one is unanswered share the next one. UNSUBSCRIBE is sent when the
 * last client leaves.
 */
import type { Context } from "../context.ts";
import {
  newSubscribe,
  newUnsubscribe,
  type RetainedWait,
  type SharedFilter,
  type SubscribeExchange,
  type UnsubscribeExchange,
} from "../state/exchanges.ts";
import { isShared } from "../state/filter-tree.ts";
import type { Restoring } from "../state/restoring.ts";
import type { Session } from "../state/session.ts";
import { newSharedFilter, type SharedConnection } from "../state/shared-connection.ts";
import type { QoS } from "../types.ts";
import { notePlaced, placeOf } from "./lanes.ts";
import { expectRetained } from "./retained.ts";
import { sendOrWait } from "./sending.ts";
import { markLane, oweUnsubscribe, settleUnsubscribe } from "./shared-record.ts";
import { withdraw } from "./withdraw.ts";

/**
 * So many SUBSCRIBEs are in flight when all filters are subscribed to again. To make and send them takes a few milliseconds.
 */
const askedAtOnce = 256;

/** Makes the client a member of the filter. Returns the connection that has the filter. */
function join(
  context: Context,
  shared: SharedConnection<Session>,
  session: Session,
  filter: string,
  qos: QoS,
): [SharedConnection<Session>, SharedFilter<Session>] {
  const there = shared.laneWith(filter);
  const lane = there ?? placeOf(context, shared, filter);
  const entry = joinLane(lane, session, filter, qos);
  if (!there) {
    notePlaced(context, lane, entry);
    settleUnsubscribe(context, lane, filter);
  }
  return [lane, entry];
}

/** Adds the member on this connection, even if the filter belongs to another one: `settleLanes` corrects this. */
export function joinLane(
  shared: SharedConnection<Session>,
  session: Session,
  filter: string,
  qos: QoS,
): SharedFilter<Session> {
  let entry = shared.filters.get(filter);
  if (!entry) {
    entry = newSharedFilter<Session>(filter);
    shared.filters.add(entry);
  }
  entry.members.set(session.row, qos);
  return entry;
}

/** A client subscribes: `request` is answered when the broker has answered. */
export function subscribeOverShared(
  context: Context,
  shared: SharedConnection<Session>,
  session: Session,
  request: SubscribeExchange<Session>,
): void {
  const [lane, entry] = join(context, shared, session, request.filter, request.qos);
  entry.addNext(request);
  ask(context, lane, entry);
}

/** Sends a request to the broker, unless one is open. */
export function ask(context: Context, shared: SharedConnection<Session>, entry: SharedFilter<Session>): void {
  const exchange = begin(context, shared, entry);
  if (exchange) sendOrWait(context, shared.broker, exchange);
}

/** Makes a SUBSCRIBE with the highest requested QoS. */
function begin(
  context: Context,
  shared: SharedConnection<Session>,
  entry: SharedFilter<Session>,
): SubscribeExchange<Session> | undefined {
  if (entry.asking || shared.undecided.has(entry)) return undefined;
  const packetId = shared.broker.freePacketId();
  if (packetId === undefined) {
    shared.unasked.add(entry);
    return undefined;
  }
  let qos: QoS = shared.policy.protocol === "5" ? 0 : context.options.clients.subscriptionQoSMax;
  for (const asked of entry.members.values()) if (asked > qos) qos = asked;
  const requests = entry.next;
  entry.next = [];
  const waits: RetainedWait<Session>[] = [];
  if (!isShared(entry.filter)) {
    for (const { origin } of requests) if (origin) waits.push(expectRetained(entry, origin.session));
  }
  const { filter } = entry;
  const exchange = newSubscribe<Session>({
    packetId,
    filter,
    qos,
    origin: undefined,
    shared: { entry, requests, waits },
  });
  entry.asking = exchange;
  shared.broker.add(exchange);
  return exchange;
}

/**
 * The broker has lost the session, so every filter is subscribed to again. The first requests are sent with all other packets, and the
 * others when these are answered (`askMore`).
 */
export function askAll(context: Context, shared: SharedConnection<Session>): void {
  if (context.restoring?.isComplete === false) return; // then `finishRestoring` does it
  shared.toAskAgain = shared.filters.stepByStep();
  for (const _ of beginMore(context, shared));
}

/** As `askAll`, over a connection that is up: the first requests are sent now. */
export function askAllNow(context: Context, shared: SharedConnection<Session>): void {
  shared.toAskAgain = shared.filters.stepByStep();
  askMore(context, shared);
}

/** A SUBSCRIBE was answered or given up: further filters are subscribed to again. */
export function askMore(context: Context, shared: SharedConnection<Session>): void {
  if (!shared.toAskAgain) return;
  for (const exchange of beginMore(context, shared)) sendOrWait(context, shared.broker, exchange);
}

function* beginMore(context: Context, shared: SharedConnection<Session>): Generator<SubscribeExchange<Session>> {
  const { toAskAgain, broker, filters } = shared;
  const most = context.options.askedAtOnce ?? askedAtOnce;
  while (toAskAgain && broker.subscribes < most) {
    const next = toAskAgain.next();
    if (next.done) {
      shared.toAskAgain = undefined;
      return;
    }
    const entry = filters.get(next.value);
    const exchange = entry && begin(context, shared, entry);
    if (exchange) yield exchange;
  }
}

/** Restores the membership to the state before a request that the broker has not answered. */
export function settleMembership(
  context: Context,
  shared: SharedConnection<Session>,
  session: Session,
  filter: string,
): void {
  const entry = shared.entryOf(filter);
  const subscription = session.subscriptions.get(filter);
  if (entry && subscription) entry.members.set(session.row, subscription.qos);
  else leaveFilter(context, shared, session, filter, undefined);
}

/** Ends the client's membership of the filter. True if the broker was asked to end the subscription. */
export function leaveFilter(
  context: Context,
  shared: SharedConnection<Session>,
  session: Session,
  filter: string,
  origin: UnsubscribeExchange<Session>["origin"],
): boolean {
  const lane = shared.laneWith(filter);
  const entry = lane?.filters.get(filter);
  if (!lane || !entry?.members.delete(session.row)) return false;
  entry.next = entry.next.filter((request) => request.origin?.session !== session);
  entry.removeWait(session);
  if (entry.members.size > 0) return false;
  lane.filters.remove(entry);
  lane.unasked.delete(entry);
  lane.undecided.delete(entry);
  markLane(context, lane);
  const { broker } = lane;
  if (entry.asking && !entry.asking.isSent) withdraw(broker, entry.asking);
  if (context.restoring?.isComplete === false) {
    leaveLater(context.restoring, lane, filter);
    return false;
  }
  const packetId = broker.freePacketId();
  if (packetId === undefined) return false;
  const exchange = newUnsubscribe<Session>({ packetId, filter, origin });
  broker.add(exchange);
  oweUnsubscribe(context, lane, filter);
  sendOrWait(context, broker, exchange);
  return true;
}

/** A client that is not restored yet may have this filter too. `finishRestoring` ends the subscription if none has it. */
function leaveLater({ left }: Restoring, { main }: SharedConnection<Session>, filter: string): void {
  const lane = main.lanes.find(({ keeps }) => keeps?.has(filter)) ?? main;
  const filters = left.get(lane);
  if (filters) filters.add(filter);
  else left.set(lane, new Set([filter]));
}

/** Removes a client whose session ends, or has ended except for messages that are still open. */
export function leaveShared(context: Context, shared: SharedConnection<Session>, session: Session): void {
  for (const filter of session.subscriptions.keys()) leaveFilter(context, shared, session, filter, undefined);
  for (const request of session.subscribesInFlight.values()) {
    if (request.kind === "subscribe") leaveFilter(context, shared, session, request.filter, undefined);
  }
  session.subscribesInFlight.clear(); // an answer that arrives later is ignored
}

/** The sessions for which something may be open, so without those that are parked. */
export function* sessionsOf(context: Context, shared: SharedConnection<Session>): Generator<Session> {
  for (const session of [...context.sessions.live()]) if (session.shared === shared) yield session;
}
