/**
 * The leases of shards that this member does not own, as it saw them last, and when it may claim such a shard. All
 * times are by this machine's clock: a lease counts from the moment after its state was seen for the first time.
 */
import type { LeaseState } from "../storage/lease.ts";

/** Each further candidate waits for a lease and this time. */
const chanceMs = 1_000;
/** A member that could not open a shard does not try again before this time. */
const cannotMs = 30_000;

/** The last known state of a shard that is not here. */
interface Seen {
  readonly state: LeaseState;
  readonly what: string;
  /** The time when this state was first seen. */
  readonly at: number;
}

export class SeenLeases {
  readonly #leaseMs: number;
  readonly #run: string;
  readonly #seen = new Map<number, Seen>();
  /** The time since which nobody holds the shard. */
  readonly #openSince = new Map<number, number>();
  readonly #cannotUntil = new Map<number, number>();

  /** `run`: the present run of this member. */
  constructor(leaseMs: number, run: string) {
    this.#leaseMs = leaseMs;
    this.#run = run;
  }

  /** The last known state of the shard's lease; undefined: it was not seen yet. */
  of(shard: number): LeaseState | undefined {
    return this.#seen.get(shard)?.state;
  }

  note(shard: number, state: LeaseState, now: number): void {
    const what = `${state.run} ${state.epoch} ${state.renewals} ${state.isFree}`;
    const before = this.#seen.get(shard);
    if (before?.what !== what) this.#seen.set(shard, { state, what, at: now });
  }

  /** This member has claimed the shard. */
  forget(shard: number): void {
    this.#openSince.delete(shard);
    this.#seen.delete(shard);
  }

  /** The shard could not be opened here. */
  noteFailed(shard: number, now: number): void {
    this.#cannotUntil.set(shard, now + cannotMs);
  }

  /** For how long no member has held the shard, in milliseconds; undefined: it must not be claimed now. */
  waitedMs(shard: number, now: number): number | undefined {
    const seen = this.#seen.get(shard);
    if (!seen) return undefined;
    const { state, at } = seen;
    const isOver = now - at >= Math.max(this.#leaseMs, state.leaseMs);
    // A shard in this run's name was claimed, but the answer was lost: it may be claimed again.
    if (!state.isFree && !isOver && state.run !== this.#run) {
      this.#openSince.delete(shard);
      return undefined;
    }
    const since = this.#openSince.get(shard) ?? now;
    this.#openSince.set(shard, since);
    return now < (this.#cannotUntil.get(shard) ?? 0) ? undefined : now - since;
  }

  /** Whether the candidate with this rank, counted from 0, may claim a shard that nobody has held for this time. */
  isTurnOf(rank: number, waitedMs: number): boolean {
    return waitedMs >= rank * (this.#leaseMs + chanceMs);
  }
}

/** A sentence for the operator: the server has lost epochs. */
export function sayOlder(shard: number, epoch: number, highest: number): string {
  return (
    `the server came back with older data (shard ${shard}: epoch ${epoch}, and ${highest} was there before). This gateway claims no shard with these data. ` +
    "Restore the newer data. Or, to continue with the older data, stop all gateways, delete fleet-epochs in store.folder of each, and start them"
  );
}
