/** Keeps sessions, and the records that belong to them, over a restart. A store has one writer. */

import type { BacklogRecord, Change, LetterRecord, StoredState } from "../core/record.ts";
import type { GatewayError } from "../errors.ts";

/** What the operator should know about the state of the store when it was opened. */
export interface StoreReport {
  /** Plain sentences about damage, repairs and losses. */
  readonly notices: readonly string[];
  /** The highest numbers in use, also by records that this version cannot read. New numbers begin above them. */
  readonly highest: { readonly queued: number; readonly letter: number };
}

export interface StoredLetter {
  readonly id: number;
  readonly clientId: string;
  readonly record: LetterRecord;
}

/** A message for a client that expires because of its time to live. */
export interface StoredDue {
  readonly clientId: string;
  readonly seq: number;
  /** Wall clock, ms since 1970. */
  readonly due: number;
}

/** What a transport keeps of the encryption with a device. */
export interface StoredSecure {
  /** Name of the transport and identity of the device. */
  readonly name: string;
  /** Empty: it cannot be read. */
  readonly state: Uint8Array;
}

/** Called with the records that were read. */
export type Fetched = (
  entries: readonly (readonly [id: number, record: BacklogRecord])[],
  error: GatewayError | undefined,
) => void;

/** Clients whose sessions are restored before others. */
export interface Foremost {
  /**
   * Keys of the records of shared connections, and every client with publications under way to a broker. No client may
   * be served before these are restored, because packet ids are in use by them.
   */
  readonly needed: readonly string[];
  /** Clients that were active, at most `activeMax`. They are only an advice for the order; some may be missing. */
  readonly active: readonly string[];
}

/** Each of them is read by a question of its own, so very many are read faster in their slices. */
export const activeMax = 10_000;

export interface CommitOptions {
  /**
   * A counter that grows when another process takes over. The store keeps the highest value, together with the changes, and refuses a
   * commit with a lower one (ERR_STORE_EPOCH). Without a value every commit is accepted.
   */
  readonly epoch?: number;
}

/**
 * Reads return slices: up to `limit` entries behind `after`, which is the last entry of the slice before (undefined, or
 * 0: from the beginning). A slice with fewer entries, or none, is the last one. Each slice contains all commits that
 * were answered before it was asked for. All reads throw ERR_STORE_OPEN if the store cannot be read.
 */
export interface Store {
  /** @throws {GatewayError} ERR_STORE_OPEN if another process uses the store, or nothing can be written there. */
  open(): Promise<StoreReport>;
  /**
   * Applies all changes or none. Calls back once: when they are as durable as configured, or with ERR_STORE_WRITE.
   * Commits are done in the order of the calls. It takes a callback instead of returning a promise, so that the driver
   * and the simulation need no turn of the event loop between two steps.
   *
   * Changes that could not be written are written with a later commit, so the store catches up. Changes that were
   * refused (ERR_STORE_EPOCH) are not.
   */
  commit(changes: readonly Change[], done: (error: GatewayError | undefined) => void, options?: CommitOptions): void;
  /**
   * Sessions with the records that belong to them, each session once, in the store's own order. Of a backlog it returns
   * only the sum.
   */
  sessions(after: string | undefined, limit: number): Promise<readonly StoredState[]>;
  /**
   * The sessions to restore first. Undefined: the store does not know them, so all sessions must be restored before any
   * client is served.
   */
  foremost(): Promise<Foremost | undefined>;
  /** One session; undefined: there is none. */
  load(clientId: string): Promise<StoredState | undefined>;
  /**
   * Up to `limit` messages for clients that expire before this wall clock time, the soonest first. Reads all messages.
   */
  due(before: number, limit: number): Promise<readonly StoredDue[]>;
  /** Clients that the broker has accepted. */
  known(after: string | undefined, limit: number): Promise<readonly string[]>;
  /** Dead letters, ordered by number. */
  letters(after: number, limit: number): Promise<readonly StoredLetter[]>;
  /**
   * Records of devices' encryption, ordered by name. Returns none if the store may have lost the last commits, because
   * no sequence number must be used twice.
   */
  secure(after: string | undefined, limit: number): Promise<readonly StoredSecure[]>;
  /** All records for a backup, at one moment, ordered by key; undefined if nothing is stored (memory). */
  snapshot(): AsyncIterable<readonly [key: string, value: Uint8Array]> | undefined;
  /**
   * Up to `limit` records of a client's backlog from number `from` on, in order, with everything that was committed
   * before this call. An error means that they cannot be read now.
   */
  fetch(clientId: string, from: number, limit: number, done: Fetched): void;
  /** Writes what is pending, then closes. */
  close(): Promise<void>;
  /**
   * Another gateway has taken over: from this call on nothing more is written, and pending commits are dropped. Absent
   * in a store that no other gateway can use.
   */
  abandon?(): void;
}

/**
 * An entry that waits in a store that writes several commits at once: a commit, or (without changes) a read that sees
 * all commits before it.
 */
export interface Waiting {
  readonly changes: readonly Change[] | undefined;
  readonly epoch: number | undefined;
  readonly done: (error: GatewayError | undefined) => void;
}
