/**
 * Kinds of publications that the broker does not take: after two of one kind were taken out, later ones are refused at the
 * door for a while. Otherwise a device that says such a thing each minute would end its connection, or everybody's, several
 * times a minute for ever.
 *
 * A kind is client, topic, QoS and retain. Where a shorter one of it was answered meanwhile, its length is at fault, and
 * only those at least as long are refused.
 */
import { SmallMap } from "../small-map.ts";
import type { Instant } from "../types.ts";
import { searchFigures as figures } from "./search-figures.ts";

export interface LearntKind {
  readonly key: string;
  readonly client: string;
  /** Taken out, with none of it (or of its length) answered between. */
  taken: number;
  /** Refused until then; 0 = not learnt. */
  until: Instant;
  spanMs: number;
  lastTaken: Instant;
  /** Octets of the shortest that was taken out. */
  shortest: number;
  hasShorterAnswered: boolean;
  /** Packets that were taken out: what is just the same is not asked again. */
  readonly packets: string[];
}

/** Packets remembered of a kind. */
const packetsMax = 20;

export class LearntKinds {
  readonly #kinds = new SmallMap<string, LearntKind>();
  #changed: LearntKind[] = [];

  get size(): number {
    return this.#kinds.size;
  }

  all(): IterableIterator<LearntKind> {
    return this.#kinds.values();
  }

  /** What is to be stored anew, or forgotten (nothing taken), since the last call. */
  takeChanged(): readonly LearntKind[] {
    if (this.#changed.length === 0) return [];
    const changed = this.#changed;
    this.#changed = [];
    return changed;
  }

  restore(kind: Omit<LearntKind, "packets">): void {
    this.#kinds.set(kind.key, { ...kind, packets: [] });
  }

  /** One of the kind was taken out. `isSure`: the broker named a reason, or the proof was of the kind itself. */
  noteTakenOut(
    now: Instant,
    of: { key: string; client: string; packet: string; octets: number; isSure: boolean },
  ): void {
    const { key, client, packet, octets, isSure } = of;
    const kind = this.#kinds.get(key) ?? this.#add(key, client, octets);
    kind.taken++;
    kind.lastTaken = now;
    kind.shortest = Math.min(kind.shortest, octets);
    if (!kind.packets.includes(packet)) kind.packets.push(packet);
    if (kind.packets.length > packetsMax) kind.packets.shift();
    if (kind.taken >= (isSure ? 1 : figures.takenToLearn)) this.#learn(kind, now);
    else kind.until = 0;
    this.#changed.push(kind);
  }

  /** One of the kind was answered. */
  noteAnswered(key: string, octets: number): void {
    const kind = this.#kinds.get(key);
    if (!kind) return;
    if (octets < kind.shortest) kind.hasShorterAnswered = true;
    else {
      kind.taken = 0; // only what is just the same as one of them is still refused
      kind.until = 0;
      kind.spanMs = 0;
    }
    this.#changed.push(kind);
  }

  /** May one of the kind come in? `suspect`: it may, and is tested alone before it meets others. */
  verdict(now: Instant, of: { key: string; packet: string; octets: number }): "refuse" | "suspect" | undefined {
    const kind = this.#kinds.get(of.key);
    if (!kind || (kind.hasShorterAnswered && of.octets < kind.shortest)) return undefined;
    if (kind.until === 0) {
      const isRecent = now - kind.lastTaken < figures.kindFirstMs;
      if (isRecent && kind.packets.includes(of.packet)) return "refuse";
      if (kind.taken > 0) return "suspect";
      if (!isRecent) this.#kinds.delete(of.key);
      return undefined;
    }
    if (now < kind.until) return "refuse";
    this.#learn(kind, now); // this one is let in; what comes while it is looked at waits for its verdict
    this.#changed.push(kind);
    return "suspect";
  }

  #learn(kind: LearntKind, now: Instant): void {
    kind.spanMs = kind.spanMs === 0 ? figures.kindFirstMs : Math.min(figures.kindMaxMs, kind.spanMs * 2);
    kind.until = now + kind.spanMs;
  }

  #add(key: string, client: string, octets: number): LearntKind {
    const kind: LearntKind = {
      key,
      client,
      taken: 0,
      until: 0,
      spanMs: 0,
      lastTaken: 0,
      shortest: octets,
      hasShorterAnswered: false,
      packets: [],
    };
    this.#kinds.set(key, kind);
    const oldest = this.#kinds.size > figures.kindsMax ? this.#kinds.values().next() : undefined;
    if (oldest && !oldest.done) {
      this.#kinds.delete(oldest.value.key);
      oldest.value.taken = 0;
      this.#changed.push(oldest.value);
    }
    return kind;
  }
}
