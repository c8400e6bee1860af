/**
 * A transport of one shard's gateway, with the name and the properties of the real one. It receives the datagrams of
 * this shard, whichever gateway of the fleet the device sent to; answers are sent by that gateway.
 */
import type { PeerId, PeerIdentity } from "../core/types.ts";
import type { Transport, TransportEvents, TransportStats } from "../transports/transport.ts";

/** A datagram on its way to a gateway. */
export interface Heard {
  /** The index of the real transport that received the datagram. */
  readonly index: number;
  readonly from: PeerId;
  readonly bytes: Uint8Array;
  /** The gateway that received it from the device: a name, or "" for this one. */
  readonly via: string;
}

/** The functions of the front that a port calls. */
export interface PortFront {
  /** The port accepts datagrams from now on. */
  opened(port: Port): void;
  closed(port: Port): void;
  send(port: Port, to: PeerId, bytes: Uint8Array): void;
  broadcast(port: Port, bytes: Uint8Array, radius: number): void;
  /** The shard's gateway has found that the device itself sent this datagram now. */
  proved(port: Port, heard: Heard): void;
  /** A datagram for this port was dropped. */
  tooLate(): void;
}

export class Port implements Transport {
  readonly shard: number;
  /** The index of the real transport. */
  readonly index: number;
  readonly warnings: readonly string[] = [];
  readonly #real: Transport;
  readonly #front: PortFront;
  readonly #stats = { datagramsIn: 0, datagramsOut: 0, bytesIn: 0, bytesOut: 0, sendErrors: 0 };
  #events: TransportEvents | undefined;
  #isClosed = false;
  #may: () => boolean = () => true;
  readonly mayLeave = (): boolean => this.#may();
  /** The gateway handles this datagram at this moment. */
  #handled: Heard | undefined;
  /** Came in this turn, and are handed over at its end, together. */
  #came: Heard[] = [];
  readonly #handOver = (): void => {
    const came = this.#came;
    this.#came = [];
    for (const heard of came) this.deliver(heard);
  };

  constructor(shard: number, index: number, real: Transport, front: PortFront) {
    this.shard = shard;
    this.index = index;
    this.#real = real;
    this.#front = front;
  }

  get name(): string {
    return this.#real.name;
  }

  get place(): string {
    return this.#real.place;
  }

  maxMessageBytes(peer: PeerId): number {
    return this.#real.maxMessageBytes(peer);
  }

  hostOf(peer: PeerId): string {
    return this.#real.hostOf(peer);
  }

  identityOf(peer: PeerId): PeerIdentity {
    return this.#real.identityOf(peer);
  }

  async start(events: TransportEvents): Promise<void> {
    if (this.#isClosed) return;
    this.#events = events;
    this.#front.opened(this);
  }

  sendsWhile(mayLeave: () => boolean): void {
    this.#may = mayLeave;
  }

  send(to: PeerId, bytes: Uint8Array): void {
    if (!this.#events) {
      this.#stats.sendErrors++;
      return;
    }
    this.#stats.datagramsOut++;
    this.#stats.bytesOut += bytes.byteLength;
    this.#front.send(this, to, bytes);
  }

  broadcast(bytes: Uint8Array, radius: number): void {
    if (this.#events) this.#front.broadcast(this, bytes, radius);
  }

  stats(): TransportStats {
    return this.#stats;
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#events = undefined;
    this.#front.closed(this);
  }

  /** Gives the datagram to the gateway immediately. */
  deliver(heard: Heard): void {
    const { from, bytes } = heard;
    if (!this.#events) return this.#front.tooLate();
    this.#stats.datagramsIn++;
    this.#stats.bytesIn += bytes.byteLength;
    this.#handled = heard;
    this.#events.datagram(from, bytes);
    this.#handled = undefined;
  }

  /** Called while a datagram is handled, by a transport that can tell whether the device itself has sent it. */
  proved(): void {
    if (this.#handled) this.#front.proved(this, this.#handled);
  }

  /** Keeps the datagram for the gateway until the end of this turn. True: it is the first one. */
  collect(heard: Heard): boolean {
    return this.#came.push(heard) === 1;
  }

  /** Hands over the collected datagrams as one batch. */
  handOver(): void {
    if (this.#events?.batch) this.#events.batch(this.#handOver);
    else this.#handOver();
  }
}
