/** Keeps sessions and queued messages over a restart. One writer. */

import type { Change, StoredState } from "../core/record.ts";
import type { GatewayError } from "../errors.ts";

export interface Store {
  /** @throws {GatewayError} ERR_STORE_OPEN */
  open(): Promise<void>;
  /**
   * Applies all changes or none and calls back once, when they are as durable as configured, or with ERR_STORE_WRITE.
   * Commits are done in the order of the calls. A callback, not a promise: the driver and the simulation stay free to
   * run without a turn of the event loop between two steps.
   */
  commit(changes: readonly Change[], done: (error: GatewayError | undefined) => void): void;
  /** Every session, for the start of the gateway. */
  all(): AsyncIterable<StoredState>;
  close(): Promise<void>;
}
