/** Keeps sessions and what belongs to them over a restart. One writer. */

import type { BacklogRecord, Change, LetterRecord, StoredState } from "../core/record.ts";
import type { GatewayError } from "../errors.ts";

/** What the operator should know about the state in which the store was found. */
export interface StoreReport {
  /** In plain sentences: damage, repairs, what is lost. */
  readonly notices: readonly string[];
  /** Numbers that are in use, also by records that this version cannot read: new ones begin above. */
  readonly highest: { readonly queued: number; readonly letter: number };
}

export interface StoredLetter {
  readonly id: number;
  readonly clientId: string;
  readonly record: LetterRecord;
}

/** A message for a client whose time to live ends. */
export interface StoredDue {
  readonly clientId: string;
  readonly seq: number;
  /** Wall clock, ms since 1970. */
  readonly due: number;
}

/** What a transport keeps of a device's encryption. */
export interface StoredSecure {
  /** Of transport and identity. */
  readonly name: string;
  /** Empty: it cannot be read. */
  readonly state: Uint8Array;
}

/** Takes what was read. */
export type Fetched = (
  entries: readonly (readonly [id: number, record: BacklogRecord])[],
  error: GatewayError | undefined,
) => void;

export interface CommitOptions {
  /**
   * A counter that grows when another process takes over. The store keeps the highest value, together with the changes, and refuses a
   * commit with a lower one (ERR_STORE_EPOCH). Without a value every commit is accepted.
   */
  readonly epoch?: number;
}

/**
 * What is read comes in slices: up to `limit` of what lies behind `after`, which is the last one of the slice before
 * (undefined, or 0: from the beginning). A shorter slice, also an empty one, is the last. Each slice sees all commits that
 * were answered before it was asked for. All of these throw ERR_STORE_OPEN when the store cannot be read.
 */
export interface Store {
  /** @throws {GatewayError} ERR_STORE_OPEN when another process has it, or nothing can be written there. */
  open(): Promise<StoreReport>;
  /**
   * Applies all changes or none and calls back once, when they are as durable as configured, or with ERR_STORE_WRITE.
   * Commits are done in the order of the calls. A callback, not a promise: the driver and the simulation stay free to
   * run without a turn of the event loop between two steps.
   *
   * What could not be written is written with a later commit: the store never falls behind for good. What was refused
   * (ERR_STORE_EPOCH) is not.
   */
  commit(changes: readonly Change[], done: (error: GatewayError | undefined) => void, options?: CommitOptions): void;
  /** Sessions with what belongs to them, each once, in an order of the store's own. Of backlogs only the sums. */
  sessions(after: string | undefined, limit: number): Promise<readonly StoredState[]>;
  /** One of them; undefined: there is none. */
  load(clientId: string): Promise<StoredState | undefined>;
  /** Up to `limit` messages for clients whose time to live ends before this wall clock time, soonest first. Reads all. */
  due(before: number, limit: number): Promise<readonly StoredDue[]>;
  /** Clients that the broker has accepted. */
  known(after: string | undefined, limit: number): Promise<readonly string[]>;
  /** Dead letters, by number. */
  letters(after: number, limit: number): Promise<readonly StoredLetter[]>;
  /** Of devices' encryption, by name. None where the store may have lost what was committed last: a number must not be used twice. */
  secure(after: string | undefined, limit: number): Promise<readonly StoredSecure[]>;
  /** All records for a backup, at one moment, ordered by key; undefined if nothing is stored (memory). */
  snapshot(): AsyncIterable<readonly [key: string, value: Uint8Array]> | undefined;
  /**
   * Up to `limit` records of a client's backlog from number `from` on, in order; with all that was committed before
   * this call. An error: they cannot be read now.
   */
  fetch(clientId: string, from: number, limit: number, done: Fetched): void;
  /** Writes what is left, then closes. */
  close(): Promise<void>;
  /** Another gateway has it: nothing more is written, at once, also nothing that waits. Absent where there is no other. */
  abandon?(): void;
}

/** In a store that writes several at once: a commit, or (without changes) a read that sees all commits before it. */
export interface Waiting {
  readonly changes: readonly Change[] | undefined;
  readonly epoch: number | undefined;
  readonly done: (error: GatewayError | undefined) => void;
}
