/** The options of the core: limits, timers, policies. Every limit says what happens when it is reached. */
import type { AccessPolicy } from "./access.ts";
import type { PredefinedTopics } from "./input.ts";
import type { PayloadPolicy } from "./payloads.ts";
import type { Copies, PeerId, PeerIdentity } from "./types.ts";

export interface CoreOptions {
  /** MQTT client ids of other gateways' own connections at the same brokers, which no client may have. */
  readonly reservedIds?: Pick<ReadonlySet<string>, "has">;
  /** 0..255. [§5.4.1] */
  readonly gatewayId: number;
  readonly retry: {
    /** T_retry towards clients. [§7.2] */
    readonly retryIntervalSeconds: number;
    /**
     * N_retry: repetitions after the first try. Then other messages come first, and a client that was silent meanwhile is lost, or asleep
     * again.
     */
    readonly retryLimit: number;
    /** The retry policy for one client; undefined = the general one. */
    readonly policyOf?: ((clientId: string, peer: PeerId | undefined) => RetryPolicy | undefined) | undefined;
    /** Pause after a client's "congestion" before the same message is tried again. */
    readonly congestionPauseSeconds: number;
  };
  readonly advertise: {
    /** T_ADV; 0 = never. */
    readonly intervalSeconds: number;
    /** Answer SEARCHGW by unicast, to the group, or both. */
    readonly gwinfo: "unicast" | "broadcast" | "both";
    readonly radius: number;
  };
  readonly clients: {
    /** Octets of a client id. Longer: CONNACK 0x03. */
    readonly clientIdBytesMax: number;
    /** Sessions, connected or not. At the limit one of them is ended (`SessionTable.toGiveUp`); if none may be, CONNACK says congestion. */
    readonly sessionsMax: number;
    /** Sessions per host, for clients without a proved name; each node behind a forwarder is a host. 0 = no limit. */
    readonly sessionsPerHostMax: number;
    /**
     * Octets to a client outside the site that has not answered yet, for each octet from it. Further messages wait. 0 =
     * no limit.
     */
    readonly unprovenFactorMax: number;
    /** Open will dialogues and open CONNECTs at the broker. At the limit, CONNACK says congestion. */
    readonly pendingMax: number;
    /** New sessions per second: in total, and per host. Beyond: CONNACK congestion. 0 = no limit. */
    readonly newPerSecondMax: number;
    readonly newPerSecondPerHostMax: number;
    /** The time after which a silent client with keep alive 0 is lost. */
    readonly idleSecondsMax: number;
    /** Seconds for which a disconnected or lost session with clean=0 is kept. */
    readonly sessionExpirySeconds: number;
    /** A sleeping client may return from another address with PINGREQ. [interpretation 3] */
    readonly roaming: boolean;
    /** QoS 1 and 2 publications of a client that wait for the broker. Beyond: PUBACK congestion. */
    readonly uplinkInFlightMax: number;
    /** Highest QoS granted in SUBACK, for clients that cannot do 2. */
    readonly subscriptionQoSMax: 0 | 1 | 2;
    readonly subscriptionsMax: number;
    /**
     * Milliseconds after which a session of a shared connection whose client sleeps, has disconnected or is lost, and for which nothing is
     * open, takes octets in place of objects (session/park.ts). 0 = at once; Infinity = never.
     */
    readonly parkAfterMs: number;
  };
  readonly topics: {
    readonly predefined: PredefinedTopics;
    /** The predefined id under which devices ask for the time; undefined: none. See session/time.ts. */
    readonly timeId?: number | undefined;
    /** Normal topic ids per client. Beyond: REGACK/SUBACK congestion; messages under unknown names are dropped. */
    readonly idsPerClientMax: number;
    /**
     * Octets of these names, of filters and of the will, for each client. Beyond the limit: as for `idsPerClientMax`.
     */
    readonly bytesPerClientMax: number;
  };
  readonly buffer: {
    /**
     * Messages that wait for one client. Beyond: the oldest one at QoS 0 is dropped; QoS 1 and 2 stay unacknowledged at
     * the broker.
     */
    readonly messagesMax: number;
    readonly bytesMax: number;
    /** The limit for all clients together. */
    readonly totalBytesMax: number;
    /**
     * Messages sent per wake-up in addition to those that waited at PINGREQ. After that the client gets PINGRESP, and
     * the rest next time.
     */
    readonly extraPerWakeMax: number;
    /** Messages sent per wake-up in all; Infinity = no limit. */
    perWakeMaxOf(clientId: string): number;
    /**
     * Returns the same object for all messages of one rule, because its limits count them together, for each client.
     */
    policyOf(clientId: string, topicName: string): BufferPolicy;
  };
  /** The broker of all clients for which `upstreams` names no other one. */
  readonly upstream: UpstreamPolicy;
  /** Further brokers; undefined = there are none. */
  readonly upstreams?: UpstreamsPolicy;
  readonly uplink: {
    /** Publications accepted for all clients together while the broker is away, and their size. */
    readonly messagesMax: number;
    readonly bytesMax: number;
    /** Stored messages sent per second when the broker is back, in total; new messages are not counted. */
    readonly drainPerSecond: number;
    policyOf(clientId: string): UplinkPolicy;
  };
  readonly deadLetters: {
    /** Dead letters of all clients together. At the limit the oldest one is deleted. 0 = none are kept. Needs `durable`. */
    readonly max: number;
    /** Each dead letter is also published under this topic, as JSON; undefined = it is not. */
    readonly topic: string | undefined;
    /** Keeps messages that a later message replaced, too. If sent again, they would be out of date. */
    readonly superseded: boolean;
  };
  readonly status: {
    /** Retained gateway and device states go under this topic; undefined = off. */
    readonly topic: string | undefined;
    /** True: the states of clients are published, and that of the gateway is not. */
    readonly ofClientsOnly?: boolean;
  };
  /**
   * Answers without a request (DISCONNECT) to unknown senders, per second in total. In addition, each sender gets one
   * per second at most.
   */
  readonly strangerAnswersPerSecondMax: number;
  readonly shutdown: { readonly wills: "keep" | "publish" };
  /** The policy for payloads at the start; absent: none. `payloadsChanged` replaces it. */
  readonly payloads?: PayloadPolicy | undefined;
  /** True if this peer may put a topic name in front of the payload of PUBLISH at QoS -1. [interpretation 20] */
  readonly longNameQoSMinusOne: (peer: PeerId | undefined) => boolean;
  /** Emit `persist` effects. False if the store does not keep them over a restart. */
  readonly durable: boolean;
  /** The access rules at the start; `accessChanged` replaces them. */
  readonly access: AccessPolicy;
  /** SUBSCRIBEs in flight while all filters of a shared connection are subscribed to again; absent: 256. */
  readonly askedAtOnce?: number;
  /** Rows of sessions that are checked in one step after new access rules; absent: 1,000. */
  readonly reviewedAtOnce?: number;
}

