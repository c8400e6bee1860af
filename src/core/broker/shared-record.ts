/**
 * The record of a shared connection. It says that the session at the broker is the gateway's own, and QoS 2 messages
 * that this session has received belong to it.
 */
import type { Context } from "../context.ts";
import type { SessionRecord } from "../record.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";

/**
 * At most so many filters are remembered over a restart. For further ones the broker continues to send what matches
 * them. All filters are in one record, which is written with each change.
 */
const owedMax = 64;

/**
 * The record of a lane also names its filters, and the next run uses the lane for them again. Filters whose
 * subscription must be ended are marked as refused.
 */
export function recordOfShared(shared: SharedConnection<Session>): SessionRecord {
  const filters = shared.isLane ? [...shared.filters.filters()] : [];
  return {
    clientId: shared.key,
    peer: undefined,
    state: "disconnected",
    clean: false,
    keepAliveSeconds: 0,
    sleepSeconds: 0,
    farewell: false,
    will: undefined,
    brokerWill: undefined,
    topics: [],
    nextTopicId: 1,
    subscriptions: [
      ...filters.map((filter) => ({ filter, qos: 2, by: "name", predefinedId: 0 }) as const),
      ...[...shared.owed].map((filter) => ({ filter, qos: 0, by: "name", predefinedId: 0, isRefused: true }) as const),
    ],
  };
}

/** UNSUBSCRIBE is being sent: this must not be forgotten by a restart. */
export function oweUnsubscribe(context: Context, shared: SharedConnection<Session>, filter: string): void {
  if (shared.isLeaving || shared.owed.size >= owedMax) return;
  shared.owed.add(filter);
  noteShared(context, shared);
}

/** The broker has answered UNSUBSCRIBE, or a client wants the filter again. */
export function settleUnsubscribe(context: Context, shared: SharedConnection<Session>, filter: string): void {
  if (shared.owed.delete(filter)) noteShared(context, shared);
}

function noteShared(context: Context, shared: SharedConnection<Session>): void {
  if (shared.resumes) context.journal.note({ clientId: shared.key }, () => recordOfShared(shared));
}

/**
 * The filters of the lane have changed. The record is written when the session at the broker belongs to the gateway.
 */
export function markLane(context: Context, lane: SharedConnection<Session>): void {
  if (lane.isLane && lane.resumes) context.journal.mark({ clientId: lane.key }, () => recordOfShared(lane));
}
