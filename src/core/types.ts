/** The types that core and edges share. */

/** Milliseconds on a monotonic clock. Never wall time. */
export type Instant = number;

/**
 * A transport address: `<transport name>/<address within it>`, for a node behind a forwarder followed by `#<Wireless Node Id in hex>`. A
 * transport makes those of its own network. All other functions that make or read one are in peer-id.ts.
 */
export type PeerId = `${string}/${string}`;

/** Who a peer is, as far as its network can tell. */
export interface PeerIdentity {
  /** An address, or what else names the peer. */
  readonly name: string;
  /**
   * The origin of the name. `address`: the address of the sender, which can be forged. `network`: reported by another node, as a forwarder
   * reports its nodes. All others are proved with a secret.
   */
  readonly by: "psk" | "certificate" | "bond" | "address" | "network";
  /** Has the peer proved that the name is its own? */
  readonly verified: boolean;
  /** Client ids that it may have: {identity} is its name, * and ? are as in rules. Absent: it is bound to none. */
  readonly clients?: string;
}

/**
 * One MQTT connection with its reconnects. A new one gets a new id, also for the same client. Made and read in link-id.ts
 * only.
 */
export type LinkId = `${string}~${number}`;

/** Names a group of changes that is on disk as a whole, or not at all. Counts up from 1. */
export type CommitToken = number;

export type QoS = 0 | 1 | 2;

/**
 * What the core knows better of the pause before the next attempt. `first`: from the beginning, the connection was of use. `least`: the
 * shortest, and not counted. `bounded`: twice the last one, but short enough that others do not wait long: suspects are looked for.
 */
export type KnownPause = "first" | "least" | "bounded";

/** How a client named what it subscribed to; that is how messages come back. [MQTT-SN 1.2 §6.10] */
export type SubscribedBy = "name" | "predefined" | "short";

/** The application message that travels through us. */
export interface Publication {
  readonly topicName: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Travels with it everywhere; undefined where there is nothing to say. */
  readonly meta?: PublicationMeta;
}

/**
 * What a publication says of itself beside topic and payload; devices never see it, brokers of MQTT 5 do. At most 4096
 * octets as `metaBytes` counts: who makes one keeps to that. [MQTT 5 3.3.2.3]
 */
export interface PublicationMeta {
  /** Wall clock when it was accepted, ms since 1970: at a broker the user property `accepted`. */
  readonly originAt?: number;
  /** In their order; names may come more than once. */
  readonly userProperties?: readonly (readonly [name: string, value: string])[];
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Uint8Array;
  /** Message expiry, counted from when it came to us. */
  readonly expirySeconds?: number;
}

/** What is published when a client is lost. [MQTT-SN 1.2 §6.3] */
export interface Will extends Publication {}

/**
 * What a broker takes: the least of what it said in CONNACK and what the configuration says; the core keeps to it. MQTT
 * 3.1.1 says nothing.
 */
export interface BrokerLimits {
  /** QoS 1 and 2 publications unacknowledged at a time. Default 65535. */
  readonly receiveMaximum: number;
  /** The part of them at QoS 2. Absent = no limit. */
  readonly exactlyOnceMaximum?: number;
  readonly maximumQoS: QoS;
  readonly retainAvailable: boolean;
  /** Bytes of a whole MQTT packet; undefined = no limit said. */
  readonly maximumPacketBytes: number | undefined;
  readonly wildcardAvailable: boolean;
  /** `$share/`. */
  readonly sharedAvailable: boolean;
  readonly subscriptionIdsAvailable: boolean;
}

export const noLimits: BrokerLimits = {
  receiveMaximum: 65_535,
  maximumQoS: 2,
  retainAvailable: true,
  maximumPacketBytes: undefined,
  wildcardAvailable: true,
  sharedAvailable: true,
  subscriptionIdsAvailable: true,
};

/** How often a broker sends a message to a connection several of whose filters match it: once, or once for each. */
export type Copies = "one" | "each";

/** The client's state as the gateway sees it. [MQTT-SN 1.2 §6.14, Fig. 4] */
export type ClientState = "active" | "asleep" | "awake" | "disconnected" | "lost";
