/** The events that the core reports for log, metrics and the live view: names and values, no sentences. */
import type { Way } from "./access.ts";
import type { ClientState, Copies, PeerId, QoS } from "./types.ts";
import type { Reason } from "./words.ts";

/**
 * Reasons for drops and refusals. The names are stable: metrics and tests match them. Their meaning and advice are in
 * observe/drop-reasons.ts.
 */
export const dropReasons = [
  "malformed",
  "mqtt-sn-2.0", //            a CONNECT of a version that is not spoken here
  "unexpected-type",
  "unknown-sender",
  "not-admitted",
  "topic-not-allowed",
  "over-limit",
  "quarantined",
  "client-id-taken",
  "id-in-use",
  "encapsulation-not-allowed",
  "qos-minus-one-not-allowed",
  "qos-minus-one-topic",
  "message-id-zero",
  "unmatched-ack",
  "unknown-topic-id",
  "clock-not-set",
  "too-large-for-peer",
  "too-large-for-client",
  "payload-unfit", //          a command that cannot be made into the device's octets
  "too-large-for-broker",
  "buffer-full",
  "superseded",
  "not-buffered",
  "expired",
  "refused-by-client",
  "unanswered",
  "registration-refused",
  "topic-ids-exhausted",
  "session-ended",
  "retained-again",
  "unsafe-topic",
  "link-down",
  "uplink-congested",
  "backlog-full",
  "store-failing",
  "refused-by-broker",
  "purged", //                 the operator did not want it any more
  "too-many-pending",
  "rate-limited",
  "too-many-answers",
  "not-proven",
  "no-place",
  "not-restored", //           too much waits for sessions that are still restored
  "repeat",
] as const;

export type DropReason = (typeof dropReasons)[number];

export type GatewayEvent =
  | {
      readonly event: "client_state";
      readonly clientId: string;
      readonly state: ClientState;
      readonly peer: PeerId | undefined;
      readonly why: string;
    }
  | {
      readonly event: "client_moved";
      readonly clientId: string;
      readonly from: PeerId | undefined;
      readonly to: PeerId;
    }
  /** Another device connects again and again with this client's id, and is refused for a pause. */
  | { readonly event: "id_in_use"; readonly clientId: string; readonly peer: PeerId; readonly other: PeerId }
  | { readonly event: "session_ended"; readonly clientId: string; readonly why: string }
  | {
      readonly event: "connect_refused";
      readonly clientId: string;
      readonly peer: PeerId;
      readonly reason: Reason;
      readonly why: string;
    }
  | {
      readonly event: "not_admitted";
      readonly clientId: string | undefined;
      readonly peer: PeerId;
      readonly what: "client" | "qosMinusOne" | "forwarder";
      readonly hint: string;
    }
  /** The client has exceeded its limits again and again, and is ignored for so many seconds. */
  | {
      readonly event: "client_quarantined";
      readonly clientId: string;
      readonly peer: PeerId | undefined;
      readonly seconds: number;
    }
  /** Access rules do not allow a client (undefined: a sender without a connection) to use a topic or filter. */
  | {
      readonly event: "topic_not_allowed";
      readonly clientId: string | undefined;
      readonly peer: PeerId | undefined;
      readonly way: Way;
      readonly topic: string;
      readonly hint: string;
    }
  | {
      readonly event: "drop";
      readonly reason: DropReason;
      readonly clientId: string | undefined;
      readonly peer: PeerId | undefined;
      readonly detail: string;
    }
  | { readonly event: "will_published"; readonly clientId: string; readonly by: "gateway" | "broker" }
  | {
      readonly event: "link_state";
      readonly clientId: string | undefined;
      /** The name in `upstreams`; "" is the default one. */
      readonly upstream: string;
      readonly up: boolean;
      readonly why: string;
    }
  /**
   * Clients that share a connection have overlapping filters. The event says how the broker sends copies. Undefined: it
   * could not be found out.
   */
  | { readonly event: "copies_known"; readonly upstream: string; readonly copies: Copies | undefined }
  | { readonly event: "qos2_uncertain"; readonly clientId: string; readonly packetId: number }
  /**
   * The broker answers a publication as if it had another QoS. Reported for the first one on this connection. No
   * client: it is a publication of the gateway itself.
   */
  | {
      /** A payload does not fit its declaration. From a device: it is sent unchanged. To a device: it is dropped. */
      readonly event: "payload_unfit";
      readonly clientId: string | undefined;
      readonly peer: PeerId | undefined;
      readonly topicName: string;
      readonly direction: "up" | "down";
      /** The cause, with the field and the octet of the error. */
      readonly why: string;
      /** The length of the payload, and its first octets in hexadecimal. */
      readonly octets: number;
      readonly begin: string;
    }
  | {
      readonly event: "other_qos_answered";
      readonly clientId: string | undefined;
      /** The QoS of the publication. */
      readonly qos: QoS;
      readonly answer: "puback" | "pubrec" | "pubcomp";
    }
  /**
   * The broker has repeatedly closed the connection after this packet, so the packet is not sent any more. No client:
   * the packet is a request for all clients of a shared connection.
   */
  | {
      readonly event: "packet_taken_out";
      readonly clientId: string | undefined;
      readonly packet: "publish" | "will" | "subscribe" | "unsubscribe";
      /** Topic or filter, as the broker knows it. */
      readonly topic: string;
      readonly qos: QoS;
      /** The size of the payload. */
      readonly bytes: number;
      /** The number of packets that were sent on the connection when it last ended after this packet, including it. */
      readonly ordinal: number;
    }
  /** The broker closes the connection for a CONNECT with this will. No client: the gateway's own status message. */
  | {
      readonly event: "will_refused";
      readonly clientId: string | undefined;
      readonly topic: string;
      readonly qos: QoS;
      readonly bytes: number;
      /** True: the client is connected without its will; false: its CONNECT is refused. */
      readonly isConnected: boolean;
    }
  | { readonly event: "persist_failed"; readonly why: string }
  /** The store accepts changes again. */
  | { readonly event: "persist_recovered" }
  /** The process did not run for so many milliseconds. */
  | { readonly event: "stood_still"; readonly ms: number }
  /**
   * `count` messages of this client wait on disk for the broker. Reported for the first one, and when none waits any
   * more.
   */
  | { readonly event: "backlog"; readonly clientId: string; readonly count: number };
