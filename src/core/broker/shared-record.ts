/**
 * The record of a shared connection. It says that the session at the broker is the gateway's own, and QoS 2 messages
 * that this session has received belong to it.
 */
import type { Context } from "../context.ts";
import type { SessionRecord } from "../record.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";

/** Of a lane also which filters stand on it: the next run takes them there again. */
export function recordOfShared(shared: SharedConnection<Session>): SessionRecord {
  const filters = shared.isLane ? [...shared.filters.all()] : [];
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
    subscriptions: filters.map(({ filter }) => ({ filter, qos: 2, by: "name", predefinedId: 0 })),
  };
}

/** What stands on it has changed; it is written once its session at the broker is ours. */
export function markLane(context: Context, lane: SharedConnection<Session>): void {
  if (lane.isLane && lane.resumes) context.journal.mark({ clientId: lane.key }, () => recordOfShared(lane));
}
