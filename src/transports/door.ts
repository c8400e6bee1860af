/**
 * What stands before a network at the front of a fleet, if its datagrams are encrypted: it finds out whose a datagram
 * is, without its content.
 */
import type { PeerId } from "../core/types.ts";

/** What a door asks of its front. */
export interface DoorEdges {
  send(to: PeerId, bytes: Uint8Array): void;
  /** Finds the gateway for a datagram, and passes it on. */
  pass(from: PeerId, bytes: Uint8Array): void;
  told(level: "debug" | "info", say: string): void;
}

export interface Door {
  /** Seconds for which the address book has to keep an entry, so that it does not end before the context. */
  readonly contextSeconds: number;
  start(edges: DoorEdges): void;
  /** Handles a datagram that a device sent to this gateway. Those that are for a shard are passed on. */
  heard(from: PeerId, bytes: Uint8Array): void;
  /** The name on which the shard of a passed datagram depends. */
  nodeOf(from: PeerId, bytes: Uint8Array): PeerId;
  /** The client id that the passed datagram itself names; undefined: it names none. */
  clientIn(bytes: Uint8Array): string | undefined;
  /** After this, nothing is handled. Idempotent. */
  close(): void;
}
