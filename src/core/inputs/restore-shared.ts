/** Restores a shared connection of an earlier run. Its session at the broker belongs to the gateway. */
import { restoreExperience } from "../broker/experience-record.ts";
import { sendOrWait } from "../broker/sending.ts";
import { oweUnsubscribe } from "../broker/shared-record.ts";
import type { Context } from "../context.ts";
import { lanesMax } from "../own-ids.ts";
import type { StoredState } from "../record.ts";
import { newUnsubscribe } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import type { SharedConnection } from "../state/shared-connection.ts";
import { leaveShared } from "./leaving.ts";

export function isSharedKey(clientId: string): boolean {
  return clientId.startsWith("\0");
}

/**
 * Continues the session of an earlier run. If the configuration does not have this shared connection any more, its
 * session is left in order.
 */
export function restoreShared(context: Context, stored: StoredState): void {
  const { session, received } = stored;
  const { clientId } = session;
  const shared = sharedWithKey(context, clientId);
  const kept = new Set(session.subscriptions.flatMap(({ filter, isRefused }) => (isRefused ? [] : [filter])));
  if (!shared) {
    if (leaveShared(context, clientId, kept, received)) return;
    context.journal.forget({ clientId });
    for (const [id] of received) context.journal.remove({ of: "received", clientId, id, record: undefined });
    return;
  }
  shared.resumes = true;
  if (shared.isLane) shared.keeps = kept;
  for (const { filter, isRefused } of session.subscriptions) if (isRefused) shared.owed.add(filter);
  restoreExperience(context, shared.broker, clientId, stored);
  for (const [packetId, { hash }] of received) {
    shared.broker.received.set(packetId, {
      packetId,
      publication: { topicName: "", payload: new Uint8Array(0), qos: 2, retain: false },
      connection: 0,
      stage: "acknowledged", // all copies are on disk, because they were in one commit with this record
      expiresAt: undefined,
      held: false,
      stored: true,
      hash,
    });
  }
}

/**
 * Called when all sessions are restored. Ends subscriptions that the last run had to end at the broker and that no client
 * needs now.
 */
export function askForOwed(context: Context): void {
  for (const upstream of context.upstreams.all)
    for (const main of upstream.sharedConnections)
      for (const shared of main.all()) {
        for (const filter of [...shared.owed]) {
          if (shared.filters.has(filter) || !endAtBroker(context, shared, filter)) shared.owed.delete(filter);
        }
      }
}

/** Ends this subscription at the broker, which no client needs. False: no packet id is free. */
export function endAtBroker(context: Context, shared: SharedConnection<Session>, filter: string): boolean {
  const packetId = shared.broker.freePacketId();
  if (packetId === undefined) return false;
  const exchange = newUnsubscribe<Session>({ packetId, filter, origin: undefined });
  shared.broker.add(exchange);
  if (!shared.owed.has(filter)) oweUnsubscribe(context, shared, filter);
  sendOrWait(context, shared.broker, exchange);
  return true;
}

/**
 * Finds the shared connection of a record. A lane is made from its record; if the configuration says now that the
 * broker sends one copy, the upstream has no lanes.
 */
function sharedWithKey(context: Context, clientId: string): SharedConnection<Session> | undefined {
  for (const upstream of context.upstreams.all) {
    for (const shared of upstream.sharedConnections) {
      if (shared.key === clientId) return shared;
      const number = clientId.startsWith(`${shared.key}.`) ? Number(clientId.slice(shared.key.length + 1)) : 0;
      if (!Number.isInteger(number) || number < 1 || number >= lanesMax || upstream.copies === "one") continue;
      return shared.lane(number, () => Math.floor(context.environment.random() * 65_535));
    }
  }
  return undefined;
}
