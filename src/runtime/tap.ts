/**
 * Observes the datagrams between gateway and devices, for captures and for the page. This is the only such place. While there is no capture
 * and no page, it costs two comparisons for each datagram. A capture that is read too slowly loses its oldest datagrams and reports how
 * many. It never delays the gateway.
 */
import { CaptureWriter, type Datagram } from "../capture/capture-file.ts";
import { forwardedNodeOf, neighbourOf, transportNameOf } from "../core/peer-id.ts";
import type { PeerId } from "../core/types.ts";
import type { Timers } from "../transports/timers.ts";

export interface CaptureOptions {
  /** Client id; undefined: all. */
  readonly client: string | undefined;
  readonly transport: string | undefined;
  /** False: the payloads of devices are left out. */
  readonly payload: boolean;
}

export interface TapOptions {
  /** Names of the transports, in the order of the configuration. */
  readonly transports: readonly string[];
  readonly timers: Timers;
  /** Microseconds since 1970. */
  readonly wallClockUs: () => number;
  /** The sender of a datagram; behind a forwarder, the wireless node. */
  readonly whoSays: (
    from: PeerId,
    bytes: Uint8Array,
  ) => { readonly peer: PeerId; readonly clientId: string | undefined };
  readonly clientAt: (peer: PeerId) => string | undefined;
  /** The number of octets before the contents of a message. */
  readonly payloadStart: (bytes: Uint8Array) => number;
  /** The message of this client as JSON, decoded by its declaration; undefined: not known. Called for captures with payloads. */
  readonly saidIn?: (way: "in" | "out", clientId: string | undefined, bytes: Uint8Array) => string | undefined;
  /** The open pages of the console; `tap` is undefined while there is none. */
  readonly page?: { readonly tap: ((way: "in" | "out", peer: PeerId, bytes: Uint8Array) => void) | undefined };
  readonly limits?: Partial<TapLimits>;
}

export interface TapLimits {
  /** Octets that wait for one reader. */
  readonly waitingBytesMax: number;
  readonly readersMax: number;
  /** Octets handed over at once. */
  readonly pieceBytes: number;
}

const usualLimits: TapLimits = { waitingBytesMax: 4 * 1024 * 1024, readersMax: 4, pieceBytes: 256 * 1024 };
/** A capture without datagrams sends a sign of life, so that the reader knows that it works, and an ended reader is noticed. */
const signOfLifeMs = 5_000;
/** The memory that an entry costs in addition to the octets of its datagram. */
const entryBytes = 300;
/** Clients are remembered by address, for datagrams that are sent to them after their session has ended. */
const namesMax = 10_000;

export class Tap {
  readonly #options: TapOptions;
  readonly #limits: TapLimits;
  readonly #readers = new Set<Reader>();
  readonly #names = new Map<PeerId, string>();
  #isClosed = false;

  constructor(options: TapOptions) {
    this.#options = options;
    this.#limits = { ...usualLimits, ...options.limits };
  }

  /** The number of open captures. */
  get readers(): number {
    return this.#readers.size;
  }

