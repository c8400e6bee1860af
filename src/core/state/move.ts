import type { UplinkRecord } from "../record.ts";
import type { Session } from "./session.ts";

/** A client goes by another connection than in the last run of the gateway: what is published again for it. */
export interface Move {
  readonly session: Session;
  readonly uplink: readonly (readonly [packetId: number, record: UplinkRecord])[];
}
