/**
 * On a socket that is bound to all addresses of this host: the address from which each peer is answered. It is the address to which the
 * peer sent its last datagram, also for messages that are no answer. A device whose socket is connected to one address receives nothing
 * from another one, and neither does a device behind a firewall.
 *
 * The names are those of native/udp-batch.c. Datagrams to a multicast group or a broadcast address change nothing. For a peer that was
 * forgotten, or that has not sent anything since the gateway started, the kernel chooses the address.
 */
import type { PeerId } from "../core/types.ts";
import { RecentMap } from "./recent-map.ts";

/**
 * The size of a local address in 32-bit words: the interface of a link-local address, or 0, and the address; all 0 =
 * not known.
 */
export const wordsPerLocal = 5;

/** Peers, in each of two generations. An entry is a reference to a name and one to an address, about 50 octets. */
const peersMax = 65_536;
/** Addresses of this host that are kept once for all peers; beyond, each peer keeps its own. */
const sharedMax = 64;

type Local = readonly [scope: number, a: number, b: number, c: number, d: number];

export class ReplyAddresses {
  readonly #byPeer: RecentMap<PeerId, Local>;
  readonly #shared: Local[] = [];

  constructor(max = peersMax) {
    this.#byPeer = new RecentMap(max);
  }

  /** Notes that the peer sent to the address whose words begin at `at`. */
  heard(peer: PeerId, words: Uint32Array, at: number): void {
    const known = this.#byPeer.get(peer);
    if ((known !== undefined && isAt(known, words, at)) || isUnknown(words, at)) return;
    this.#byPeer.set(peer, this.#localAt(words, at));
  }

  /** Writes the source address for answers to this peer. */
  write(peer: PeerId, words: Uint32Array, at: number): void {
    const local = this.#byPeer.get(peer);
    words[at] = local?.[0] ?? 0;
    words[at + 1] = local?.[1] ?? 0;
    words[at + 2] = local?.[2] ?? 0;
    words[at + 3] = local?.[3] ?? 0;
    words[at + 4] = local?.[4] ?? 0;
  }

  #localAt(words: Uint32Array, at: number): Local {
    for (const local of this.#shared) if (isAt(local, words, at)) return local;
    const word = (i: number) => words[at + i] ?? 0;
    const local: Local = [word(0), word(1), word(2), word(3), word(4)];
    if (this.#shared.length < sharedMax) this.#shared.push(local);
    return local;
  }
}

function isAt(local: Local, words: Uint32Array, at: number): boolean {
  return (
    local[4] === words[at + 4] &&
    local[3] === words[at + 3] &&
    local[2] === words[at + 2] &&
    local[1] === words[at + 1] &&
    local[0] === words[at]
  );
}

function isUnknown(words: Uint32Array, at: number): boolean {
  return !words[at + 1] && !words[at + 2] && !words[at + 3] && !words[at + 4];
}
