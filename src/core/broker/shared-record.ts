/**
 * The record of a shared connection. It says that the session at the broker is the gateway's own, and QoS 2 messages
 * that this session has received belong to it.
 */
import type { Context } from "../context.ts";
import type { SessionRecord } from "../record.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";

/**
 * More filters than these are not remembered over a restart; the broker then goes on sending what matches them. All of
 * them are in one record, which is written with each change.
 */
const owedMax = 64;

/**
 * Of a lane also which filters stand on it: the next run takes them there again. Filters that are to be ended are
 * marked as refused.
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

/** What stands on it has changed; it is written once its session at the broker is ours. */
export function markLane(context: Context, lane: SharedConnection<Session>): void {
  if (lane.isLane && lane.resumes) context.journal.mark({ clientId: lane.key }, () => recordOfShared(lane));
}
