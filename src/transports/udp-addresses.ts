/**
 * The peers of a UDP socket by the names the core has for them, and in the binary form in which the compiled part reads and
 * writes addresses (native/udp-batch.c): `udp/192.0.2.1:1884`, `udp/[2001:db8::1]:1884`.
 *
 * The number of remembered peers is limited, and their entries are small: a hundred thousand sleeping clients must not
 * each cost an entry here. An IPv4 address is read from the name digit by digit, so that nothing has to be remembered
 * for it.
 */
import type { PeerId } from "../core/types.ts";
import { RecentMap } from "./recent-map.ts";
import type { NativeBatch } from "./udp-native.ts";

/** The size of a datagram's record in 32-bit words; the same in native/udp-batch.c. */
export const wordsPerDatagram = 8;
export const [offsetAt, lengthAt, portAt, scopeAt, addressAt] = [0, 1, 2, 3, 4] as const;

/** Names that are cached, in each of two generations. A further name is composed again. */
const namesMax = 16_384;
const v4Mapped = 0xffff;

export interface PeerNames {
  /** The name of an address. */
  peerOf(host: string, port: number): PeerId;
  addressOf(peer: PeerId): { readonly host: string; readonly port: number } | undefined;
}

export interface Addresses {
  /** The peer that sent datagram number `index`, whose words begin at `at`. */
  peerAt(words: Uint32Array, at: number, index: number): PeerId;
  /** Writes the address of the peer at this place. False: the name contains no literal address. */
  write(peer: PeerId, words: Uint32Array, at: number): boolean;
}

export class V4Addresses implements Addresses {
  readonly #names: PeerNames;
  readonly #known = new RecentMap<number, PeerId>(namesMax);
  /** Octets of a name before the address: `udp/`. */
  readonly #start: number;

  constructor(names: PeerNames) {
    this.#names = names;
    this.#start = names.peerOf("", 0).length - ":0".length;
  }

  peerAt(words: Uint32Array, at: number): PeerId {
    const address = words[at + addressAt + 3] ?? 0;
    const port = words[at + portAt] ?? 0;
    const key = address * 65_536 + port;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const host = `${address >>> 24}.${(address >>> 16) & 255}.${(address >>> 8) & 255}.${address & 255}`;
    const peer = this.#names.peerOf(host, port);
    this.#known.set(key, peer);
    return peer;
  }

  write(peer: PeerId, words: Uint32Array, at: number): boolean {
    let address = 0;
    let number = 0;
    let digits = 0;
    let dots = 0;
    let i = this.#start;
    for (; i < peer.length; i++) {
      const char = peer.charCodeAt(i);
      if (char >= 48 && char <= 57) {
        number = number * 10 + char - 48;
        if (++digits > 3 || number > 255) return false;
        continue;
      }
      if (digits === 0 || char !== (dots < 3 ? dot : colon)) return false;
      address = address * 256 + number;
      number = digits = 0;
      if (++dots === 4) break;
    }
    const port = portFrom(peer, i + 1);
    if (dots < 4 || port === undefined) return false;
    words[at + portAt] = port;
    words[at + scopeAt] = words[at + addressAt] = words[at + addressAt + 1] = 0;
    words[at + addressAt + 2] = v4Mapped;
    words[at + addressAt + 3] = address;
    return true;
  }
}

interface V6Address {
  readonly peer: PeerId;
  readonly port: number;
  readonly scope: number;
  readonly a: number;
  readonly b: number;
  readonly c: number;
  readonly d: number;
}

export class V6Addresses implements Addresses {
  readonly #native: NativeBatch;
  readonly #names: PeerNames;
  /** Keyed by the low word of the address and the port. If two addresses have the same key, the later one is kept. */
  readonly #byAddress = new RecentMap<number, V6Address>(namesMax);
  readonly #byPeer = new RecentMap<PeerId, V6Address>(namesMax);

  constructor(native: NativeBatch, names: PeerNames) {
    this.#native = native;
    this.#names = names;
  }

  peerAt(words: Uint32Array, at: number, index: number): PeerId {
    const known = this.#byAddress.get(keyAt(words, at));
    const isSame =
      known !== undefined &&
      known.a === words[at + addressAt] &&
      known.b === words[at + addressAt + 1] &&
      known.c === words[at + addressAt + 2] &&
      known.scope === words[at + scopeAt];
    if (isSame) return known.peer;
    return this.#learn(this.#names.peerOf(this.#native.host(words, index), words[at + portAt] ?? 0), words, at).peer;
  }

  write(peer: PeerId, words: Uint32Array, at: number): boolean {
    const known = this.#byPeer.get(peer);
    if (known === undefined) {
      const parts = this.#names.addressOf(peer);
      if (!parts || this.#native.address(parts.host, parts.port, words, at / wordsPerDatagram) === 0) return false;
      this.#learn(peer, words, at);
      return true;
    }
    words[at + portAt] = known.port;
    words[at + scopeAt] = known.scope;
    words[at + addressAt] = known.a;
    words[at + addressAt + 1] = known.b;
    words[at + addressAt + 2] = known.c;
    words[at + addressAt + 3] = known.d;
    return true;
  }

  #learn(peer: PeerId, words: Uint32Array, at: number): V6Address {
    const word = (i: number) => words[at + i] ?? 0;
    const address: V6Address = {
      peer,
      port: word(portAt),
      scope: word(scopeAt),
      a: word(addressAt),
      b: word(addressAt + 1),
      c: word(addressAt + 2),
      d: word(addressAt + 3),
    };
    this.#byAddress.set(keyAt(words, at), address);
    this.#byPeer.set(peer, address);
    return address;
  }
}

const dot = ".".charCodeAt(0);
const colon = ":".charCodeAt(0);

function keyAt(words: Uint32Array, at: number): number {
  return (words[at + addressAt + 3] ?? 0) * 65_536 + (words[at + portAt] ?? 0);
}

/** The decimal number from here to the end, if it is a port. */
function portFrom(text: string, start: number): number | undefined {
  let port = 0;
  if (start >= text.length || text.length - start > 5) return undefined;
  for (let i = start; i < text.length; i++) {
    const digit = text.charCodeAt(i) - 48;
    if (digit < 0 || digit > 9) return undefined;
    port = port * 10 + digit;
  }
  return port > 0 && port < 65_536 ? port : undefined;
}
