/** What the parts of a fleet know about each other: who is there, and who owns what. */

/** A gateway of a fleet that was heard of lately. */
export interface Member {
  /** Unique within the fleet. */
  readonly name: string;
  /** Each start of its process is another one. */
  readonly run: string;
  /** Where it takes datagrams from the other gateways: `host:port`. */
  readonly place: string;
  readonly version: string;
  /** It hands its shards over, and is given none. */
  readonly isDraining: boolean;
}

/** Asked for each datagram: answers from memory. */
export interface Ownership {
  /** How many shards the fleet has. */
  readonly shards: number;
  /** "here": the gateway of that shard runs in this process. undefined: nobody is known to have it at this moment. */
  ownerOf(shard: number): "here" | Member | undefined;
  /** The living members but for this one. The same array as long as nothing has changed. */
  others(): readonly Member[];
}

/** What is known of the address of a client. */
export interface AddressFacts {
  readonly shard: number;
  /** Name of the member by which the client came last; "" = not known. */
  readonly front: string;
}

/** Where the address of a client is kept for all gateways, so that any of them knows its shard. */
export interface AddressBook {
  /** undefined: nothing is known of this peer. Fails when the server is away. */
  find(peer: string): Promise<AddressFacts | undefined>;
  /** Best effort: a failure is counted, and the next datagram of a client that was forgotten is answered as that of a stranger. */
  keep(peer: string, facts: AddressFacts): void;
}
