/**
 * How often a connection ends by chance, and so how likely it is that the deaths of one packet were nothing else (suspects.ts).
 * Counted is while no suspect is tried: the time, what was sent, and the ends.
 */
import { searchFigures as figures } from "./search-figures.ts";

/** What is held against one packet, as far as it matters here. */
interface Accused {
  readonly deaths: number;
  /** Sum of the times from sending it to its deaths, in milliseconds, and of how many deaths. */
  readonly exposureMs: number;
  readonly timed: number;
  /** The broker gave a reason: then no line was cut. */
  readonly named: boolean;
}

export class EndRate<Suspicion extends Accused> {
  #ms = 0;
  #sent = 0;
  #ends = 0;
  /** Of the last ends, what was outside then. */
  #last: readonly ReadonlySet<Suspicion>[] = [];

  noteSent(): void {
    this.#sent++;
  }

  /** So long it stood. Only about the last hour counts. */
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

  /** It is found guilty: the ends at which it was outside were no chance. */
  explain(guilty: Suspicion): void {
    const others = this.#last.filter((outside) => !outside.has(guilty));
    this.#ends = Math.max(0, this.#ends - (this.#last.length - others.length));
    this.#last = others;
  }

  /**
   * That all deaths of this one were chance: 0 to 1. A line may be cut at any time, and by a router that has forgotten the connection
   * at what is sent: the likelier of both.
   */
  chanceOf(accused: Suspicion): number {
    const { deaths, exposureMs, timed, named } = accused;
    const ends = Math.max(0, this.#ends - this.#explainedBy(accused)) + 0.5;
    const endsPerMs = ends / Math.max(this.#ms, 1_000);
    const byTime = 1 - Math.exp(-endsPerMs * Math.max(1, exposureMs / timed));
    const byPacket = named ? 0 : ends / (this.#sent + figures.packetsBefore);
    return Math.max(byTime, byPacket) ** deaths;
  }

  /** Ends at which it was outside, or another one that has died so often that it is most likely to blame for those. */
  #explainedBy(accused: Suspicion): number {
    const isLikely = (other: Suspicion) => other === accused || other.deaths >= figures.deathsToExplain;
    return this.#last.filter((outside) => [...outside].some(isLikely)).length;
  }
}