/** The options of one upstream, as far as the core needs them. */
export interface UpstreamPolicy {
  /** An MQTT connection per client, or one (or `connections`) that all clients share. [§4.1, §4.2] */
  readonly mode: "transparent" | "aggregating";
  /** The number of connections of an aggregating upstream; a client always uses the same one. */
  readonly connections: number;
  readonly protocol: "3.1.1" | "5";
  /**
   * On a shared connection: does the broker send a message once, or once for each filter that matches it? Absent: the
   * gateway finds it out. With MQTT 5 each copy names its filters.
   */
  readonly copies?: Copies | undefined;
  /**
   * The places of the upstream's brokers, in a form that can be compared: two upstreams with a common place may use the
   * same broker. Absent: any place.
   */
  readonly places?: readonly string[];
  readonly clientIdPrefix: string;
  readonly topicPrefix: string;
  /**
   * The MQTT client id of the gateway's own connection, which is used for QoS -1 and status, and shows whether the
   * broker can be reached.
   */
  readonly serviceClientId: string;
  /**
   * MQTT 5: user properties name the sender and its signal strength, and the time of acceptance if the message waited.
   */
  readonly tellsSender?: boolean;
  readonly will: {
    readonly held: "broker" | "gateway";
    /** MQTT 5: seconds that the broker waits with a will after the connection broke. With 3.1.1 it does not wait. */
    readonly delaySeconds: number;
  };
  /** Octets of a payload from a device. Beyond: PUBACK 0x03. */
  readonly payloadBytesMax: number;
  /**
   * Publications towards a client that the gateway has not acknowledged. The broker may have this many open on each
   * link.
   */
  readonly receiveMaximum: number;
}

