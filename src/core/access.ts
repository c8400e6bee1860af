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
  /** May it ask for all names that this filter matches? */
  maySubscribe(filter: string): boolean;
  mayReceive(topicName: string): boolean;
  /** The line of configuration that would allow it. */
  hint(way: Way, topic: string): string;
}

/** Infinity: no limit. */
export interface DeviceLimits {
  readonly upPerSecond: number;
  /** Messages that may come at once. */
  readonly upBurst: number;
  readonly downPerSecond: number;
  readonly downBurst: number;
  /** Both ways, whole datagrams. */
  readonly octetsPerDay: number;
  /** After so many refusals in a row the gateway ignores the device. */
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
  /** Whether this client id may CONNECT from this peer, or continue. Called once for each CONNECT, not for each message. */
  client(clientId: string, peer: PeerId, identity: PeerIdentity): Admission;
  /** Whether this peer is in a network of the own site, where forged addresses are not expected. */
  isInside(peer: PeerId, identity?: PeerIdentity): boolean;
  /** Topics that it may use; undefined = all. Costs a look at every rule: to be kept as long as the policy and the peer stay. */
  rightsOf(holder: Holder): Rights | undefined;
  /** Undefined: there are none. */
  limitsOf(clientId: string): DeviceLimits | undefined;
  /** QoS -1 publications a second, of one host; 0 = no limit. */
  readonly qosMinusOnePerSecond: number;
  /** May this peer publish at QoS -1 without a connection? */
  qosMinusOne(peer: PeerId, identity?: PeerIdentity): Admission;
  /** May this peer encapsulate messages of others? */
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
