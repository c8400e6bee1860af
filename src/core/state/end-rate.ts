/**
 * Estimates how often a connection ends by chance, and thus how likely it is that all deaths of one packet were chance
 * (suspects.ts). While no suspect is tried, it counts the time, the sent packets, and the ends.
 */
import { searchFigures as figures } from "./search-figures.ts";

/** The part of a suspicion that is needed here. */
interface Accused {
  readonly deaths: number;
  /** The sum of the times from sending to death, in milliseconds, and the number of these deaths. */
  readonly exposureMs: number;
  readonly timed: number;
  /** The broker gave a reason, so the connection was not cut by the network. */
  readonly named: boolean;
}

export class EndRate<Suspicion extends Accused> {
  #ms = 0;
  #sent = 0;
  #ends = 0;
  /** For each of the last ends: what was outside. */
  #last: readonly ReadonlySet<Suspicion>[] = [];

  noteSent(): void {
    this.#sent++;
  }

  /** Counts time without a tried suspect. Only about the last hour counts. */
  noteTime(ms: number): void {
    this.#ms += ms;
    if (this.#ms <= figures.rateSpanMs) return;
    this.#ms /= 2;
    this.#sent /= 2;
    this.#ends /= 2;
  }

  noteEnd(outside: ReadonlySet<Suspicion>): void {
    this.#ends++;
    this.#last = [...this.#last, outside].slice(-figures.endsRemembered);
  }

  /** A packet was found guilty. The ends at which it was outside were not chance, and do not count any more. */
  explain(guilty: Suspicion): void {
    const others = this.#last.filter((outside) => !outside.has(guilty));
    this.#ends = Math.max(0, this.#ends - (this.#last.length - others.length));
    this.#last = others;
  }

  /**
   * The probability that all deaths of this packet were chance, 0 to 1. A connection may be cut at any time; and a
   * router that has forgotten the connection cuts it when something is sent. The more likely of the two counts.
   */
  chanceOf(accused: Suspicion): number {
    const { deaths, exposureMs, timed, named } = accused;
    const ends = Math.max(0, this.#ends - this.#explainedBy(accused)) + 0.5;
    const endsPerMs = ends / Math.max(this.#ms, 1_000);
    const byTime = 1 - Math.exp(-endsPerMs * Math.max(1, exposureMs / timed));
    const byPacket = named ? 0 : ends / (this.#sent + figures.packetsBefore);
    return Math.max(byTime, byPacket) ** deaths;
  }

  /**
   * The number of ends at which this packet was outside, or another one that has died so often that it is most likely
   * the cause.
   */
  #explainedBy(accused: Suspicion): number {
    const isLikely = (other: Suspicion) => other === accused || other.deaths >= figures.deathsToExplain;
    return this.#last.filter((outside) => [...outside].some(isLikely)).length;
  }
}
