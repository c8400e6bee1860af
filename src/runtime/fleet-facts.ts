/** The state of a fleet as one of its gateways knows it, for people and for metrics. */
export interface FleetFacts {
  /** The name of the gateway that was asked. */
  readonly name: string;
  readonly leaseSeconds: number;
  /** The number of shards. */
  readonly shards: number;
  /** Why the leases cannot be read now; "" = they can. */
  readonly trouble: string;
  readonly members: readonly {
    readonly name: string;
    readonly version: string;
    readonly place: string;
    readonly isDraining: boolean;
    /** Seconds since this member was last heard; 0 for the gateway that was asked. */
    readonly secondsAgo: number;
    /** Seconds since this run of the member began, as far as the asked gateway knows. */
    readonly sinceSeconds: number;
    readonly shards: number;
  }[];
  /** Each shard, in order. */
  readonly owners: readonly {
    readonly shard: number;
    /** "" = the asked gateway knows no owner. */
    readonly owner: string;
    readonly epoch: number;
    /** The state of the shard at the asked gateway; absent: the shard is not its own. */
    readonly here?: "opening" | "serving" | "leaving";
  }[];
  readonly counters: {
    readonly claimed: Readonly<Record<"first" | "drained" | "ended" | "silent", number>>;
    readonly handedOver: number;
    readonly lost: number;
    readonly failed: number;
  };
}
