/**
 * What is held against the content of a packet, while the gateway searches for the packet for which the broker closes
 * the connection. suspects.ts explains the words and decides.
 */
import { SmallMap } from "../small-map.ts";
import type { Instant } from "../types.ts";
import { searchFigures as figures } from "./search-figures.ts";

/** What is suspected: not one packet but its content, which the device may send again under another number. */
export interface Suspicion<Packet> {
  readonly key: string;
  readonly client: string;
  /** Order in which they were sent first. */
  readonly order: number;
  /** Packets with this content that are in flight, in their order. */
  readonly packets: Packet[];
  /** Ends at which it was outside, not alone. */
  ends: number;
  isSuspect: boolean;
  deaths: number;
  /** Deaths with a witness since the one before; the first one counts. */
  epochs: number;
  firstDeath: Instant;
  /** From sending to death, all together, and of how many deaths that is (not of those of an earlier run). */
  exposureMs: number;
  timed: number;
  /** How many packets were sent on the connection of its last death, including it. */
  ordinal: number;
  witnessed: boolean;
  /** Its last deaths in a row without a witness before them. */
  unwitnessed: number;
  /** Deaths while nothing spoke against the broker, and when the first of them was. */
  undoubted: number;
  undoubtedSince: Instant;
  /** The broker said that a packet was at fault. */
  named: boolean;
  /** When it is tried again: with a witness, and without one. */
  nextTry: Instant;
  nextBlindTry: Instant;
  /** One of its kind was taken out before. */
  ofKnownKind: boolean;
  /** It stands for all of its kind (QoS 0): what was outside is not sent again. */
  readonly isKind: boolean;
}

export interface Searched<Packet> {
  suspicion: Suspicion<Packet> | undefined;
}

/** Of what a packet is one: see packet-key.ts. */
export interface Identity {
  readonly key: string;
  readonly client: string;
  readonly isKind?: boolean;
}

/** What is held against contents, by their key, and which packets are of each. It counts, and judges nothing: see suspects.ts. */
export class Suspicions<Packet extends Searched<Packet>> {
  /** By key, in the order in which they were sent first. */
  readonly #known = new SmallMap<string, Suspicion<Packet>>();
  /** Suspects with a packet in flight. */
  #active = 0;
  #lastOrder = 0;
  readonly #changed = new SmallMap<Suspicion<Packet>, true>();

  get size(): number {
    return this.#known.size;
  }

  /** Suspects with a packet in flight. */
  get active(): number {
    return this.#active;
  }

  get hasChanged(): boolean {
    return this.#changed.size > 0;
  }

  all(): IterableIterator<Suspicion<Packet>> {
    return this.#known.values();
  }

  /** Suspects, with or without packets in flight. */
  get suspects(): readonly Suspicion<Packet>[] {
    return [...this.#known.values()].filter(({ isSuspect }) => isSuspect);
  }

  find(key: string): Suspicion<Packet> | undefined {
    return this.#known.get(key);
  }

  /** Records that must be stored, or removed (no deaths), since the last call. */
  takeChanged(): readonly Suspicion<Packet>[] {
    if (this.#changed.size === 0) return [];
    const changed = [...this.#changed.keys()];
    this.#changed.clear();
    return changed;
  }

  /** It must be stored. */
  noteChanged(suspicion: Suspicion<Packet>): void {
    this.#changed.set(suspicion, true);
  }

  remember({ key, client, isKind = false }: Identity): Suspicion<Packet> | undefined {
    if (this.#known.size >= figures.suspectsMax && !this.#makeRoom()) return undefined;
    const suspicion: Suspicion<Packet> = {
      key,
      client,
      order: ++this.#lastOrder,
      packets: [],
      ends: 0,
      isSuspect: false,
      deaths: 0,
      epochs: 0,
      firstDeath: 0,
      exposureMs: 0,
      timed: 0,
      ordinal: 0,
      witnessed: true,
      unwitnessed: 0,
      undoubted: 0,
      undoubtedSince: 0,
      named: false,
      nextTry: 0,
      nextBlindTry: 0,
      ofKnownKind: false,
      isKind,
    };
    this.#known.set(key, suspicion);
    return suspicion;
  }

  /** Drops a suspect without a packet in flight. */
  #makeRoom(): boolean {
    for (const suspicion of this.#known.values()) {
      if (suspicion.packets.length > 0) continue;
      this.clear(suspicion);
      return true;
    }
    return false;
  }

  bind(packet: Packet, suspicion: Suspicion<Packet>): void {
    packet.suspicion = suspicion;
    suspicion.packets.push(packet);
    if (suspicion.isSuspect && suspicion.packets.length === 1) this.#active++;
  }

  unbind(packet: Packet, suspicion: Suspicion<Packet>): void {
    packet.suspicion = undefined;
    const at = suspicion.packets.indexOf(packet);
    if (at < 0) return;
    suspicion.packets.splice(at, 1);
    if (suspicion.packets.length > 0) return;
    if (suspicion.isSuspect) this.#active--;
    else if (!suspicion.isKind) this.#known.delete(suspicion.key);
  }

  setSuspect(suspicion: Suspicion<Packet>, isSuspect: boolean): void {
    if (suspicion.isSuspect === isSuspect) return;
    suspicion.isSuspect = isSuspect;
    if (suspicion.packets.length > 0) this.#active += isSuspect ? 1 : -1;
  }

  /** Nothing is held against it any more. */
  clear(suspicion: Suspicion<Packet>): void {
    this.setSuspect(suspicion, false);
    for (const packet of suspicion.packets) packet.suspicion = undefined;
    suspicion.packets.length = 0;
    this.#known.delete(suspicion.key);
    if (suspicion.deaths > 0) this.#changed.set(suspicion, true);
    suspicion.deaths = 0;
  }
}