  /** A datagram was received; called before it is decoded. */
  heard(from: PeerId, bytes: Uint8Array): void {
    this.#options.page?.tap?.("in", from, bytes);
    if (this.#readers.size === 0) return;
    const { peer, clientId } = this.#options.whoSays(from, bytes);
    if (clientId !== undefined) this.#remember(peer, clientId);
    this.#hand("in", peer, transportNameOf(peer), bytes, clientId ?? this.#names.get(peer));
  }

  /** A datagram is sent. */
  said(to: PeerId, bytes: Uint8Array): void {
    this.#options.page?.tap?.("out", to, bytes);
    if (this.#readers.size === 0) return;
    const clientId = this.#options.clientAt(to) ?? this.#names.get(to);
    this.#hand("out", to, transportNameOf(to), bytes, clientId);
  }

  /** A datagram is sent to all receivers of this transport. */
  saidToAll(transport: string, bytes: Uint8Array): void {
    if (this.#readers.size === 0) return;
    this.#hand("out", undefined, transport, bytes, undefined);
  }

  /** Returns a pcapng file without an end; undefined: the limit of captures is reached. */
  capture(options: CaptureOptions): AsyncIterable<Uint8Array> | undefined {
    if (this.#isClosed || this.#readers.size >= this.#limits.readersMax) return undefined;
    const { timers } = this.#options;
    const reader = new Reader(options, this.#options, this.#limits, () => {
      endSigns();
      this.#readers.delete(reader);
      if (this.#readers.size === 0) this.#names.clear();
    });
    const endSigns = timers.every(signOfLifeMs, () => reader.giveSign());
    this.#readers.add(reader);
    return { [Symbol.asyncIterator]: () => reader };
  }

  /** Ends every capture, after its last data. */
  close(): void {
    this.#isClosed = true;
    for (const reader of [...this.#readers]) reader.end();
  }

  #hand(direction: "in" | "out", peer: PeerId | undefined, transport: string, bytes: Uint8Array, clientId = ""): void {
    const atUs = this.#options.wallClockUs();
    for (const reader of this.#readers) reader.take({ atUs, direction, peer, transport, bytes, clientId });
  }

  #remember(peer: PeerId, clientId: string): void {
    this.#names.delete(peer);
    this.#names.set(peer, clientId);
    if (this.#names.size <= namesMax) return;
    for (const [oldest] of this.#names) {
      this.#names.delete(oldest);
      return;
    }
  }
}

interface Taken {
  readonly atUs: number;
  readonly direction: "in" | "out";
  readonly peer: PeerId | undefined;
  readonly transport: string;
  readonly bytes: Uint8Array;
  /** "" = not known. */
  readonly clientId: string;
}

type ReaderWorld = Pick<TapOptions, "transports" | "wallClockUs" | "payloadStart" | "saidIn">;

interface Waiting {
  readonly datagram: Datagram;
  readonly transport: string;
}

/** One capture. It is an iterator and not a generator, because a generator that waits for the next datagram could not be ended. */
class Reader implements AsyncIterator<Uint8Array, undefined> {
  readonly #options: CaptureOptions;
  readonly #world: ReaderWorld;
  readonly #limits: TapLimits;
  readonly #onEnd: () => void;
  readonly #writer: CaptureWriter;
  #waiting: Waiting[] = [];
  /** An index into `#waiting`: the entries before it are handed over or lost. */
  #first = 0;
  #waitingBytes = 0;
  #lost = 0;
  #lostBeforeFirst = 0;
  #isBegun = false;
  #isEnded = false;
  #wanted: ((result: IteratorResult<Uint8Array, undefined>) => void) | undefined;

  constructor(options: CaptureOptions, world: ReaderWorld, limits: TapLimits, onEnd: () => void) {
    this.#options = options;
    this.#world = world;
    this.#limits = limits;
    this.#onEnd = onEnd;
    this.#writer = new CaptureWriter(world.transports);
  }

  take({ atUs, direction, peer, transport, bytes, clientId }: Taken): void {
    const { client, transport: wanted, payload } = this.#options;
    if (wanted !== undefined && wanted !== transport) return;
    if (client !== undefined && client !== clientId) return;
    // Copied, because sent datagrams may be in a buffer that is used again, and a view would keep the whole received
    // buffer in memory.
    const kept = bytes.slice(0, payload ? bytes.length : this.#world.payloadStart(bytes));
    const comment = peer === undefined ? "to everybody" : commentOf(peer, clientId);
    const value = payload ? this.#world.saidIn?.(direction, clientId === "" ? undefined : clientId, bytes) : undefined;
    const datagram = { atUs, direction, peer: neighbour(peer), bytes: kept, wholeBytes: bytes.length, comment };
    this.#waiting.push({ datagram: value === undefined ? datagram : { ...datagram, value }, transport });
    this.#waitingBytes += bytesOf(kept, value);
    while (this.#waitingBytes > this.#limits.waitingBytesMax && this.#waiting.length - this.#first > 1) {
      this.#shift();
      this.#lost++;
      this.#lostBeforeFirst++;
    }
    this.#answer();
  }

  /** Sends a sign of life, if the reader waits for data. */
  giveSign(): void {
    const wanted = this.#wanted;
    if (!wanted) return;
    this.#wanted = undefined;
    wanted({ done: false, value: this.#writer.lost(this.#lost, this.#world.wallClockUs()) });
  }

  next(): Promise<IteratorResult<Uint8Array, undefined>> {
    return new Promise((resolve) => {
      this.#wanted = resolve;
      this.#answer();
    });
  }

  /** The reader has ended. */
  return(): Promise<IteratorResult<Uint8Array, undefined>> {
    this.#waiting = [];
    this.#first = 0;
    this.end();
    return Promise.resolve({ done: true, value: undefined });
  }

  end(): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#onEnd();
    this.#answer();
  }

  #answer(): void {
    const wanted = this.#wanted;
    if (!wanted) return;
    const isEmpty = this.#first === this.#waiting.length;
    if (this.#isBegun && isEmpty && !this.#isEnded) return;
    this.#wanted = undefined;
    if (this.#isEnded && isEmpty) wanted({ done: true, value: undefined });
    else wanted({ done: false, value: this.#piece() });
  }

  #piece(): Uint8Array {
    const parts: Uint8Array[] = this.#isBegun ? [] : [this.#writer.head()];
    this.#isBegun = true;
    for (let bytes = 0; this.#first < this.#waiting.length && bytes < this.#limits.pieceBytes; ) {
      const lost = this.#lostBeforeFirst;
      const next = this.#shift();
      if (!next) break;
      this.#lostBeforeFirst = 0;
      const { datagram, transport } = next;
      if (lost > 0) parts.push(this.#writer.lost(this.#lost, datagram.atUs));
      const comment =
        lost > 0
          ? `${lost} datagrams before this one are lost, because they were read too slowly; ${datagram.comment}`
          : datagram.comment;
      const part = this.#writer.datagram({ ...datagram, comment }, transport);
      parts.push(part);
      bytes += part.length;
    }
    return Buffer.concat(parts);
  }

  #shift(): Waiting | undefined {
    const first = this.#waiting[this.#first];
    if (!first) return undefined;
    this.#first++;
    this.#waitingBytes -= bytesOf(first.datagram.bytes, first.datagram.value);
    // The array is shortened now and then. So few entries are moved, and entries that were handed over are not kept.
    if (this.#first > 1_000 && this.#first * 2 > this.#waiting.length) {
      this.#waiting = this.#waiting.slice(this.#first);
      this.#first = 0;
    } else if (this.#first === this.#waiting.length) {
      this.#waiting = [];
      this.#first = 0;
    }
    return first;
  }
}

function bytesOf(octets: Uint8Array, value = ""): number {
  return octets.length + 2 * value.length + entryBytes;
}

function neighbour(peer: PeerId | undefined): string {
  return peer === undefined ? "" : neighbourOf(peer);
}

function commentOf(peer: PeerId, clientId: string): string {
  const node = forwardedNodeOf(peer);
  const where = node ? `node ${node.nodeId} behind ${node.forwarder}` : peer;
  return clientId === "" ? where : `client ${clientId} at ${where}`;
}
