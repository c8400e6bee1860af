/**
 * The members of a fleet. Each member writes a beat to the server every third of a lease. A member without a beat for a
 * lease is not there any more. The server tells how old a beat is when a reader first sees it; from then on the reader
 * uses its own clock. So no clock of a member is compared with another member's.
 */
import type { Member } from "./members.ts";
import { weightOf } from "./shard.ts";

/** A member as the server knows it. */
export interface Heard extends Member {
  /** Increases with each beat. */
  readonly beats: number;
  /** Milliseconds since its last beat, by the clock of the server. */
  readonly silentMs: number;
}

interface Known {
  readonly is: Member;
  readonly beats: number;
  /** The time of its last beat, as far as it is known here. */
  readonly at: number;
  /** The time when this run of the member was first seen. */
  readonly since: number;
}

export class Membership {
  readonly #self: Member;
  readonly #leaseMs: number;
  #isDraining = false;
  #known = new Map<string, Known>();
  #others: readonly Member[] = [];
  /** The time of the server's last answer; before the first one nothing is known of the others. */
  #heardAt = Number.NEGATIVE_INFINITY;

  constructor(self: Member, leaseMs: number) {
    this.#self = self;
    this.#leaseMs = leaseMs;
  }

  get self(): Member {
    return this.#isDraining ? { ...this.#self, isDraining: true } : this.#self;
  }

  /** The member hands over its shards, and gets no others. */
  drain(isDraining = true): void {
    this.#isDraining = isDraining;
  }

  /**
   * The beats that the server has, and when this was asked: the beats are not younger. A member without a beat has
   * left.
   */
  heard(all: readonly Heard[], asked: number): void {
    const known = new Map<string, Known>();
    for (const { beats, silentMs, ...is } of all) {
      if (is.name === this.#self.name) continue;
      const before = this.#known.get(is.name);
      const isSame = before?.is.run === is.run;
      // The server's clock may have been set since this member was last seen, so the age that the server states is
      // limited.
      const age = isSame ? Math.min(silentMs, this.#leaseMs / 2) : silentMs;
      const at = isSame && before.beats === beats ? before.at : asked - age;
      known.set(is.name, {
        is: before && isAsBefore(before.is, is) ? before.is : is,
        beats,
        at,
        since: isSame ? before.since : asked,
      });
    }
    this.#known = known;
    this.#heardAt = asked;
  }

  /** True if the last answer of the server is not older than a lease. Nothing is decided on older facts. */
  isFresh(now: number): boolean {
    return now - this.#heardAt < this.#leaseMs;
  }

  /** The living others; the same array as long as nothing has changed. */
  others(now: number): readonly Member[] {
    const living: Member[] = [];
    for (const each of this.#known.values()) if (this.#lives(each, now)) living.push(each.is);
    const last = this.#others;
    if (living.length !== last.length || living.some((is, i) => is !== last[i])) this.#others = living;
    return this.#others;
  }

  /** The other members, including silent ones, with the milliseconds since their last beat. */
  known(now: number): { readonly is: Member; readonly silentMs: number; readonly sinceMs: number }[] {
    return [...this.#known.values()].map(({ is, at, since }) => ({
      is,
      silentMs: Math.max(0, now - at),
      sinceMs: now - since,
    }));
  }

  byRun(run: string, now: number): Member | undefined {
    for (const each of this.#known.values()) if (each.is.run === run && this.#lives(each, now)) return each.is;
    return undefined;
  }

  /** True if the member has been there for a lease, so that a shard that is handed over to it will probably stay. */
  isSettled(name: string, now: number): boolean {
    const known = this.#known.get(name);
    return known !== undefined && now - known.since >= this.#leaseMs;
  }

  /**
   * The members that may own the shard, the best first, among the living that are not draining (rendezvous hashing).
   */
  candidates(shard: number, now: number): Member[] {
    const all = [this.self, ...this.others(now)].filter(({ isDraining }) => !isDraining);
    const weighed = all.map((is) => ({ is, weight: weightOf(is.name, shard) }));
    weighed.sort((a, b) => b.weight - a.weight || (a.is.name < b.is.name ? -1 : 1));
    return weighed.map(({ is }) => is);
  }

  #lives({ at }: Known, now: number): boolean {
    return now - at < this.#leaseMs;
  }
}

function isAsBefore(a: Member, b: Member): boolean {
  return a.run === b.run && a.place === b.place && a.version === b.version && a.isDraining === b.isDraining;
}
