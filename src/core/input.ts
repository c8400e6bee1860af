/** All inputs of the core. The time is an argument of `GatewayCore.handle` and comes with each input. */

import type { AccessPolicy } from "./access.ts";
import type { PayloadPolicy } from "./payloads.ts";
import type { BacklogRecord, LetterRecord, StoredState } from "./record.ts";
import type { BrokerLimits, CommitToken, Copies, LinkId, PeerId, Publication } from "./types.ts";

export type Input =
  /**
   * The sessions of an earlier run, in parts. Without `goesOn`, all parts come before the first datagram and before the
   * first deadline. With `goesOn`, clients are served while further parts come, and the last part has `isComplete`. Then
   * the first parts have: dead letters, known clients, the records of shared connections, and all sessions with
   * publications that are under way to a broker.
   */
  | {
      readonly kind: "restored";
      /** More sessions may come after the first datagram. */
      readonly goesOn?: true;
      /** All sessions are restored. */
      readonly isComplete?: true;
      readonly states?: readonly StoredState[];
      readonly known?: readonly string[];
      readonly letters?: readonly (readonly [id: number, clientId: string])[];
      /** The highest numbers that are used in the store; see `StoreReport`. */
      readonly highest?: { readonly queued: number; readonly letter: number };
    }
  /** The answer to `load`. Without `state` there is no stored session. `failed`: why it could not be read. */
  | { readonly kind: "loaded"; readonly clientId: string; readonly state?: StoredState; readonly failed?: string }
  /** A datagram arrived. From now on the bytes belong to the core. */
  | {
      readonly kind: "datagram";
      readonly from: PeerId;
      readonly bytes: Uint8Array;
      /** Replaces the current policy for the publication in this datagram, because a script has answered before. */
      readonly payloads?: PayloadPolicy;
    }
  /** A transport lost its link to a peer (Bluetooth). Not a DISCONNECT: the session stays. */
  | { readonly kind: "peerGone"; readonly peer: PeerId }
  /** The broker accepted the connection (again). */
  | {
      readonly kind: "linkUp";
      readonly linkId: LinkId;
      readonly sessionPresent: boolean;
      /** True: the connection is to another broker of the list than before, whose session may be out of date. */
      readonly elsewhere?: boolean;
      readonly limits: BrokerLimits;
    }
  /**
   * The broker refused CONNECT. The link tries again until it is closed. `reasonCode`: that of MQTT 5; return codes of 3.1.1 are
   * translated.
   */
  | {
      readonly kind: "linkRefused";
      readonly linkId: LinkId;
      readonly refusal: LinkRefusal;
      readonly reason: string;
      readonly reasonCode?: number;
    }
  /** The connection ended or could not be made. The link tries again until it is closed. */
  | ({ readonly kind: "linkDown"; readonly linkId: LinkId } & LinkEnd)
  /** The broker answered a `ping`. There is one answer for each, in their order. */
  | { readonly kind: "pong"; readonly linkId: LinkId }
  /** The link's send buffer passed its limit (true) or drained (false). */
  | { readonly kind: "linkCongested"; readonly linkId: LinkId; readonly congested: boolean }
  /** PUBLISH from the broker. `packetId` is 0 at QoS 0. The core decides when it is acknowledged. */
  | {
      readonly kind: "delivered";
      readonly linkId: LinkId;
      readonly publication: Publication;
      readonly packetId: number;
      readonly dup: boolean;
      /** MQTT 5 message expiry; undefined = never. */
      readonly expirySeconds?: number;
      /** MQTT 5: the ids of the gateway's subscriptions that this message is for. */
      readonly subscriptionIds?: readonly number[];
      /** Replaces the current policy for this publication, because a script has answered before. */
      readonly payloads?: PayloadPolicy;
    }
  /** PUBREL from the broker: it will not send this packet id again for the same publication. */
  | { readonly kind: "released"; readonly linkId: LinkId; readonly packetId: number }
  /**
   * An acknowledgement from the broker for a packet of the gateway. `code` is the MQTT 5 reason or 3.1.1 return code
   * (SUBACK).
   */
  | {
      readonly kind: "brokerAck";
      readonly linkId: LinkId;
      readonly ack: "puback" | "pubrec" | "pubcomp" | "suback" | "unsuback";
      readonly packetId: number;
      readonly code: number;
    }
  /** The answer to `askCopies`. Undefined: it could not be found out. */
  | { readonly kind: "copiesKnown"; readonly upstream: string; readonly copies: Copies | undefined }
  /** The changes under this token are as durable as the configuration asks. */
  | { readonly kind: "persisted"; readonly token: CommitToken }
  | { readonly kind: "persistFailed"; readonly token: CommitToken; readonly reason: string }
  /** Records of a client's backlog, in order. If there are fewer than requested, there are no more. */
  | {
      readonly kind: "fetched";
      readonly clientId: string;
      readonly entries: readonly (readonly [id: number, record: BacklogRecord])[];
      /** Why the entries could not be read; absent: they were read. */
      readonly failed?: string;
    }
  /** The operator changed the predefined topics (SIGHUP). Ids in use keep their meaning until the client reconnects. */
  | { readonly kind: "predefinedChanged"; readonly predefined: PredefinedTopics }
  /** The operator changed the access rules (SIGHUP). Clients that are not admitted any more are disconnected at once. */
  | { readonly kind: "accessChanged"; readonly access: AccessPolicy }
  /** The policy for messages that are accepted from now on; stored messages are not changed. */
  | { readonly kind: "payloadsChanged"; readonly payloads: PayloadPolicy | undefined }
  /** The retained state of a client without a session must be removed at the broker. If the client has a session, it is kept. */
  | { readonly kind: "stateUnwanted"; readonly clientId: string }
  /** The operator ends a session. Only its publications that the broker does not have yet are kept. */
  | { readonly kind: "dropSession"; readonly clientId: string }
  /** The operator wants dead letters to be sent again, or deleted. */
  | {
      readonly kind: "republish";
      readonly letters: readonly (readonly [id: number, record: LetterRecord])[];
      readonly payloads?: PayloadPolicy;
    }
  | { readonly kind: "purge"; readonly ids: readonly number[] }
  /** The process stood still for at most this time. Given before any later input. */
  | { readonly kind: "stoodStill"; readonly ms: number }
  /**
   * The operator deletes messages of a client that the broker does not have yet: those in flight under a matching topic
   * (undefined: all), and these records of its backlog.
   */
  | {
      readonly kind: "purgeUplink";
      readonly clientId: string;
      readonly topicFilter: string | undefined;
      readonly entries: readonly (readonly [id: number, record: BacklogRecord])[];
    }
  /** The operator deletes messages that wait for a client, or publishes one to it. */
  | { readonly kind: "purgeDownlink"; readonly clientId: string }
  | { readonly kind: "sendDown"; readonly clientId: string; readonly publication: Publication }
  /** The wall clock was set, or can be trusted from now on. */
  | { readonly kind: "clockSet" }
  /** The process will end: send DISCONNECT where it is needed. */
  | { readonly kind: "shutdown" };

