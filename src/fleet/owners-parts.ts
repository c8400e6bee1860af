/** What `Owners` is made with, what it counts, and what it says of a shard. */
import type { Handover, LeaseTimers } from "../storage/lease.ts";
import type { EpochMemory, ShardHost, ShardServer } from "./claim.ts";
import type { Member } from "./members.ts";

export interface OwnersParts {
  readonly shards: number;
  readonly self: Member;
  readonly leaseMs: number;
  readonly server: ShardServer;
  readonly host: ShardHost;
  readonly memory: EpochMemory;
  readonly timers: LeaseTimers;
  /** Plain sentences, for the log. */
  readonly told: (level: "debug" | "info" | "warn" | "error", say: string) => void;
}

export interface OwnersCounters {
  /** Claimed shards, by the cause. */
  readonly claimed: Record<Handover["cause"], number>;
  /** Shards that were handed over in order. */
  handedOver: number;
  /** Shards that were dropped, because the lease was over or another member has it. */
  lost: number;
  /** Shards that could not be opened. */
  failed: number;
}

export interface ShardFacts {
  readonly shard: number;
  /** "": no owner is known here. */
  readonly owner: string;
  readonly epoch: number;
  /** For a shard of this member: what it does with the shard. */
  readonly here?: "opening" | "serving" | "leaving";
}
