/**
 * The project's own UDP socket, if native/udp-batch.c was compiled: many datagrams per system call, and one call into JavaScript for
 * everything that a wake-up brings. Node makes a `recvmsg`, a buffer and a callback for each datagram and a `sendmsg` for each answer, and
 * reads once more to find that nothing is left. This is most of the cost of a datagram. Without the compiled part node:dgram is used, and
 * nothing else changes.
 */
import { isIPv6 } from "node:net";
import { getSystemErrorName } from "node:util";
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
import type { NativeBatch } from "./udp-native.ts";
import { ReplyAddresses, wordsPerLocal } from "./udp-reply-addresses.ts";

/**
 * Datagrams per system call, and in one turn of the event loop: they are handled completely before more are read. With
 * eight times as many, the data of each of 1,000 clients had left the processor's cache when they were needed again.
 */
const batchMax = 64;
/** The largest datagram there is; the odd octets spread the heads of messages over the processor's cache. */
const shareBytes = 65_536 + 64;
const sendArenaBytes = 131_072;
/** Datagrams that wait for room in the socket's buffer. Beyond this, datagrams are not sent. */
const waitingMax = 1_024;
/** In place of a length: the kernel refused the datagram, or the datagram was longer than its place. */
const lost = 0xffff_ffff;
/** Bits of a socket event; a value below 0 is an error. */
const readable = 1;
const writable = 2;

export interface BatchEvents extends PeerNames {
  datagram(from: PeerId, bytes: Uint8Array): void;
  /** Calls `work`, in which several datagrams come. */
  batch(work: () => void): void;
  /** So many datagrams could not be sent. */
  notSent(count: number): void;
  /** The socket has failed and cannot be used any more. */
  failed(error: Error): void;
  /** Called before each system call that sends; absent = sending is always allowed. */
  mayLeave?(): boolean;
}

/**
 * For a socket that is bound to all addresses: the local address of each received datagram, and of each datagram to
 * send.
 */
interface Locals {
  readonly addresses: ReplyAddresses;
  readonly came: Uint32Array;
  readonly leave: Uint32Array;
}

export class UdpBatch {
  readonly #fd: number;
  readonly #native: NativeBatch;
  readonly #events: BatchEvents;
  readonly #watch: unknown;
  readonly #arena = new Uint8Array(batchMax * shareBytes);
  readonly #words = new Uint32Array(batchMax * wordsPerDatagram);
  readonly #outArena = new Uint8Array(sendArenaBytes);
  readonly #outWords = new Uint32Array(batchMax * wordsPerDatagram);
  readonly #outPeers: PeerId[] = [];
  #out = 0;
  #outBytes = 0;
  #receiving = false;
  /** The number of datagrams in this wake-up. */
  #received = 0;
  #flushing = false;
  #closed = false;
  /** Datagrams for which the socket's buffer had no room, the oldest first. */
  #waiting: { readonly to: PeerId; readonly bytes: Uint8Array }[] = [];
  readonly #addresses: Addresses;
  /** Undefined: the socket has only one address. */
  readonly #locals: Locals | undefined;

  private constructor(
    native: NativeBatch,
    fd: number,
    addresses: Addresses,
    events: BatchEvents,
    gatherMilliseconds: number,
  ) {
    this.#native = native;
    this.#fd = fd;
    this.#locals = native.locals(fd) === 1 ? newLocals() : undefined;
    this.#addresses = addresses;
    this.#events = events;
    this.#watch = native.watch(fd, this.#onWake, gatherMilliseconds);
  }

  /**
   * Undefined: the address cannot be bound, or is no literal. node:dgram then reports the error, or binds it.
   * `gatherMilliseconds` above 0: while datagrams arrive one after the other, so much time passes between two reads.
   */
  static open(
    native: NativeBatch,
    where: { readonly host: string; readonly port: number; readonly gatherMilliseconds: number },
    events: BatchEvents,
  ): UdpBatch | undefined {
    const { host, port, gatherMilliseconds } = where;
    const fd = native.open(host, port);
    if (fd < 0) return undefined;
    const addresses = isIPv6(host) ? new V6Addresses(native, events) : new V4Addresses(events);
    return new UdpBatch(native, fd, addresses, events, gatherMilliseconds);
  }

  /** A second descriptor of the same socket, so that it can be configured with Node's own calls. The caller closes it. */
  duplicate(): number {
    return this.#native.duplicate(this.#fd);
  }

