/** The requests of a member to the server about shards, and the state of a shard that the member has claimed. */
import type { Handover, LeaseState } from "../storage/lease.ts";
import type { Member } from "./members.ts";
import type { Heard } from "./membership.ts";

export interface Held {
  readonly shard: number;
  readonly epoch: number;
}

/**
 * The server of leases and beats. Each call may fail: the server cannot be reached, and the command may have been
 * executed or not.
 */
export interface ShardServer {
  /** The leases of these shards, in the same order. */
  look(shards: readonly number[]): Promise<readonly LeaseState[]>;
  /** Claims the shard if its lease is still as in `seen`; undefined: the lease has changed. */
  claim(
    shard: number,
    seen: LeaseState,
  ): Promise<{ readonly epoch: number; readonly handover: Handover | undefined } | undefined>;
  /** Renews these leases. Tells for each, in the same order, whether this member still holds it. */
  renew(held: readonly Held[]): Promise<readonly boolean[]>;
  release(held: Held, cause: "drained" | "ended"): Promise<void>;
  /** Writes a beat; returns all members that have one. */
  beat(self: Member): Promise<readonly Heard[]>;
  /** Removes this member's beat, so that the others know that it has left. */
  leave(): Promise<void>;
}

/** The lease of a shard, for the shard's gateway. */
export interface Claim {
  readonly shard: number;
  readonly epoch: number;
  /** Called before anything is sent. If it returns false, the shard was dropped before the return. */
  owns(): boolean;
  /** The store found a later epoch, so another member owns the shard. */
  lost(why: string): void;
}

/** Runs the gateways of the shards. */
export interface ShardHost {
  /** Resolves when the shard's gateway serves. Rejects if it cannot; nothing of it is left then. */
  open(claim: Claim): Promise<void>;
  /** Sends and stores what is pending, and accepts no more input. */
  close(shard: number): Promise<void>;
  /** Ends the shard's gateway immediately, without sending anything. May be called while it opens or closes. */
  drop(shard: number): void;
}

/** The highest epochs that this machine has seen. If the server has a lower one, its data are older. */
export interface EpochMemory {
  highest(shard: number): number;
  keep(shard: number, epoch: number): void;
}

interface OwnParts {
  readonly now: () => number;
  readonly isMine: (own: Own) => boolean;
  /** `why` empty: the lease is over by this machine's clock. */
  readonly lose: (own: Own, why: string) => void;
}

/** A shard of this member's, from claim to release. */
export class Own implements Claim {
  readonly shard: number;
  readonly epoch: number;
  /** The lease is valid until this time, by this machine's clock. */
  deadline: number;
  phase: "opening" | "serving" | "leaving" = "opening";
  /** The shard is not handed over before this time. */
  keptUntil = 0;
  readonly #parts: OwnParts;

  constructor(shard: number, epoch: number, deadline: number, parts: OwnParts) {
    this.shard = shard;
    this.epoch = epoch;
    this.deadline = deadline;
    this.#parts = parts;
  }

  owns(): boolean {
    if (!this.#parts.isMine(this)) return false;
    if (this.#parts.now() < this.deadline) return true;
    this.#parts.lose(this, "");
    return false;
  }

  lost(why: string): void {
    this.#parts.lose(this, why);
  }
}

/** When the holder of a lease gives up, if it asked for the last granted renewal at `asked`: a tenth before the end. */
export function deadlineOf(asked: number, leaseMs: number): number {
  return asked + leaseMs - leaseMs / 10;
}
