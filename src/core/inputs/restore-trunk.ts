/** The record of a shared connection: that the session at the broker is ours. */
import { restoreExperience } from "../broker/experience-record.ts";
import type { Context } from "../context.ts";
import type { SessionRecord, StoredState } from "../record.ts";
import type { Session } from "../state/session.ts";
import type { Trunk } from "../state/trunk.ts";

/** The trunk's own record: that the session at the broker is ours. What it received at QoS 2 belongs to it. */
export function recordOfTrunk(trunk: Trunk<Session>): SessionRecord {
  return {
    clientId: trunk.key,
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
    subscriptions: [],
  };
}

export function isTrunkKey(clientId: string): boolean {
  return clientId.startsWith("\0");
}

/** Takes up the session of an earlier life; that of a trunk which the configuration has no more is forgotten. */
export function restoreTrunk(context: Context, stored: StoredState): void {
  const { session, received } = stored;
  const { clientId } = session;
  const trunks = context.upstreams.all.flatMap((upstream) => upstream.trunks);
  const trunk = trunks.find(({ key }) => key === clientId);
  if (!trunk) {
    context.journal.forget({ clientId });
    for (const [id] of received) context.journal.remove({ of: "received", clientId, id, record: undefined });
    return;
  }
  trunk.resumes = true;
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
