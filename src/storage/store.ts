/** Keeps sessions and what belongs to them over a restart. One writer. */

import type { BacklogRecord, Change, LetterRecord, StoredState } from "../core/record.ts";
import type { GatewayError } from "../errors.ts";

/** What the operator should know of the store as it was found. */
export interface StoreReport {
  /** In plain sentences: damage, repairs, what is lost. */
  readonly notices: readonly string[];
}

export interface StoredLetter {
  readonly id: number;
  readonly clientId: string;
  readonly record: LetterRecord;
}

/** Takes what was read. */
export type Fetched = (
  entries: readonly (readonly [id: number, record: BacklogRecord])[],
  error: GatewayError | undefined,
) => void;

export interface Store {
  /** @throws {GatewayError} ERR_STORE_OPEN when another process has it, or nothing can be written there. */
  open(): Promise<StoreReport>;
  /**
   * Applies all changes or none and calls back once, when they are as durable as configured, or with ERR_STORE_WRITE.
   * Commits are done in the order of the calls. A callback, not a promise: the driver and the simulation stay free to
   * run without a turn of the event loop between two steps.
   *
   * What could not be written is written with a later commit: the store never falls behind for good.
   */
  commit(changes: readonly Change[], done: (error: GatewayError | undefined) => void): void;
  /** Every session, for the start of the gateway. */
  all(): AsyncIterable<StoredState>;
  /** Clients that the broker has accepted. */
  known(): Promise<readonly string[]>;
  /** Dead letters, by number. */
  letters(): Promise<readonly StoredLetter[]>;
  /** Everything as it is at one moment, key by key; undefined where there is nothing to keep (memory). */
  snapshot(): AsyncIterable<readonly [key: string, value: Uint8Array]> | undefined;
  /**
   * Up to `limit` records of a client's backlog from number `from` on, in order; with all that was committed before
   * this call. An error: they cannot be read now.
   */
  fetch(clientId: string, from: number, limit: number, done: Fetched): void;
  /** Writes what is left, then closes. */
  close(): Promise<void>;
}
