/** Topic ids agreed on beforehand: a client's own come before those for all. [MQTT-SN 1.2 §6.7] */
import type { PredefinedTopics } from "../input.ts";

export const noPredefinedTopics: PredefinedTopics = { forAll: new Map(), byClientId: new Map() };

/** The name behind a predefined id for this client; for a stranger (`undefined`) only the ids for all count. */
export function predefinedName(topics: PredefinedTopics, clientId: string | undefined, id: number): string | undefined {
  const own = clientId === undefined ? undefined : topics.byClientId.get(clientId)?.get(id);
  return own ?? topics.forAll.get(id);
}
