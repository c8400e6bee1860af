/**
 * Who is there. Each member leaves a beat at the server at a third of the lease; whoever has left none for a lease is not there any
 * more. How old a beat is when it is seen first is said by the server, by its own clock; from then on the reader counts by his own. So no
 * clock of a member is compared with another member's.
 */
import type { Member } from "./members.ts";
import { weightOf } from "./shard.ts";

/** A member as the server knows it. */
export interface Heard extends Member {
  /** Goes up with each beat. */
  readonly beats: number;
  /** Since its last beat, by the clock of the server. */
  readonly silentMs: number;
}

interface Known {
  readonly is: Member;
  readonly beats: number;
  /** Of its last beat, as far as that is known here. */
  readonly at: number;
  /** When this run was heard of first. */
  readonly since: number;
}

export class Membership {
  readonly #self: Member;
  readonly #leaseMs: number;
  #isDraining = false;
  #known = new Map<string, Known>();
  #others: readonly Member[] = [];
  /** When the server was heard last; before that nothing is known of the others. */
  #heardAt = Number.NEGATIVE_INFINITY;

  constructor(self: Member, leaseMs: number) {
    this.#self = self;
    this.#leaseMs = leaseMs;
  }

  get self(): Member {
    return this.#isDraining ? { ...this.#self, isDraining: true } : this.#self;
  }

  /** It hands over what it has, and is given nothing. */
  drain(isDraining = true): void {
    this.#isDraining = isDraining;
  }

  /** What the server said, and when that was asked for: the beats are not younger. Who is not among them has left. */
  heard(all: readonly Heard[], asked: number): void {
    const known = new Map<string, Known>();
    for (const { beats, silentMs, ...is } of all) {
      if (is.name === this.#self.name) continue;
      const before = this.#known.get(is.name);
      const isSame = before?.is.run === is.run;
      // Of one whose beats were seen, the clock of the server may have been set meanwhile: it is believed so far.
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

  /** What it knows is not older than a lease: nothing is decided on older. */
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

  /** The other members that were heard of, also those that are silent; in milliseconds. */
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

  /** It has been there for a lease: a shard that is handed over to it will probably stay. */
  isSettled(name: string, now: number): boolean {
    const known = this.#known.get(name);
    return known !== undefined && now - known.since >= this.#leaseMs;
  }

  /** Who shall own the shard, the best first, among the living that are not draining (rendezvous hashing). */
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
