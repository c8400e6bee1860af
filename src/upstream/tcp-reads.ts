/**
 * Reads what has come over many TCP connections with one call of the compiled part (native/tcp-read.c), which wakes JavaScript once for all
 * of them. In transparent mode each device has a connection, and a wake-up for each of its messages costs more than reading it.
 *
 * Node's stream stays the owner of its socket. It reads until the connection joins, and again from the end of the stream on, so it reports
 * the end as before. Errors are passed to it. While a connection is here, its stream is paused.
 */
import { closeSync } from "node:fs";
import type { Socket } from "node:net";
import { getSystemErrorName } from "node:util";
import { loadNativeReads, type NativeReads } from "./tcp-reads-native.ts";
import { descriptorOf } from "./tcp-ring.ts";

/** Connections that are read in one call. */
const readsMax = 256;
/**
 * The connections that have something share this memory, so each gets a part of it in a call, at least 256 octets. Short
 * messages take much longer than their octets: in 64 KB there may be 16,000 of them, and nobody else is served meanwhile.
 */
const arenaBytes = 65_536;
/** Calls in one wake-up, if each of them finds `readsMax` connections. Node's loop has the same limits. */
const callsMax = 48;
/** After so many octets in one wake-up, everybody else comes first. Each connection gets at least one read before. */
const turnOctets = 65_536;

/** The record of a read in 32-bit words, as in native/tcp-read.c. */
const wordsPerRead = 3;
const offsetAt = 1;
const lengthAt = 2;

export interface Receiver {
  onOctets(octets: Buffer): void;
}

export class TcpReads {
  readonly #native: NativeReads;
  readonly #batch: (work: () => void) => void;
  readonly #arena = Buffer.allocUnsafeSlow(arenaBytes);
  readonly #words = new Uint32Array(readsMax * wordsPerRead);
  /** The same memory, read as the lengths of reads. */
  readonly #lengths = new Int32Array(this.#words.buffer);
  /** The connections by their numbers, and the numbers that are free. */
  readonly #places: (ReadPlace | undefined)[] = [];
  readonly #free: number[] = [];
  /** The connections of the present call, in its order. */
  readonly #called: (ReadPlace | undefined)[] = [];
  /** Exists while there are connections, because it keeps the process alive, as a socket does. */
  #set: { readonly fd: number; readonly watch: unknown } | undefined;
  #isUsable = true;
  readonly #readAll = (): void => this.#readReady();

  private constructor(native: NativeReads, batch: (work: () => void) => void) {
    this.#native = native;
    this.#batch = batch;
  }

  /** `batch` is called with the work of each wake-up, and must do it at once. */
  static open(
    batch: (work: () => void) => void,
    native: NativeReads | undefined = loadNativeReads(),
  ): TcpReads | { readonly missing: string } {
    return native ? new TcpReads(native, batch) : { missing: "native/tcp-read.c is not compiled" };
  }

  /**
   * From now on `to` gets all octets of this connection; they are valid during the call. Undefined: this is not possible, and the
   * stream reads as before. A connection leaves by itself when it ends or is destroyed. The socket must have Node's option `onread`: without
   * it, `pause` would not stop its own reading at once.
   */
  join(socket: Socket, to: Receiver): ReadPlace | undefined {
    const fd = descriptorOf(socket);
    if (fd === undefined || !this.#isUsable) return undefined;
    const set = this.#opened();
    if (!set) return undefined;
    const number = this.#free.pop() ?? this.#places.length;
    if (this.#native.add(set.fd, fd, number) < 0) {
      this.#places[number] = undefined;
      this.#free.push(number);
      this.#closeIfEmpty();
      return undefined;
    }
    socket.pause();
    const place = new ReadPlace(number, fd, socket, to);
    this.#places[number] = place;
    const destroy = socket._destroy;
    socket._destroy = (error, done) => {
      this.#leave(place);
      destroy.call(socket, error, done);
    };
    return place;
  }

  /** Nothing is read here any more: the streams read again. Idempotent. */
  close(): void {
    this.#isUsable = false;
    for (const place of this.#places) if (place) this.#giveBack(place);
  }

  #opened(): { readonly fd: number } | undefined {
    if (this.#set) return this.#set;
    const fd = this.#native.open();
    if (fd < 0) return undefined;
    const watch = this.#native.watch(fd, (what) => this.#onWake(what), 0);
    if (typeof watch === "number") {
      closeSync(fd);
      return undefined;
    }
    this.#set = { fd, watch };
    return this.#set;
  }

  /** Called when there is something to read; a negative number: it cannot be waited for any more. */
  #onWake(what: number): number {
    if (what < 0) this.close();
    else this.#batch(this.#readAll);
    return 0;
  }

  #readReady(): void {
    const set = this.#set;
    let octets = 0;
    for (let call = 0; call < callsMax && octets < turnOctets; call++) {
      if (!set || this.#set !== set) return; // the last connection left meanwhile
      const count = this.#native.read(set.fd, this.#arena, this.#words);
      if (count < 0) return this.close();
      // A connection may be destroyed by what another one brings, and its number given to a new one.
      for (let i = 0; i < count; i++) this.#called[i] = this.#places[this.#words[i * wordsPerRead] as number];
      for (let i = 0; i < count; i++) {
        const place = this.#called[i];
        this.#called[i] = undefined;
        if (!place?.isOpen) continue;
        const from = this.#words[i * wordsPerRead + offsetAt] as number;
        const length = this.#lengths[i * wordsPerRead + lengthAt] as number;
        if (length <= 0) this.#end(place, length);
        else {
          octets += length;
          place.readBytes += length;
          place.to.onOctets(this.#arena.subarray(from, from + length));
        }
      }
      if (count < readsMax) return;
    }
  }

  /** `errno`: 0 at the end of the stream. */
  #end(place: ReadPlace, errno: number): void {
    if (errno === 0) return this.#giveBack(place); // the stream finds the end itself
    const code = getSystemErrorName(errno);
    this.#leave(place);
    place.socket.destroy(Object.assign(new Error(`read ${code}`), { errno, code, syscall: "read" }));
  }

  #giveBack(place: ReadPlace): void {
    this.#leave(place);
    place.socket.resume();
  }

  #leave(place: ReadPlace): void {
    if (!place.isOpen) return;
    place.isOpen = false;
    if (this.#set) this.#native.remove(this.#set.fd, place.fd);
    this.#places[place.number] = undefined;
    this.#free.push(place.number);
    this.#closeIfEmpty();
  }

  #closeIfEmpty(): void {
    if (!this.#set || this.#free.length < this.#places.length) return;
    this.#native.unwatch(this.#set.watch);
    this.#set = undefined;
    this.#places.length = 0;
    this.#free.length = 0;
  }
}

/** A connection that is read here. */
export class ReadPlace {
  readonly number: number;
  readonly fd: number;
  readonly socket: Socket;
  readonly to: Receiver;
  isOpen = true;
  /** Octets that were read without the stream, which does not count them. */
  readBytes = 0;

  constructor(number: number, fd: number, socket: Socket, to: Receiver) {
    this.number = number;
    this.fd = fd;
    this.socket = socket;
    this.to = to;
  }
}
