/** The network between devices and gateway: loses, repeats, delays and so reorders. */
import type { PeerId, PeerIdentity } from "../../src/core/types.ts";
import type { Transport, TransportEvents, TransportStats } from "../../src/transports/transport.ts";
import type { Rng } from "./rng.ts";
import type { VirtualTime } from "./virtual-time.ts";

export interface NetworkFaults {
  loss: number;
  duplicate: number;
  delayMs: readonly [number, number];
}

export type Hears = (bytes: Uint8Array) => void;

/** The network as a device has it. */
export interface Air {
  /** Where the device is from now on. `count`: it has been at so many places. */
  addressOf(clientId: string, count: number): PeerId;
  attach(address: PeerId, hears: Hears): void;
  detach(address: PeerId): void;
  fromDevice(address: PeerId, bytes: Uint8Array): void;
  /** The device lost all that it had in memory. */
  losesPower?(address: PeerId): void;
  /** All copies of a CONNECT were unanswered. */
  isUnanswered?(address: PeerId): void;
}

export class Network implements Air {
  readonly faults: NetworkFaults;
  readonly #time: VirtualTime;
  readonly #rng: Rng;
  readonly #byAddress = new Map<PeerId, Hears>();
  /** The gateway that runs now. */
  gateway: TransportEvents | undefined;
  /** What comes to its socket waits there until it is read, if at all. */
  socket: ((from: PeerId, arrive: () => void) => void) | undefined;
  onToDevice: (to: PeerId, bytes: Uint8Array) => void = () => {};
  onAtGateway: (from: PeerId, bytes: Uint8Array) => void = () => {};

  constructor(time: VirtualTime, rng: Rng, faults: NetworkFaults) {
    this.#time = time;
    this.#rng = rng;
    this.faults = faults;
  }

  addressOf(clientId: string, count: number): PeerId {
    return `sim/${clientId}:${count}`;
  }

  attach(address: PeerId, hears: Hears): void {
    this.#byAddress.set(address, hears);
  }

  detach(address: PeerId): void {
    this.#byAddress.delete(address);
  }

  fromDevice(address: PeerId, bytes: Uint8Array): void {
    const arrive = () => {
      this.onAtGateway(address, bytes);
      this.gateway?.datagram(address, Uint8Array.from(bytes));
    };
    this.#carry(() => (this.socket ? this.socket(address, arrive) : arrive()));
  }

  toDevice(address: PeerId, bytes: Uint8Array): void {
    this.onToDevice(address, bytes);
    this.#carry(() => this.#byAddress.get(address)?.(bytes));
  }

  #carry(arrive: () => void): void {
    const { loss, duplicate, delayMs } = this.faults;
    const delay = this.#rng.between(...delayMs);
    if (!this.#rng.chance(loss)) this.#time.plan(delay, arrive);
    // A copy without DUP that outlives its exchange cannot be told from a new message: copies come close together.
    if (this.#rng.chance(duplicate)) this.#time.plan(delay + 1, arrive);
  }
}

/** One gateway run's end of the network. */
export class SimTransport implements Transport {
  readonly name = "sim";
  readonly place = "the network";
  readonly warnings: readonly string[] = [];
  readonly #network: Network;

  constructor(network: Network) {
    this.#network = network;
  }

  maxMessageBytes(): number {
    return 1_024;
  }

  hostOf(peer: PeerId): string {
    return peer;
  }

  identityOf(peer: PeerId): PeerIdentity {
    return { name: this.hostOf(peer), by: "address", verified: false };
  }

  async start(events: TransportEvents): Promise<void> {
    this.#network.gateway = events;
  }

  send(to: PeerId, bytes: Uint8Array): void {
    this.#network.toDevice(to, bytes);
  }

  broadcast(): void {}

  stats(): TransportStats {
    return { datagramsIn: 0, datagramsOut: 0, bytesIn: 0, bytesOut: 0, sendErrors: 0 };
  }

  async close(): Promise<void> {}
}