  /**
   * The datagram is sent at the end of this turn of the event loop. False: it cannot be sent, or too many datagrams
   * wait.
   */
  send(to: PeerId, bytes: Uint8Array): boolean {
    if (bytes.byteLength > sendArenaBytes || this.#closed) return false;
    if (this.#waiting.length > 0) return this.#wait(to, bytes);
    return this.#put(to, bytes);
  }

  /** Sends to a multicast group; `hops` limits how far the datagram goes. */
  broadcast(to: PeerId, bytes: Uint8Array, hops: number | undefined): boolean {
    this.#flush();
    if (hops !== undefined && !this.#closed && this.#native.hops(this.#fd, hops) < 0) return false;
    const isTaken = this.send(to, bytes);
    this.#flush();
    return isTaken;
  }

  /**
   * Makes the kernel pass these shares (0 to 1) of DTLS ClientHellos without a cookie and with one. False: this is not
   * possible.
   */
  thinHellos(first: number, second: number): boolean {
    const of65536 = (share: number) => Math.round(65_536 * Math.min(1, Math.max(0, share)));
    return !this.#closed && this.#native.thin(this.#fd, of65536(first), of65536(second)) === 0;
  }

  close(): void {
    if (this.#closed) return;
    this.#flush();
    this.#closed = true;
    this.#events.notSent(this.#waiting.length);
    this.#waiting = [];
    this.#native.unwatch(this.#watch);
  }

  #put(to: PeerId, bytes: Uint8Array): boolean {
    if (this.#outBytes + bytes.byteLength > sendArenaBytes) this.#flush();
    const words = this.#outWords;
    const at = this.#out * wordsPerDatagram;
    if (!this.#addresses.write(to, words, at)) return false;
    this.#locals?.addresses.write(to, this.#locals.leave, this.#out * wordsPerLocal);
    words[at + offsetAt] = this.#outBytes;
    words[at + lengthAt] = bytes.byteLength;
    this.#outArena.set(bytes, this.#outBytes);
    this.#outBytes += bytes.byteLength;
    this.#outPeers[this.#out] = to;
    this.#out++;
    if (this.#out === batchMax) this.#flush();
    else if (this.#out === 1 && !this.#flushing && !this.#receiving) {
      this.#flushing = true;
      setImmediate(this.#endTurn);
    }
    return true;
  }

  #wait(to: PeerId, bytes: Uint8Array): boolean {
    if (this.#waiting.length >= waitingMax) return false;
    this.#waiting.push({ to, bytes });
    return true;
  }

  /** Returns how many datagrams arrived; -1: as many as there was room for, so more may wait. */
  readonly #onWake = (what: number): number => {
    this.#received = 0;
    if (this.#closed) return 0;
    if (what < 0) this.#fail(what);
    else {
      if ((what & writable) !== 0) this.#sendWaiting();
      if ((what & readable) !== 0) this.#events.batch(this.#receive);
    }
    return this.#received < batchMax ? this.#received : -1;
  };

  /** Reads the datagrams that wait in the socket. Datagrams that are sent meanwhile leave together at the end. */
  readonly #receive = (): void => {
    this.#receiving = true;
    try {
      const count = this.#native.receive(this.#fd, this.#arena, this.#words, 0, this.#locals?.came);
      if (count < 0) return this.#fail(count);
      this.#received = count;
      this.#handOver(count);
    } finally {
      this.#receiving = false;
    }
    this.#flush();
  };

  #handOver(count: number): void {
    const words = this.#words;
    for (let i = 0; i < count; i++) {
      const at = i * wordsPerDatagram;
      const length = words[at + lengthAt] ?? lost;
      const offset = words[at + offsetAt] ?? 0;
      if (length === lost) continue; // impossible: longer than any datagram
      const from = this.#addresses.peerAt(words, at, i);
      this.#locals?.addresses.heard(from, this.#locals.came, i * wordsPerLocal);
      this.#events.datagram(from, this.#arena.slice(offset, offset + length));
    }
  }

  #fail(code: number): void {
    const name = getSystemErrorName(code);
    this.#events.failed(Object.assign(new Error(`the socket failed: ${name}`), { code: name }));
  }

  /**
   * Answers of many broker connections arrive in many callbacks of one turn, so they are sent together at its end. At
   * the end of each callback, they would often be sent one by one.
   */
  readonly #endTurn = (): void => {
    this.#flushing = false;
    this.#flush();
  };

  /** The socket's buffer has room again. */
  #sendWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { to, bytes } of waiting) if (!this.send(to, bytes)) this.#events.notSent(1);
    this.#flush();
    if (this.#waiting.length === 0) this.#native.wake(this.#watch, false);
  }

  #flush(): void {
    const count = this.#out;
    if (count === 0 || this.#closed) return;
    this.#out = 0;
    this.#outBytes = 0;
    if (this.#events.mayLeave?.() === false) return this.#events.notSent(count);
    const words = this.#outWords;
    const done = this.#native.send(this.#fd, this.#outArena, words, count, this.#locals?.leave);
    let refused = 0;
    for (let i = 0; i < count; i++) {
      const at = i * wordsPerDatagram;
      const length = words[at + lengthAt] ?? lost;
      const to = this.#outPeers[i];
      if (length === lost || done < 0 || to === undefined) refused++;
      else if (i >= done) {
        const offset = words[at + offsetAt] ?? 0;
        if (this.#waiting.length === 0) this.#native.wake(this.#watch, true);
        if (!this.#wait(to, this.#outArena.slice(offset, offset + length))) refused++;
      }
    }
    if (refused > 0) this.#events.notSent(refused);
  }
}

function newLocals(): Locals {
  return {
    addresses: new ReplyAddresses(),
    came: new Uint32Array(batchMax * wordsPerLocal),
    leave: new Uint32Array(batchMax * wordsPerLocal),
  };
}
