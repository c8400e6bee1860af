/** The types that core and edges share. */

/** Milliseconds on a monotonic clock. Never wall time. */
export type Instant = number;

/**
 * A transport address: `<transport name>/<address within it>`, for a node behind a forwarder followed by `#<Wireless Node Id in hex>`. A
 * transport makes those of its own network. All other functions that make or read one are in peer-id.ts.
 */
export type PeerId = `${string}/${string}`;

/** The identity of a peer, as far as its network can tell. */
export interface PeerIdentity {
  /** An address, or another name of the peer. */
  readonly name: string;
  /**
   * The origin of the name. `address`: the address of the sender, which can be forged. `network`: reported by another node, as a forwarder
   * reports its nodes. All others are proved with a secret.
   */
  readonly by: "psk" | "certificate" | "bond" | "address" | "network";
  /** True if the peer has proved that the name is its own. */
  readonly verified: boolean;
  /** Client ids that the peer may use: {identity} is its name, * and ? are as in rules. Absent: any. */
  readonly clients?: string;
}

/**
 * One MQTT connection with its reconnects. A new connection gets a new id, also for the same client. Only link-id.ts
 * makes and parses link ids.
 */
export type LinkId = `${string}~${number}`;

/** The number of a group of changes that is on disk as a whole or not at all. The numbers count up from 1. */
export type CommitToken = number;

export type QoS = 0 | 1 | 2;

/**
 * A rule for the pause before the next attempt. `first`: begin with the shortest, because the connection was of use.
 * `least`: the shortest, and the attempt is not counted. `bounded`: doubled as usual, but limited, because the core
 * searches for a suspected packet and others wait.
 */
export type KnownPause = "first" | "least" | "bounded";

/** The kind of topic in the client's SUBSCRIBE; messages to the client use the same kind. [MQTT-SN 1.2 §6.10] */
export type SubscribedBy = "name" | "predefined" | "short";

/** The application message that passes through the gateway. */
export interface Publication {
  readonly topicName: string;
  readonly payload: Uint8Array;
  readonly qos: QoS;
  readonly retain: boolean;
  /** Carried with the publication everywhere; undefined if there are no further properties. */
  readonly meta?: PublicationMeta;
}

/**
 * The properties of a publication besides topic and payload. Devices never see them; brokers of MQTT 5 do. At most 4096
 * octets as `metaBytes` counts: the creator must keep this limit. [MQTT 5 3.3.2.3]
 */
export interface PublicationMeta {
  /** Time when the message was accepted, in milliseconds since 1970: at a broker the user property `accepted`. */
  readonly originAt?: number;
  /** The user properties in their order; names may occur more than once. */
  readonly userProperties?: readonly (readonly [name: string, value: string])[];
  readonly contentType?: string;
  readonly responseTopic?: string;
  readonly correlationData?: Uint8Array;
  /** Message expiry in seconds, counted from its arrival at the gateway. */
  readonly expirySeconds?: number;
}

/** The message that is published when a client is lost. [MQTT-SN 1.2 §6.3] */
export interface Will extends Publication {}

/**
 * The limits of a broker: the lower of its CONNACK and the configuration. The core keeps these limits. A broker of MQTT
 * 3.1.1 announces none.
 */
export interface BrokerLimits {
  /** QoS 1 and 2 publications unacknowledged at a time. Default 65535. */
  readonly receiveMaximum: number;
  /** The limit for those at QoS 2. Absent = no limit. */
  readonly exactlyOnceMaximum?: number;
  readonly maximumQoS: QoS;
  readonly retainAvailable: boolean;
  /** Octets of a whole MQTT packet; undefined = the broker has announced no limit. */
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

/**
 * The number of copies that a broker sends to a connection with several matching filters: one, or one for each filter.
 */
export type Copies = "one" | "each";

/** The client's state as the gateway sees it. [MQTT-SN 1.2 §6.14, Fig. 4] */
export type ClientState = "active" | "asleep" | "awake" | "disconnected" | "lost";
