/** Reads the datagrams of one network of a front: MQTT-SN messages, or what a door passes on. */
import type { PeerId } from "../core/types.ts";
import type { Door } from "../transports/door.ts";

/** Reads from a datagram what can be known without a session. */
export interface DatagramWords {
  /**
   * The most frequent case: the message is not SEARCHGW, names no client and is not encapsulated. The next three
   * questions need not be asked then.
   */
  isPlain(bytes: Uint8Array): boolean;
  /**
   * The sender or receiver of the message: the neighbour, or the node behind it, if the neighbour is a device
   * forwarder.
   */
  nodeOf(neighbour: PeerId, bytes: Uint8Array): PeerId;
  /** The client id that the datagram itself names (CONNECT, PINGREQ with an id); undefined: it names none. */
  clientIn(bytes: Uint8Array): string | undefined;
  /** True for SEARCHGW, which asks for the gateways. */
  isSearch(bytes: Uint8Array): boolean;
  /** True if any shard can handle the message: it needs no session, or no session can use it. */
  isForAnybody(bytes: Uint8Array): boolean;
  /** True for an answer with which a gateway accepts a client, or asks for its will before accepting it. */
  accepts(bytes: Uint8Array): boolean;
  /** True for a message that a gateway sends only to a client that has a session. */
  confirms(bytes: Uint8Array): boolean;
}

export interface NetworkWords extends DatagramWords {
  /**
   * True: only the gateway of the shard can tell whether a datagram is authentic. Until it has done so, a datagram
   * changes nothing here, and a sender without a context gets no answer.
   */
  readonly isEncrypted: boolean;
  /** Seconds for which the address book keeps an entry; undefined: the usual time. */
  readonly keptSeconds: number | undefined;
  /** The name of the receiver in the address book. */
  nodeTo(to: PeerId, bytes: Uint8Array): PeerId;
}

export function plainWords(words: DatagramWords): NetworkWords {
  return { ...words, isEncrypted: false, keptSeconds: undefined, nodeTo: words.nodeOf };
}

export function encryptedWords(door: Pick<Door, "nodeOf" | "clientIn" | "contextSeconds">): NetworkWords {
  return {
    isEncrypted: true,
    keptSeconds: door.contextSeconds,
    isPlain: () => false,
    nodeOf: (from, bytes) => door.nodeOf(from, bytes),
    nodeTo: (to) => to,
    clientIn: (bytes) => door.clientIn(bytes),
    isSearch: () => false,
    isForAnybody: () => false,
    accepts: () => false,
    confirms: () => false,
  };
}
