/**
 * Kinds of publications that the broker does not accept. After two publications of one kind were taken out, later ones
 * are refused for a while before they are sent. Without this, a device that sends such a publication each minute would
 * end its connection, or a shared one, several times a minute for ever.
 *
 * A kind is client, topic, QoS and retain. If a shorter publication of the kind was answered meanwhile, the length is
 * the cause, and only publications of at least this length are refused.
 */
import { SmallMap } from "../small-map.ts";
import type { Instant } from "../types.ts";
import { searchFigures as figures } from "./search-figures.ts";

export interface LearntKind {
  readonly key: string;
  readonly client: string;
  /** How many publications were taken out since one of the kind (or of its length) was answered. */
  taken: number;
  /** The kind is refused until this time; 0 = it is not learnt. */
  until: Instant;
  spanMs: number;
  lastTaken: Instant;
  /** Octets of the shortest publication that was taken out. */
  shortest: number;
  /** Octets of the longest shorter publication that was answered since; -1 = none. */
  longestAnswered: number;
  /**
   * Contents that were taken out recently (`contentKey`). A publication with the same content is refused without asking
   * the broker.
   */
  readonly contents: string[];
}

/** Limit of contents that are remembered for a kind. */
const contentsMax = 20;

/** Whether nothing is held against the kind, so that its record can be removed. */
export function isForgotten({ taken, contents }: LearntKind): boolean {
  return taken === 0 && contents.length === 0;
}

/**
 * Whether the length is the cause: then only publications at least as long as the shortest one that was taken out are
 * refused.
 */
export function hasShorterAnswered({ longestAnswered }: LearntKind): boolean {
  return longestAnswered >= 0;
}

export class LearntKinds {
  readonly #kinds = new SmallMap<string, LearntKind>();
  #changed: LearntKind[] = [];

  get size(): number {
    return this.#kinds.size;
  }

  all(): IterableIterator<LearntKind> {
    return this.#kinds.values();
  }

  /** Records that must be stored, or removed (`isForgotten`), since the last call. */
  takeChanged(): readonly LearntKind[] {
    if (this.#changed.length === 0) return [];
    const changed = this.#changed;
    this.#changed = [];
    return changed;
  }

  restore(kind: LearntKind): void {
    this.#kinds.set(kind.key, kind);
  }

  /**
   * A publication of the kind was taken out. `isSure`: the broker named a reason, or the proof concerned the kind
   * itself.
   */
  noteTakenOut(
    now: Instant,
    of: { key: string; client: string; content: string; octets: number; isSure: boolean },
  ): void {
    const { key, client, content, octets, isSure } = of;
    const kind = this.#kinds.get(key) ?? this.#add(key, client, octets);
    if (octets <= kind.longestAnswered) {
      kind.taken = 0; // one of this length was answered since, so the length is not the cause
      kind.spanMs = 0;
      kind.longestAnswered = -1;
    }
    kind.taken++;
    kind.lastTaken = now;
    kind.shortest = Math.min(kind.shortest, octets);
    if (!kind.contents.includes(content)) kind.contents.push(content);
    if (kind.contents.length > contentsMax) kind.contents.shift();
    if (kind.taken >= (isSure ? 1 : figures.takenToLearn)) this.#learn(kind, now);
    else kind.until = 0;
    this.#changed.push(kind);
  }

  /** A publication of the kind was answered. */
  noteAnswered(key: string, octets: number): void {
    const kind = this.#kinds.get(key);
    if (!kind) return;
    if (octets < kind.shortest) {
      if (octets <= kind.longestAnswered) return;
      kind.longestAnswered = octets;
    } else {
      if (kind.taken === 0 && kind.until === 0) return;
      kind.taken = 0; // from now on only identical publications are refused
      kind.until = 0;
      kind.spanMs = 0;
    }
    this.#changed.push(kind);
  }

  /** Whether the kind is refused now. For a will in CONNECT, which the search for suspects does not see. */
  refuses(now: Instant, key: string): boolean {
    const kind = this.#kinds.get(key);
    return kind !== undefined && now < kind.until;
  }

  /** The broker has accepted it after all: nothing is held against the kind any more. */
  forgive(key: string): void {
    const kind = this.#kinds.get(key);
    if (kind) this.#forget(kind);
  }

  /**
   * Whether a publication of the kind may be accepted. `suspect`: it may, but is tested alone before it is sent
   * together with others.
   */
  verdict(now: Instant, of: { key: string; content: string; octets: number }): "refuse" | "suspect" | undefined {
    const kind = this.#kinds.get(of.key);
    if (!kind || (hasShorterAnswered(kind) && of.octets < kind.shortest)) return undefined;
    if (kind.until === 0) {
      const isRecent = now - kind.lastTaken < figures.kindFirstMs;
      if (isRecent && kind.contents.includes(of.content)) return "refuse";
      if (kind.taken > 0) return "suspect";
      if (!isRecent) this.#forget(kind);
      return undefined;
    }
    if (now < kind.until) return "refuse";
    this.#learn(kind, now); // this publication is a test; later ones wait for its result
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
      longestAnswered: -1,
      contents: [],
    };
    this.#kinds.set(key, kind);
    const oldest = this.#kinds.size > figures.kindsMax ? this.#kinds.values().next() : undefined;
    if (oldest && !oldest.done) this.#forget(oldest.value);
    return kind;
  }

  #forget(kind: LearntKind): void {
    this.#kinds.delete(kind.key);
    kind.taken = 0;
    kind.contents.length = 0;
    this.#changed.push(kind);
  }
}