/**
 * The side or cause that ended a connection.
 *
 * `peer`: the broker closed it: FIN, DISCONNECT, or RST after CONNECT was sent (a broker that closes a connection sends
 * RST if it has not read all octets of the gateway). `linkUp` has said whether the broker had accepted CONNECT.
 * `silent`: PINGREQ or CONNECT was not answered in time. `network`: the connection could not be made, or broke on the
 * way: time-out, unreachable, refused, a name without an address, TLS. `ours`: the gateway closed the connection or did
 * not begin it, because the broker broke the rules, or because the gateway uses another broker of the list.
 */
export type LinkEndCause = "peer" | "silent" | "network" | "ours";

/** The facts about the end of a connection. */
export interface LinkEnd {
  readonly reason: string;
  /**
   * Another connection with the gateway's client id replaced this one. Reconnecting at once would replace the other one
   * again.
   */
  readonly takenOver: boolean;
  readonly cause: LinkEndCause;
  /** The reason code of the broker's DISCONNECT (MQTT 5), or of the gateway's own if it had to give a reason. */
  readonly reasonCode?: number;
  /**
   * True if the broker sent any packet after its CONNACK, for example an answer to PINGREQ; its DISCONNECT does not
   * count.
   */
  readonly showedLife: boolean;
}

/** The broker's reason for a refusal, as far as MQTT-SN can express it for a device. */
export type LinkRefusal = "congestion" | "notSupported";

/**
 * Topic ids that client and gateway know beforehand. A client's own ids have priority over those for all.
 * [MQTT-SN 1.2 §6.7]
 */
export interface PredefinedTopics {
  readonly forAll: ReadonlyMap<number, string>;
  readonly byClientId: ReadonlyMap<string, ReadonlyMap<number, string>>;
}
