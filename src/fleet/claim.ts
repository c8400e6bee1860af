/** What a member and the server say to each other of shards, and what a shard is to the member that has claimed it. */
import type { Handover, LeaseState } from "../storage/lease.ts";
import type { Member } from "./members.ts";
import type { Heard } from "./membership.ts";

export interface Held {
  readonly shard: number;
  readonly epoch: number;
}

/** Where leases and beats lie. All of these may fail: the server is away, and what was asked may have been done or not. */
export interface ShardServer {
  /** As they are, in the order in which they were asked for. */
  look(shards: readonly number[]): Promise<readonly LeaseState[]>;
  /** Takes it if it is still as it was seen; undefined: it is not. */
  claim(
    shard: number,
    seen: LeaseState,
  ): Promise<{ readonly epoch: number; readonly handover: Handover | undefined } | undefined>;
  /** Of each, in the order in which they were asked for: is it still ours? */
  renew(held: readonly Held[]): Promise<readonly boolean[]>;
  release(held: Held, cause: "drained" | "ended"): Promise<void>;
  /** Leaves a beat; answers all members that were heard of. */
  beat(self: Member): Promise<readonly Heard[]>;
  /** This member is gone, and says so. */
  leave(): Promise<void>;
}

/** What a shard's gateway is told of its lease. */
export interface Claim {
  readonly shard: number;
  readonly epoch: number;
  /** Asked before anything leaves. Where it says no, the shard was dropped before it answers. */
  owns(): boolean;
  /** The store found a later epoch. */
  lost(why: string): void;
}

/** Runs the gateways of the shards. */
export interface ShardHost {
  /** Done when the shard's gateway serves. Fails: it cannot; nothing of it is left then. */
  open(claim: Claim): Promise<void>;
  /** Everything leaves that may, and is stored; nothing comes in any more. */
  close(shard: number): Promise<void>;
  /** At once, and without a word to anybody. Also while it opens or closes. */
  drop(shard: number): void;
}

/** Highest epochs that this machine has seen: the server shall not come back with less. */
export interface EpochMemory {
  highest(shard: number): number;
  keep(shard: number, epoch: number): void;
}

interface OwnParts {
  readonly now: () => number;
  readonly isMine: (own: Own) => boolean;
  /** `why` empty: by our own clock. */
  readonly lose: (own: Own, why: string) => void;
}

/** A shard of this member's, from claim to release. */
export class Own implements Claim {
  readonly shard: number;
  readonly epoch: number;
  /** Until then it is ours, by our own clock. */
  deadline: number;
  phase: "opening" | "serving" | "leaving" = "opening";
  /** It is not handed over before that. */
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
