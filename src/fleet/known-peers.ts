/** The recent peers of a front. Limited: a peer that was forgotten is looked up again. */
import type { Instant, PeerId } from "../core/types.ts";
import { RecentMap } from "../transports/recent-map.ts";

/** Peers, in each of two generations; about 270 octets each. */
const peersMax = 65_536;
/**
 * Longer names are not remembered: a node behind a forwarder may have a name of 500 letters, and an attacker can invent
 * many.
 */
const letters = 160;

export interface KnownPeer {
  /** The shard of the peer's client; -1: not known (a device forwarder itself). */
  shard: number;
  /** The gateway that received the peer's last datagram: a name, or "" for this one; undefined: not known. */
  via: string | undefined;
  /** The time when the shard was learnt, or looked up again. */
  learntAt: Instant;
  /** The time when this gateway wrote the peer into the address book; undefined: it did not. */
  keptAt: Instant | undefined;
  /** The values that were written: the shard, and `via`. */
  keptShard: number;
  keptVia: string | undefined;
}

export class KnownPeers {
  readonly #peers: RecentMap<PeerId, KnownPeer>;

  constructor(max = peersMax) {
    this.#peers = new RecentMap(max);
  }

  get(peer: PeerId): KnownPeer | undefined {
    return this.#peers.get(peer);
  }

  /** Returns the entry of this peer; it is made if there is none. */
  of(peer: PeerId, now: Instant): KnownPeer {
    const known = this.#peers.get(peer);
    if (known) return known;
    const fresh = { shard: -1, via: undefined, learntAt: now, keptAt: undefined, keptShard: -1, keptVia: undefined };
    if (peer.length <= letters) this.#peers.set(peer, fresh);
    return fresh;
  }
}
