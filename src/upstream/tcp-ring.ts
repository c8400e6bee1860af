/**
 * Sends the octets of many TCP connections with one system call at the end of a turn, if native/tcp-ring.c was compiled
 * and the kernel has io_uring. In transparent mode a `write` for each connection, with Node's stream around it, is most
 * of the cost of a message.
 *
 * Node's stream stays the owner of its socket. The ring is used only while nothing waits in the stream. What the kernel does not accept at
 * once is written to the stream, and so is everything after it, until the stream is empty. A connection has one place in a call. Errors are
 * passed to the stream, so they are reported as before.
 *
 * A descriptor is a number that the next connection may get once it is closed. Node closes it in `_destroy`; its place here is released
 * before this. The compiled part compares generations.
 */
import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";
import { getSystemErrorName } from "node:util";
import { loadNativeRing, type NativeRing } from "./tcp-ring-native.ts";
import type { TurnEnd } from "./turn-end.ts";

/** Sends in one system call. */
const sendsMax = 256;
const arenaBytes = 262_144;
/** Larger ones get a system call of their own. */
const pieceBytesMax = 16_384;

/** The record of a send in 32-bit words, as in native/tcp-ring.c. */
const wordsPerSend = 5;
const generationAt = 1;
const offsetAt = 2;
const lengthAt = 3;
const takenAt = 4;
/** The compiled part keeps a slot and a generation in one number. */
const slotsMax = 2 ** 20;
/** Stands in place of the number of accepted octets if it is not known. */
const notKnown = -(2 ** 31);
const badDescriptor = -9;

export class TcpRing {
  readonly #native: NativeRing;
  readonly #ring: unknown;
  readonly #arena = new Uint8Array(arenaBytes);
  readonly #words = new Uint32Array(sendsMax * wordsPerSend);
  /** The same memory, read as the results of sends. */
  readonly #results = new Int32Array(this.#words.buffer);
  readonly #queued: RingPlace[] = [];
  #bytes = 0;
  #isUsable = true;
  readonly #broke: (why: string) => void;

  private constructor(native: NativeRing, ring: unknown, turnEnd: TurnEnd, broke: (why: string) => void) {
    this.#native = native;
    this.#ring = ring;
    this.#broke = broke;
    turnEnd.last(() => this.flush());
  }

  /** `broke` is called at most once; from then on each connection is written to separately. */
  static open(
    turnEnd: TurnEnd,
    broke: (why: string) => void,
    native: NativeRing | undefined = loadNativeRing(),
  ): TcpRing | { readonly missing: string } {
    if (!native) return { missing: "native/tcp-ring.c is not compiled" };
    const ring = native.open(sendsMax);
    if (typeof ring === "number") return { missing: `io_uring: ${getSystemErrorName(ring)}` };
    return new TcpRing(native, ring, turnEnd, broke);
  }

