/** Datagrams that wait until their shard is known. They are limited for each address, in addresses, and in octets. */

export interface RoomLimits {
  readonly perAddressMax: number;
  readonly addressesMax: number;
  /** Octets of all waiting datagrams, including `itemBytes` for each. */
  readonly octetsMax: number;
}

export const usualRoom: RoomLimits = { perAddressMax: 16, addressesMax: 1_000, octetsMax: 1024 * 1024 };

/** The memory that a datagram costs in addition to its octets. */
const itemBytes = 100;

export class WaitingRoom<Item extends { readonly bytes: Uint8Array }> {
  readonly #limits: RoomLimits;
  readonly #byAddress = new Map<string, Item[]>();
  #octets = 0;

  constructor(limits: RoomLimits = usualRoom) {
    this.#limits = limits;
  }

  get size(): number {
    return this.#byAddress.size;
  }

  get octets(): number {
    return this.#octets;
  }

  /** True if less than a quarter is in use. */
  get isRoomy(): boolean {
    const { addressesMax, octetsMax } = this.#limits;
    return this.size < addressesMax / 4 && this.#octets < octetsMax / 4;
  }

  has(address: string): boolean {
    return this.#byAddress.has(address);
  }

  /** "first": no datagram of this address waited before. "full": the datagram is not accepted. */
  add(address: string, item: Item): "first" | "waits" | "full" {
    const waiting = this.#byAddress.get(address);
    const cost = item.bytes.length + itemBytes;
    if (this.#octets + cost > this.#limits.octetsMax) return "full";
    if (waiting) {
      if (waiting.length >= this.#limits.perAddressMax) return "full";
      waiting.push(item);
    } else {
      if (this.#byAddress.size >= this.#limits.addressesMax) return "full";
      this.#byAddress.set(address, [item]);
    }
    this.#octets += cost;
    return waiting ? "waits" : "first";
  }

  /** Removes the datagrams of this address, and returns them in their order. */
  take(address: string): readonly Item[] {
    const waiting = this.#byAddress.get(address);
    if (!waiting) return [];
    this.#byAddress.delete(address);
    for (const { bytes } of waiting) this.#octets -= bytes.length + itemBytes;
    return waiting;
  }
}
