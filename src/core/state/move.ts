import type { UplinkRecord } from "../record.ts";
import type { Session } from "./session.ts";

/**
 * A client that uses another connection than in the last run of the gateway, and its publications that are sent again.
 */
export interface Move {
  readonly session: Session;
  readonly uplink: readonly (readonly [packetId: number, record: UplinkRecord])[];
}