  /** A place for this connection until it is closed; undefined: it is not a plain TCP connection, or not open. */
  join(socket: Socket): RingPlace | undefined {
    const fd = descriptorOf(socket);
    if (fd === undefined || !this.#isUsable) return undefined;
    const key = this.#native.add(this.#ring, fd);
    if (key < 0) return undefined;
    const place = new RingPlace(this, socket, key % slotsMax, Math.floor(key / slotsMax));
    const destroy = socket._destroy;
    socket._destroy = (error, done) => {
      this.#leave(place);
      destroy.call(socket, error, done);
    };
    return place;
  }

  /** Copies the octets, which are sent at the end of this turn. False: the caller must write them to the stream. */
  send(place: RingPlace, piece: Uint8Array, length: number): boolean {
    if (!this.#isUsable || length > pieceBytesMax || !place.isFree) return false;
    if (this.#queued.length === sendsMax || this.#bytes + length > arenaBytes) this.flush();
    const words = this.#words;
    const at = this.#queued.length * wordsPerSend;
    words[at] = place.slot;
    words[at + generationAt] = place.generation;
    words[at + offsetAt] = this.#bytes;
    words[at + lengthAt] = length;
    const arena = this.#arena;
    // For few octets a loop costs less than the object that `set` would need.
    if (length <= 64) for (let i = 0, to = this.#bytes; i < length; i++) arena[to + i] = piece[i] as number;
    else arena.set(piece.subarray(0, length), this.#bytes);
    this.#bytes += length;
    place.isQueued = true;
    this.#queued.push(place);
    return true;
  }

  /** Sends the queued octets now. */
  flush(): void {
    const places = this.#queued;
    const count = places.length;
    if (count === 0) return;
    const left = this.#native.send(this.#ring, this.#arena, this.#words, count);
    const rests = left === 0 ? [] : this.#rests();
    for (const place of places) place.isQueued = false;
    places.length = 0;
    this.#bytes = 0;
    // A callback of a stream may send at once. Nothing may be sent before the rests that have not been returned yet.
    for (const { place } of rests) place.isQueued = true;
    for (const { place, octets } of rests) {
      place.isQueued = false;
      place.handBack(octets);
    }
  }

  close(): void {
    this.flush();
    this.#isUsable = false;
    this.#native.close(this.#ring);
  }

  /** For each place, the part that the kernel did not accept; undefined: the accepted part is not known. */
  #rests(): { readonly place: RingPlace; readonly octets: Uint8Array | undefined }[] {
    const rests = [];
    for (const [i, place] of this.#queued.entries()) {
      const at = i * wordsPerSend;
      const taken = this.#results[at + takenAt] as number;
      const length = this.#words[at + lengthAt] as number;
      if (taken === length) continue;
      if ((taken === badDescriptor || taken === notKnown) && this.#isUsable) {
        this.#isUsable = false;
        this.#broke("io_uring failed");
      }
      const from = this.#words[at + offsetAt] as number;
      const octets = taken === notKnown ? undefined : this.#arena.slice(from + Math.max(taken, 0), from + length);
      rests.push({ place, octets });
    }
    return rests;
  }

  #leave(place: RingPlace): void {
    if (place.isQueued) this.flush();
    this.#native.remove(this.#ring, place.slot, place.generation);
  }
}

/** A connection in the ring. */
export class RingPlace {
  readonly #ring: TcpRing;
  readonly #socket: Socket;
  readonly slot: number;
  readonly generation: number;
  isQueued = false;
  /** Octets that were sent without the stream, which does not count them. */
  passedBytes = 0;

  constructor(ring: TcpRing, socket: Socket, slot: number, generation: number) {
    this.#ring = ring;
    this.#socket = socket;
    this.slot = slot;
    this.generation = generation;
  }

  /** True if no earlier octets wait in the stream or in the ring. */
  get isFree(): boolean {
    const socket = this.#socket;
    return !this.isQueued && socket.writableLength === 0 && !socket.writableEnded && !socket.destroyed;
  }

  /** See `TcpRing.send`. `length`: so many octets of the piece. */
  send(piece: Uint8Array, length = piece.length): boolean {
    const isTaken = this.#ring.send(this, piece, length);
    if (isTaken) this.passedBytes += length;
    return isTaken;
  }

  /** Called before octets are written to the stream, so that earlier octets in the ring are sent first. */
  flush(): void {
    if (this.isQueued) this.#ring.flush();
  }

  handBack(octets: Uint8Array | undefined): void {
    this.passedBytes -= octets?.length ?? 0;
    if (this.#socket.destroyed || this.#socket.writableEnded) return;
    if (octets) this.#socket.write(octets);
    else this.#socket.destroy(new Error("it is not known how many of the written octets were sent"));
  }
}

/** The file descriptor of a TCP connection without TLS; undefined: the ring cannot be used. */
export function descriptorOf(socket: Socket): number | undefined {
  if (process.platform === "win32" || socket instanceof TLSSocket || socket.connecting || socket.destroyed)
    return undefined;
  const { _handle: handle } = socket as Socket & { readonly _handle?: { readonly fd?: unknown } | null };
  return typeof handle?.fd === "number" && handle.fd >= 0 ? handle.fd : undefined;
}
