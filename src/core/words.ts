/**
 * The messages between a client and the gateway, in the terms that every version of MQTT-SN has: named reasons, flags
 * as fields, a topic as its kind and its id or name. A dialect converts between these types and octets. What only one
 * version has (a protocol id, a number for each reason) stays in the dialect. Names of messages and fields are those of
 * MQTT-SN 1.2, which most people know.
 *
 * A message from a client is the object that its dialect decoded: each type names only the fields that a procedure
 * reads.
 */
import type { QoSOrMinusOne, Text, TopicReference } from "../wire/fields.ts";
import type { QoS } from "./types.ts";

/** The result of a request. */
export type Reason = "accepted" | "congestion" | "invalidTopicId" | "notSupported";

/**
 * The way in which a message names its topic: by an id that client and gateway agreed on in this session, by an id that
 * both know beforehand, by two octets, or in full. `reserved`: in a way that the client's version leaves undefined.
 */
export type TopicKind = "normal" | "predefined" | "short" | "name" | "reserved";

// Messages from a client.

/** Any message, with the fields that all parts read. */
export interface FromClient {
  /** The name of the message, for counters and for people. */
  readonly type: string;
  readonly clientId?: Text;
}

export interface Connect {
  readonly clientId: Text;
  /** A dialogue about the client's will follows. */
  readonly will: boolean;
  readonly cleanSession: boolean;
  /** Keep alive, seconds. */
  readonly duration: number;
}

export interface WillTopic {
  /** Undefined: the client deletes its will. */
  readonly willTopic: Text | undefined;
  readonly qos: QoSOrMinusOne;
  readonly retain: boolean;
}

export interface WillMsg {
  readonly willMsg: Uint8Array;
}

export interface Register {
  readonly msgId: number;
  readonly topicName: Text;
}

export interface Publish {
  readonly dup: boolean;
  /** -1: a publication without a connection, which gets no answer. */
  readonly qos: QoSOrMinusOne;
  readonly retain: boolean;
  readonly topicIdType: TopicKind;
  /** 0 if the kind is `name`. For a short name, the two octets as one number, first octet high. */
  readonly topicId: number;
  /** The topic name, if the kind is `name`. */
  readonly topicName?: Text;
  readonly msgId: number;
  readonly data: Uint8Array;
}

/** The ids in a client's answer to a PUBLISH of the gateway. */
export interface AnsweredPublish {
  readonly topicId: number;
  readonly msgId: number;
}

export interface Unsubscribe {
  readonly topicIdType: TopicKind;
  readonly msgId: number;
  /** For `normal` and `name`: the filter. For `predefined` and `short`: a number. */
  readonly topic: TopicReference;
}

export interface Subscribe extends Unsubscribe {
  readonly qos: QoSOrMinusOne;
}

// Messages to a client.

export type ToClient =
  | { readonly type: "ADVERTISE"; readonly gwId: number; readonly duration: number }
  | { readonly type: "GWINFO"; readonly gwId: number; readonly gwAdd: Uint8Array }
  | Each<"CONNACK" | "WILLTOPICRESP" | "WILLMSGRESP", { readonly reason: Reason }>
  | Each<"WILLTOPICREQ" | "WILLMSGREQ" | "PINGRESP", unknown>
  | { readonly type: "REGISTER"; readonly topicId: number; readonly msgId: number; readonly topicName: string }
  | PublishToClient
  | PublishByName
  | Each<"REGACK" | "PUBACK", { readonly topicId: number; readonly msgId: number; readonly reason: Reason }>
  | Each<"PUBREC" | "PUBREL" | "PUBCOMP" | "UNSUBACK", { readonly msgId: number }>
  | {
      readonly type: "SUBACK";
      /** The QoS that was granted. */
      readonly qos: QoS;
      readonly topicId: number;
      readonly msgId: number;
      readonly reason: Reason;
    }
  | { readonly type: "DISCONNECT"; readonly duration: undefined };

/** Messages of several names that have the same fields. */
type Each<Names extends string, Fields> = Names extends string ? { readonly type: Names } & Fields : never;

interface PublicationToClient {
  readonly type: "PUBLISH";
  readonly dup: boolean;
  readonly qos: QoS;
  readonly retain: boolean;
  /** 0 at QoS 0. */
  readonly msgId: number;
  readonly data: Uint8Array;
}

export interface PublishToClient extends PublicationToClient {
  readonly topicIdType: "normal" | "predefined" | "short";
  readonly topicId: number;
}

/** To a client whose dialect has no ids for topics. */
export interface PublishByName extends PublicationToClient {
  readonly topicIdType: "name";
  readonly topicName: string;
}
