/** Types that the parts of a fleet share: the members, and the owners of shards. */

/** A gateway of a fleet that was heard recently. */
export interface Member {
  /** Unique within the fleet. */
  readonly name: string;
  /** Identifies one start of the member's process. */
  readonly run: string;
  /** The address that receives datagrams from the other gateways: `host:port`. */
  readonly place: string;
  readonly version: string;
  /** The member hands its shards over, and gets none. */
  readonly isDraining: boolean;
}

/** The owners of shards, and the living members. Called for each datagram, so it answers from memory. */
export interface Ownership {
  /** The number of shards of the fleet. */
  readonly shards: number;
  /** "here": the gateway of that shard runs in this process. Undefined: no owner is known at this moment. */
  ownerOf(shard: number): "here" | Member | undefined;
  /** The living members except this one. The same array as long as nothing has changed. */
  others(): readonly Member[];
}

/** The stored facts about the address of a client. */
export interface AddressFacts {
  readonly shard: number;
  /** Name of the member that received the client's last datagram; "" = not known. */
  readonly front: string;
}

/** Stores the address of each client for all gateways, so that any of them knows its shard. */
export interface AddressBook {
  /** Undefined: the peer is not in the book. Fails when the server cannot be reached. */
  find(peer: string): Promise<AddressFacts | undefined>;
  /** `seconds`: how long the entry is kept; absent = two days. Best effort: a failure is counted, and the next datagram of a client that was forgotten is answered as that of a stranger. */
  keep(peer: string, facts: AddressFacts, seconds?: number): void;
}
