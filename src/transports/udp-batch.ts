/**
 * Many datagrams per system call, where native/udp-batch.c could be compiled: Node makes one `recvmsg` and one `sendmsg`
 * for each, which is most of what a datagram costs. Without the compiled part everything goes through node:dgram, as
 * before, and nothing else changes.
 *
 * Node's socket goes on: the first datagrams of a turn of the event loop come from it. Only when a second one comes in the
 * same turn is there a queue worth emptying at once; so a datagram that comes alone pays nothing for this.
 */
import { createRequire } from "node:module";
import { isIPv6 } from "node:net";
import type { PeerId } from "../core/types.ts";
import {
  type Addresses,
  lengthAt,
  offsetAt,
  type PeerNames,
  V4Addresses,
  V6Addresses,
  wordsPerDatagram,
} from "./udp-addresses.ts";

/** What the compiled part offers; see there. */
export interface NativeBatch {
  open(host: string, port: number): number;
  host(words: Uint32Array, index: number): string;
  address(host: string, port: number, words: Uint32Array, index: number): number;
  receive(fd: number, arena: Uint8Array, words: Uint32Array, count: number): number;
  send(fd: number, arena: Uint8Array, words: Uint32Array, count: number): number;
}

/** Datagrams per system call. */
const batchMax = 64;
/** The largest datagram there is; the odd octets spread the heads of messages over the processor's cache. */
const shareBytes = 65_536 + 64;
const sendArenaBytes = 131_072;
/** System calls in one turn of the event loop: everything else wants its turn too. */
const receivesPerTurnMax = 8;
/** Datagrams that found no room in the socket's buffer and are left to Node. */
const lost = 0xffff_ffff;

/** The compiled part; undefined where it is not there, or is not for this system. */
export function loadNativeBatch(): NativeBatch | undefined {
  if (process.platform !== "linux") return undefined;
  try {
    return createRequire(import.meta.url)("../../native/build/udp-batch.node") as NativeBatch;
  } catch {
    return undefined; // not compiled: no compiler, or the package was installed without running scripts
  }
}

export interface BatchEvents extends PeerNames {
  datagram(from: PeerId, bytes: Uint8Array): void;
  /** These could not be sent. */
  notSent(count: number): void;
  /** Node is to send this one: the socket's buffer is full, and Node waits for room. */
  sendByNode(to: PeerId, bytes: Uint8Array): void;
}

export class UdpBatch {
  /** For `socket.bind({ fd })`. Node's own from then on. */
  readonly fd: number;
  readonly #native: NativeBatch;
  readonly #events: BatchEvents;
  readonly #arena = new Uint8Array(batchMax * shareBytes);
  readonly #words = new Uint32Array(batchMax * wordsPerDatagram);
  readonly #outArena = new Uint8Array(sendArenaBytes);
  readonly #outWords = new Uint32Array(batchMax * wordsPerDatagram);
  readonly #outPeers: PeerId[] = [];
  #out = 0;
  #outBytes = 0;
  #turn = 0;
  #flushing = false;
  #closed = false;
  readonly #addresses: Addresses;

  private constructor(native: NativeBatch, fd: number, addresses: Addresses, events: BatchEvents) {
    this.#native = native;
    this.fd = fd;
    this.#addresses = addresses;
    this.#events = events;
  }

  /** Undefined when the address cannot be bound, or is no literal: node:dgram then says why, or does it. */
  static open(native: NativeBatch, host: string, port: number, events: BatchEvents): UdpBatch | undefined {
    const fd = native.open(host, port);
    if (fd < 0) return undefined;
    return new UdpBatch(native, fd, isIPv6(host) ? new V6Addresses(native, events) : new V4Addresses(events), events);
  }

  /** Node delivered a datagram of its own. */
  onNodeDatagram(): void {
    if (this.#turn++ === 0) setImmediate(this.#newTurn);
    else if (this.#turn === 2) this.#receive();
  }

  /** False: not this way, the address is no literal, or the message is too long. It leaves at the end of this turn. */
  send(to: PeerId, bytes: Uint8Array): boolean {
    if (bytes.byteLength > sendArenaBytes || this.#closed) return false;
    if (this.#outBytes + bytes.byteLength > sendArenaBytes) this.#flush();
    const words = this.#outWords;
    const at = this.#out * wordsPerDatagram;
    if (!this.#addresses.write(to, words, at)) return false;
    words[at + offsetAt] = this.#outBytes;
    words[at + lengthAt] = bytes.byteLength;
    this.#outArena.set(bytes, this.#outBytes);
    this.#outBytes += bytes.byteLength;
    this.#outPeers[this.#out] = to;
    this.#out++;
    if (this.#out === batchMax) this.#flush();
    else if (this.#out === 1 && !this.#flushing) {
      this.#flushing = true;
      setImmediate(this.#endTurn);
    }
    return true;
  }

  /** Before Node closes the descriptor: it may belong to something else a moment later. */
  close(): void {
    this.#flush();
    this.#closed = true;
  }

  readonly #newTurn = (): void => {
    this.#turn = 0;
  };

  #receive(): void {
    const words = this.#words;
    for (let calls = 0; calls < receivesPerTurnMax && !this.#closed; calls++) {
      const count = this.#native.receive(this.fd, this.#arena, words, 0);
      // An error that waits in the socket is Node's to read and to report.
      for (let i = 0; i < count; i++) {
        const at = i * wordsPerDatagram;
        const length = words[at + lengthAt] ?? lost;
        const offset = words[at + offsetAt] ?? 0;
        if (length === lost) continue; // longer than any datagram: cannot be
        this.#events.datagram(this.#addresses.peerAt(words, at, i), this.#arena.slice(offset, offset + length));
      }
      if (count < batchMax) return;
    }
  }

  /**
   * Answers of many broker connections come in many callbacks of one turn: they leave together, at its end. What leaves at
   * the end of each callback leaves alone, as often as not.
   */
  readonly #endTurn = (): void => {
    this.#flushing = false;
    this.#flush();
  };

  #flush(): void {
    const count = this.#out;
    if (count === 0 || this.#closed) return;
    this.#out = 0;
    this.#outBytes = 0;
    const words = this.#outWords;
    const done = this.#native.send(this.fd, this.#outArena, words, count);
    let refused = 0;
    for (let i = 0; i < count; i++) {
      const at = i * wordsPerDatagram;
      const length = words[at + lengthAt] ?? lost;
      if (length === lost || done < 0) refused++;
      else if (i >= done) {
        const offset = words[at + offsetAt] ?? 0;
        this.#events.sendByNode(this.#outPeers[i] ?? "", this.#outArena.slice(offset, offset + length));
      }
    }
    if (refused > 0) this.#events.notSent(refused);
  }
}
