/** Which clients are admitted. The rules are in the configuration; the core only asks. */
import type { PeerId, PeerIdentity } from "./types.ts";

export type Admission =
  | {
      readonly admitted: true /** A rule names it, or it has proved who it is: not just anybody. */;
      readonly byName?: boolean;
    }
  | { readonly admitted: false /** The line of configuration that would admit it. */; readonly hint: string };

/** The limits of this holder. Topic names and filters are those of devices, without the prefix at the broker. */
export interface Rights {
  mayPublish(topicName: string): boolean;
  /** True if the client may get all topic names that this filter matches. */
  maySubscribe(filter: string): boolean;
  mayReceive(topicName: string): boolean;
  /** The line of configuration that would allow it. */
  hint(way: Way, topic: string): string;
}

/** The limits of a client; Infinity: no limit. */
export interface DeviceLimits {
  readonly upPerSecond: number;
  /** Messages that may come at once. */
  readonly upBurst: number;
  readonly downPerSecond: number;
  readonly downBurst: number;
  /** Octets of whole datagrams, in both directions. */
  readonly octetsPerDay: number;
  /** After so many consecutive refusals the gateway ignores the device. */
  readonly refusalsMax: number;
  /** Seconds for which the device is ignored; 0 = never. */
  readonly quarantineSeconds: number;
}

/**
 * The kind of a right. `receive` concerns messages for a subscription; in the configuration it is under `subscribe`.
 */
export type Way = "publish" | "subscribe" | "receive";

/** The holder of the rights. Without a client id: a sender at QoS -1 without a connection. Without a peer: the address is not known. */
export interface Holder {
  readonly clientId: string | undefined;
  readonly peer: PeerId | undefined;
  readonly identity: PeerIdentity | undefined;
}

export interface AccessPolicy {
  /**
   * Decides if this client id may CONNECT from this peer, or continue. Called once for each CONNECT, not for each
   * message.
   */
  client(clientId: string, peer: PeerId, identity: PeerIdentity): Admission;
  /** True if this peer is in a network of the own site, where forged addresses are not expected. */
  isInside(peer: PeerId, identity?: PeerIdentity): boolean;
  /**
   * The topics that the holder may use; undefined = all. Each call reads every rule, so the result should be kept while
   * policy and peer do not change.
   */
  rightsOf(holder: Holder): Rights | undefined;
  /** Undefined: the client has no limits. */
  limitsOf(clientId: string): DeviceLimits | undefined;
  /** Publications at QoS -1 a second from one host; 0 = no limit. */
  readonly qosMinusOnePerSecond: number;
  /** Decides if this peer may publish at QoS -1 without a connection. */
  qosMinusOne(peer: PeerId, identity?: PeerIdentity): Admission;
  /** Decides if this peer may encapsulate messages of others. */
  forwarder(peer: PeerId, identity?: PeerIdentity): Admission;
}

export const admitAll: AccessPolicy = {
  client: () => ({ admitted: true }),
  isInside: () => true,
  rightsOf: () => undefined,
  limitsOf: () => undefined,
  qosMinusOnePerSecond: 0,
  qosMinusOne: () => ({ admitted: true }),
  forwarder: () => ({ admitted: true }),
};
