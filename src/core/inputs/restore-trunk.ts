/** A shared connection of an earlier life: the session at the broker is ours. */
import { restoreExperience } from "../broker/experience-record.ts";
import type { Context } from "../context.ts";
import { lanesMax } from "../own-ids.ts";
import type { StoredState } from "../record.ts";
import type { Session } from "../state/session.ts";
import type { Trunk } from "../state/trunk.ts";
import { leaveShared } from "./leaving.ts";

export function isTrunkKey(clientId: string): boolean {
  return clientId.startsWith("\0");
}

/** Takes up the session of an earlier life; that of a trunk which the configuration has no more is left in order. */
export function restoreTrunk(context: Context, stored: StoredState): void {
  const { session, received } = stored;
  const { clientId } = session;
  const trunk = trunkWithKey(context, clientId);
  if (!trunk) {
    const filters = new Set(session.subscriptions.map(({ filter }) => filter));
    if (leaveShared(context, clientId, filters, received)) return;
    context.journal.forget({ clientId });
    for (const [id] of received) context.journal.remove({ of: "received", clientId, id, record: undefined });
    return;
  }
  trunk.resumes = true;
  if (trunk.isLane) trunk.keeps = new Set(session.subscriptions.map(({ filter }) => filter));
  restoreExperience(context, trunk.broker, clientId, stored);
  for (const [packetId, { hash }] of received) {
    trunk.broker.received.set(packetId, {
      packetId,
      publication: { topicName: "", payload: new Uint8Array(0), qos: 2, retain: false },
      connection: 0,
      stage: "acknowledged", // all of its copies are on disk: they were in one commit with it
      expiresAt: undefined,
      held: false,
      stored: true,
      hash,
    });
  }
}

/** A lane is made of its record; an upstream that sends one copy, as the configuration says now, has none. */
function trunkWithKey(context: Context, clientId: string): Trunk<Session> | undefined {
  for (const upstream of context.upstreams.all) {
    for (const trunk of upstream.trunks) {
      if (trunk.key === clientId) return trunk;
      const number = clientId.startsWith(`${trunk.key}.`) ? Number(clientId.slice(trunk.key.length + 1)) : 0;
      if (!Number.isInteger(number) || number < 1 || number >= lanesMax || upstream.copies === "one") continue;
      return trunk.lane(number, () => Math.floor(context.environment.random() * 65_535));
    }
  }
  return undefined;
}
