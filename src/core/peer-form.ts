/**
 * Addresses of peers as octets, for records that only this process reads. An address of the usual form, `udp/192.0.2.7:1884`, takes 7 octets.
 * Any other one is written as a text: IPv6, a name, a node behind a forwarder, and what only looks like the usual form (`udp/010.1.1.1:05`).
 */
import type { OctetReader, OctetWriter } from "./octet-form.ts";
import type { PeerId } from "./types.ts";

/** Transports whose addresses are shortened. A gateway has few; the addresses of others are texts. */
const transportsMax = 16;
/** In place of a transport: the address is a text. */
const isText = 0;
/** IPv4 address and port. */
const placeOctets = 6;

export class PeerForm {
  /** Names of transports, each with its slash. They are never forgotten. */
  readonly #transports: string[] = [];
  /** Of the address that was packed last. */
  readonly #place = new Uint8Array(placeOctets);

  write(into: OctetWriter, peer: PeerId): void {
    const transport = this.#pack(peer, true);
    into.octet(transport);
    if (transport === isText) into.text(peer);
    else for (const octet of this.#place) into.octet(octet);
  }

  read(from: OctetReader): PeerId {
    const transport = from.octet();
    if (transport === isText) return from.text() as PeerId;
    const host = `${from.octet()}.${from.octet()}.${from.octet()}.${from.octet()}`;
    return `${this.#transports[transport - 1] ?? "/"}${host}:${from.octet() * 256 + from.octet()}` as PeerId;
  }

  /** Is the next address this one? Reads it, and makes no text of it. */
  isNext(from: OctetReader, peer: PeerId): boolean {
    const transport = from.octet();
    if (transport === isText) return from.isText(peer);
    let isSame = transport === this.#pack(peer, false);
    for (const octet of this.#place) if (from.octet() !== octet) isSame = false;
    return isSame;
  }

  skip(from: OctetReader): void {
    if (from.octet() === isText) from.skipText();
    else from.skip(placeOctets);
  }

  /** Writes the place of this address into `#place`, and returns the number of its transport; `isText`: it has another form. */
  #pack(peer: PeerId, isNew: boolean): number {
    const slash = peer.indexOf("/");
    let at = slash + 1;
    for (let part = 0; part < 4; part++) {
      const number = numberAt(peer, at, 255);
      if (number < 0) return isText;
      this.#place[part] = number;
      at += digitsOf(number);
      if (at >= peer.length || peer.charCodeAt(at++) !== (part < 3 ? dot : colon)) return isText;
    }
    const port = numberAt(peer, at, 65_535);
    if (port < 0 || at + digitsOf(port) !== peer.length) return isText;
    this.#place[4] = port >> 8;
    this.#place[5] = port & 0xff;
    return this.#transportOf(peer, slash + 1, isNew);
  }

  /** The number of the transport whose name, with its slash, has this length. */
  #transportOf(peer: PeerId, length: number, isNew: boolean): number {
    for (const [index, name] of this.#transports.entries())
      if (name.length === length && peer.startsWith(name)) return index + 1;
    return isNew && this.#transports.length < transportsMax ? this.#transports.push(peer.slice(0, length)) : isText;
  }
}

const dot = ".".charCodeAt(0);
const colon = ":".charCodeAt(0);
const zero = "0".charCodeAt(0);

/** The decimal number that begins here, as a number is usually written: without a zero in front. -1: there is none, or it is above `max`. */
function numberAt(text: string, from: number, max: number): number {
  let number = -1;
  for (let at = from; number <= max; at++) {
    const digit = at < text.length ? text.charCodeAt(at) - zero : -1;
    if (digit < 0 || digit > 9) return number;
    if (number === 0) return -1;
    number = Math.max(number, 0) * 10 + digit;
  }
  return -1;
}

function digitsOf(number: number): number {
  return number < 10 ? 1 : number < 100 ? 2 : number < 1_000 ? 3 : number < 10_000 ? 4 : 5;
}
