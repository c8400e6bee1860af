/**
 * What is held against the content of a packet, while the gateway searches for the packet for which the broker closes
 * the connection. suspects.ts explains the terms and decides.
 */
import { SmallMap } from "../small-map.ts";
import type { Instant } from "../types.ts";
import { searchFigures as figures } from "./search-figures.ts";

/** A suspicion concerns not one packet but its content, which the device may send again under another number. */
export interface Suspicion<Packet> {
  readonly key: string;
  readonly client: string;
  /** The order in which the contents were sent first. */
  readonly order: number;
  /** Packets with this content that are in flight, in order. */
  readonly packets: Packet[];
  /** The number of ends at which it was outside together with others. */
  ends: number;
  isSuspect: boolean;
  deaths: number;
  /** The number of deaths with a witness since the death before. The first death counts. */
  epochs: number;
  firstDeath: Instant;
  /**
   * The sum of the times from sending to death, and the number of these deaths. Deaths in an earlier run are not
   * included.
   */
  exposureMs: number;
  timed: number;
  /** How many packets were sent on the connection of its last death, including it. */
  ordinal: number;
  witnessed: boolean;
  /** The number of its last deaths in a row without a witness before them. */
  unwitnessed: number;
  /** Deaths while there was no sign that the broker itself was faulty, and the time of the first of them. */
  undoubted: number;
  undoubtedSince: Instant;
  /** The broker said that a packet was the cause. */
  named: boolean;
  /** The time of the next try: with a witness, and without one. */
  nextTry: Instant;
  nextBlindTry: Instant;
  /** A packet of its kind was taken out before. */
  ofKnownKind: boolean;
  /** The suspicion stands for all publications of its kind (QoS 0), because a QoS 0 publication is not sent again. */
  readonly isKind: boolean;
}

export interface Searched<Packet> {
  suspicion: Suspicion<Packet> | undefined;
}

/** The identity of a packet's content: see packet-key.ts. */
export interface Identity {
  readonly key: string;
  readonly client: string;
  readonly isKind?: boolean;
}

/** The suspicions by key, and the packets of each. This class counts and decides nothing: see suspects.ts. */
export class Suspicions<Packet extends Searched<Packet>> {
  /** By key, in the order in which the contents were sent first. */
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

  /** Tells that the suspicion must be stored. */
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

  /** Removes a suspicion without a packet in flight. False: there is none. */
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

  /** These are all packets in flight with the content, in order. */
  bindAll(packets: readonly Packet[], suspicion: Suspicion<Packet>): void {
    for (const packet of packets) if (packet.suspicion !== suspicion) this.bind(packet, suspicion);
    suspicion.packets.splice(0, suspicion.packets.length, ...packets);
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

  /** Removes a suspicion. */
  clear(suspicion: Suspicion<Packet>): void {
    this.setSuspect(suspicion, false);
    for (const packet of suspicion.packets) packet.suspicion = undefined;
    suspicion.packets.length = 0;
    this.#known.delete(suspicion.key);
    if (suspicion.deaths > 0) this.#changed.set(suspicion, true);
    suspicion.deaths = 0;
  }
}
