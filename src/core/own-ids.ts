/** The MQTT client ids of the gateway's own connections. */
import type { UpstreamPolicy } from "./options.ts";

type OwnIds = Pick<UpstreamPolicy, "mode" | "connections" | "clientIdPrefix" | "serviceClientId">;

/**
 * The connections that together form one shared connection: the main one, and those for filters that overlap with
 * others on it.
 */
export const lanesMax = 16;

/**
 * The MQTT client id of the gateway's own connection (service), of a shared connection (`index` from 0), or of one of
 * its additional lanes (`lane` from 1).
 */
export function ownId({ clientIdPrefix, serviceClientId }: OwnIds, index: number, lane = 0): string {
  return clientIdPrefix + serviceClientId + (index === 0 ? "" : `-${index}`) + (lane === 0 ? "" : `-lane-${lane}`);
}

/** The MQTT client ids of all own connections at this broker. */
export function ownIdsOf(policy: OwnIds): string[] {
  if (policy.mode !== "aggregating") return [ownId(policy, 0), homeId(policy), controlId(policy)];
  const ids = [probeId(policy), homeId(policy), controlId(policy)];
  for (let index = 0; index < policy.connections; index++)
    for (let lane = 0; lane < lanesMax; lane++) ids.push(ownId(policy, index, lane));
  return ids;
}

/** The client id of the connection to which Home Assistant listens. */
export function homeId({
  clientIdPrefix,
  serviceClientId,
}: Pick<OwnIds, "clientIdPrefix" | "serviceClientId">): string {
  return `${clientIdPrefix}${serviceClientId}-ha`;
}

/** The MQTT client id of the connection that receives commands over MQTT. */
export function controlId({
  clientIdPrefix,
  serviceClientId,
}: Pick<OwnIds, "clientIdPrefix" | "serviceClientId">): string {
  return `${clientIdPrefix}${serviceClientId}-control`;
}

/** The MQTT client id of a short connection that tests the broker. */
export function probeId({ clientIdPrefix, serviceClientId }: OwnIds): string {
  return `${clientIdPrefix}${serviceClientId}-probe`;
}
