/** What one gateway of a fleet knows of all of them, for people and for metrics. */
export interface FleetFacts {
  /** The one that was asked. */
  readonly name: string;
  readonly leaseSeconds: number;
  /** How many shards there are. */
  readonly shards: number;
  /** Why the leases cannot be asked for just now; "": they can. */
  readonly trouble: string;
  readonly members: readonly {
    readonly name: string;
    readonly version: string;
    readonly place: string;
    readonly isDraining: boolean;
    /** Since it was heard of last; 0: the one that was asked. */
    readonly secondsAgo: number;
    /** Since this run of it is there, as far as the asked one knows. */
    readonly sinceSeconds: number;
    readonly shards: number;
  }[];
  /** Each shard, in order. */
  readonly owners: readonly {
    readonly shard: number;
    /** "": nobody, as far as is known here. */
    readonly owner: string;
    readonly epoch: number;
    /** What the asked gateway does with it; absent: it is not its own. */
    readonly here?: "opening" | "serving" | "leaving";
  }[];
  readonly counters: {
    readonly claimed: Readonly<Record<"first" | "drained" | "ended" | "silent", number>>;
    readonly handedOver: number;
    readonly lost: number;
    readonly failed: number;
  };
}
