/**
 * MQTT client ids at a broker. If two connections use the same client id, the broker closes the older one, and the
 * newer one gets the messages that were meant for the other. [MQTT-3.1.4-2]
 */
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import type { Upstream } from "../state/upstream.ts";

/**
 * The owner of the id that this client would have at the broker, in words; undefined: none. Over a shared connection a client has no such
 * id.
 */
export function holderOfId(context: Context, clientId: string, upstream: Upstream<Session>): string | undefined {
  if (upstream.sharedConnections.length > 0) return undefined;
  const mqttClientId = upstream.options.clientIdPrefix + clientId;
  if (context.upstreams.ownIds.has(mqttClientId) || context.options.reservedIds?.has(mqttClientId) === true)
    return "the gateway itself";
  for (const [rival, other] of context.upstreams.rivalsOf(clientId, upstream)) {
    const session = rival === clientId ? undefined : context.sessions.look(rival);
    if (session?.upstream === other && !session.lacksId) return `client ${rival}`;
  }
  return undefined;
}