export interface UpstreamsPolicy {
  /** Names are unique and not empty. */
  readonly named: readonly { readonly name: string; readonly policy: UpstreamPolicy }[];
  /**
   * The upstream by the first rule that fits; undefined = the default one. `clientId` is undefined for QoS -1 without a
   * session.
   */
  nameOf(clientId: string | undefined, peer: PeerId | undefined): string | undefined;
}

/** The handling of publications at QoS 1 and 2 while the broker cannot be reached. */
export interface UplinkPolicy {
  /** `store`: write to disk, then acknowledge (needs `durable`). `refuse`: PUBACK congestion. */
  readonly whenAway: "store" | "refuse";
  /** Store QoS 0 too. */
  readonly qos0: boolean;
  /** Messages for each client. */
  readonly messagesMax: number;
  readonly bytesMax: number;
  /** Older messages are dropped when it is their turn; 0 = none are. Only while the clock can be trusted. */
  readonly ageSecondsMax: number;
  /**
   * The behaviour at a limit: the client gets "congestion", or its oldest message is dropped, or the new one is
   * dropped.
   */
  readonly atLimit: "refuse" | "oldest" | "newest";
}

/** How messages to a client are repeated. */
export interface RetryPolicy {
  readonly intervalMs: number;
  readonly limit: number;
}

/** The handling of messages that wait for a client. */
export interface BufferPolicy {
  /** Messages older than this are dropped, except one that the client may have received; 0 = none are. */
  readonly timeToLiveSeconds: number;
  /** Messages of this rule that wait for one client, and their size; Infinity = the client's limits alone. */
  readonly messagesMax: number;
  readonly bytesMax: number;
  /**
   * The behaviour at a limit. `leave`: messages at QoS 1 and 2 stay unacknowledged at the broker, and the oldest one at
   * QoS 0 is dropped. `oldest`: the oldest message of this rule is dropped. `newest`: the new message is dropped.
   */
  readonly atLimit: "leave" | "oldest" | "newest";
  /** `latest`: a new message replaces those that wait under the same topic name. */
  readonly keep: "all" | "latest";
  /** Keep QoS 0 for sleepers. [§6.14] */
  readonly qos0WhileAsleep: boolean;
  /** Octets of a payload that the client can process. Longer ones are dropped at once; undefined = not known. */
  readonly payloadBytesMax?: number | undefined;
}

/** Facts that the core may read at any time, synchronously. */
export interface CoreEnvironment {
  /** Largest message that this peer's network takes now, in bytes. */
  maxMessageBytes(peer: PeerId): number;
  /** The address that all peers of one host share (an IP address), for limits per host. */
  hostOf(peer: PeerId): string;
  /** The identity of this peer, as its network knows it. */
  identityOf(peer: PeerId): PeerIdentity;
  /** Signal strength of the last message of this peer, in dBm; undefined if its network does not report it. */
  rssiOf?(peer: PeerId): number | undefined;
  /** Milliseconds since 1970; undefined while the clock cannot be trusted. */
  wallClock(): number | undefined;
  /** 0 <= x < 1; seeded in tests. */
  random(): number;
}
