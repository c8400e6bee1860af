/**
 * The gateway's side towards MQTT brokers: links, each one MQTT connection with its reconnects.
 *
 * A link carries packets and decides nothing: it does not resend, acknowledge, subscribe again or hold back. After
 * `open` it connects, and when the connection ends it tries again with jittered back-off until `close`.
 * Packets that are written while the link is down are dropped without an event: the core knows that the link is down
 * and resends.
 */
import type { LinkRequest } from "../core/effect.ts";
import type { LinkEnd, LinkRefusal } from "../core/input.ts";
import type { BrokerLimits, Copies, KnownPause, LinkId, Publication, QoS } from "../core/types.ts";

/**
 * Reports to the operator's log. One line in a minute is enough for each `kind`; absent: the text itself is the kind.
 */
export type Notice = (level: "info" | "warn", say: string, kind?: string) => void;

export type BrokerAck = "puback" | "pubrec" | "pubcomp" | "suback" | "unsuback";

export interface UpstreamEvents {
  /** `elsewhere`: the broker is another one of the list than before. */
  up(linkId: LinkId, sessionPresent: boolean, limits: BrokerLimits, elsewhere?: boolean): void;
  /** The broker refused CONNECT. The code is that of MQTT 5. */
  refused(linkId: LinkId, refusal: LinkRefusal, reason: string, reasonCode?: number): void;
  /** The connection ended, or an attempt failed (also: no CONNACK within the connect time-out). Not called after `close`. */
  down(linkId: LinkId, end: LinkEnd): void;
  /** PINGRESP to a `ping`; answers to PINGREQs of the keep-alive are not reported. */
  pong(linkId: LinkId): void;
  notice?: Notice;
  congested(linkId: LinkId, congested: boolean): void;
  delivered(linkId: LinkId, delivery: Delivery): void;
  /** PUBREL. */
  released(linkId: LinkId, packetId: number): void;
  acked(linkId: LinkId, ack: BrokerAck, packetId: number, code: number): void;
}

export interface Delivery {
  readonly publication: Publication;
  /** The packet id; 0 at QoS 0. */
  readonly packetId: number;
  readonly dup: boolean;
  readonly expirySeconds?: number;
  readonly subscriptionIds?: readonly number[];
}

/** The options of a SUBSCRIBE in MQTT 5. */
export interface SubscribeDetails {
  /** For a connection that clients share: the broker returns the id with each message for this subscription. */
  readonly subscriptionId?: number;
  /** Retained messages are not wanted (Retain Handling 2). */
  readonly withoutRetained?: boolean;
}

export interface Upstream {
  start(events: UpstreamEvents): Promise<void>;
  /** Begins to connect. A link to an MQTT client id waits until an earlier one to the same id is closed. */
  open(request: LinkRequest): void;
  /** Ends a link and its reconnects. No event of this link comes afterwards. */
  close(linkId: LinkId, how: "disconnect" | "abandon", endSession: boolean): void;
  publish(linkId: LinkId, publication: Publication, packetId: number, dup: boolean): void;
  release(linkId: LinkId, packetId: number): void;
  subscribe(linkId: LinkId, packetId: number, topicFilter: string, qos: QoS, details?: SubscribeDetails): void;
  unsubscribe(linkId: LinkId, packetId: number, topicFilter: string): void;
  /** The next attempt comes after the given pause, instead of twice the last one. Called while the link is down. */
  pause(linkId: LinkId, pause: KnownPause): void;
  /** PINGREQ; the link answers with `pong`. */
  ping(linkId: LinkId): void;
  /** `puback` and `pubrec` acknowledge a delivery, `pubcomp` a release. */
  ack(linkId: LinkId, ack: "puback" | "pubrec" | "pubcomp", packetId: number): void;
  /**
   * Finds out how the broker sends a message to a connection several of whose filters match it. Uses this connection,
   * and topic names under `topic`. `done` is called once, never immediately. Undefined: it could not be found out
   * within about two seconds.
   */
  askCopies(request: LinkRequest, topic: string, done: (copies: Copies | undefined) => void): void;
  /** Ends every link within `deadlineMs`; idempotent. */
  shutdown(deadlineMs: number): Promise<void>;
}
