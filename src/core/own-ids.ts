/** The MQTT client ids of the gateway's own connections. */
import type { UpstreamPolicy } from "./options.ts";

type OwnIds = Pick<UpstreamPolicy, "mode" | "connections" | "clientIdPrefix" | "serviceClientId">;

/** Of the service's connection, or of one that clients share, counted from 0. */
export function ownId({ clientIdPrefix, serviceClientId }: OwnIds, index: number): string {
  return clientIdPrefix + serviceClientId + (index === 0 ? "" : `-${index}`);
}

/** All of them at this broker: the service's, or those that clients share. */
export function ownIdsOf(policy: OwnIds): string[] {
  const count = policy.mode === "aggregating" ? policy.connections : 1;
  return Array.from({ length: count }, (_, index) => ownId(policy, index));
}
