/** Predefined topic ids. The ids of a client precede those for all clients. [MQTT-SN 1.2 §6.7] */
import type { PredefinedTopics } from "../input.ts";
import type { SubscribedBy } from "../types.ts";

export const noPredefinedTopics: PredefinedTopics = { forAll: new Map(), byClientId: new Map() };

/**
 * The table of a client that subscribed to predefined ids: these ids keep their meaning, even if the operator has changed the table since.
 * [interpretation 41]
 */
export function keepingMeanings(
  topics: PredefinedTopics,
  clientId: string,
  subscriptions: Iterable<{ readonly by: SubscribedBy; readonly predefinedId: number; readonly filter: string }>,
): PredefinedTopics {
  let own: Map<number, string> | undefined;
  for (const { by, predefinedId, filter } of subscriptions) {
    if (by !== "predefined" || predefinedName(topics, clientId, predefinedId) === filter) continue;
    own ??= new Map(topics.byClientId.get(clientId));
    own.set(predefinedId, filter);
  }
  return own ? { forAll: topics.forAll, byClientId: new Map([[clientId, own]]) } : topics;
}

/**
 * The topic name of a predefined id for this client. For an unknown sender (`undefined`), only the ids for all clients
 * count.
 */
export function predefinedName(topics: PredefinedTopics, clientId: string | undefined, id: number): string | undefined {
  const own = clientId === undefined ? undefined : topics.byClientId.get(clientId)?.get(id);
  return own ?? topics.forAll.get(id);
}
