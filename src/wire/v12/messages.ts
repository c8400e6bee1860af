/**
 * Every message of MQTT-SN 1.2. Names, directions and field order follow the standard; see `codec.ts` for the bytes.
 *
 * `clientId`, `topicName` and `willTopic` are `Text`: a `Uint8Array` means "these octets are not valid UTF-8".
 */
import type { QoS, QoSOrMinusOne, Text, TopicIdType, TopicReference } from "../fields.ts";

/** The return codes. [§5.3.10] */
export const returnCodes = { accepted: 0, congestion: 1, invalidTopicId: 2, notSupported: 3 } as const;
/** A return code as received: 0x04..0xFF are reserved and read as a rejection. */
export type ReturnCode = number;
export type ReturnCodeName = keyof typeof returnCodes;

export interface Advertise {
  readonly type: "ADVERTISE";
  readonly gwId: number;
  /** Seconds until the next ADVERTISE. */
  readonly duration: number;
}
export interface SearchGw {
  readonly type: "SEARCHGW";
  readonly radius: number;
}
export interface GwInfo {
  readonly type: "GWINFO";
  readonly gwId: number;
  /** Opaque. A gateway never sends this field; it is empty then. */
  readonly gwAdd: Uint8Array;
}
export interface Connect {
  readonly type: "CONNECT";
  readonly will: boolean;
  readonly cleanSession: boolean;
  readonly protocolId: number;
  /** Keep alive, seconds. */
  readonly duration: number;
  readonly clientId: Text;
}
export interface ConnAck {
  readonly type: "CONNACK";
  readonly returnCode: ReturnCode;
}
export interface WillTopicReq {
  readonly type: "WILLTOPICREQ";
}
interface WillTopicFields {
  readonly qos: QoSOrMinusOne;
  readonly retain: boolean;
  /**
   * Undefined in the form of two octets that deletes the will. "" means that the flags came without a topic, which is
   * refused.
   */
  readonly willTopic: Text | undefined;
}
export interface WillTopic extends WillTopicFields {
  readonly type: "WILLTOPIC";
}
export interface WillMsgReq {
  readonly type: "WILLMSGREQ";
}
export interface WillMsg {
  readonly type: "WILLMSG";
  readonly willMsg: Uint8Array;
}
export interface Register {
  readonly type: "REGISTER";
  readonly topicId: number;
  readonly msgId: number;
  readonly topicName: Text;
}
export interface RegAck {
  readonly type: "REGACK";
  readonly topicId: number;
  readonly msgId: number;
  readonly returnCode: ReturnCode;
}
export interface Publish {
  readonly type: "PUBLISH";
  readonly dup: boolean;
  readonly qos: QoSOrMinusOne;
  readonly retain: boolean;
  readonly topicIdType: TopicIdType;
  /** The id, or the two octets of a short name as one number, first octet high. */
  readonly topicId: number;
  readonly msgId: number;
  readonly data: Uint8Array;
}
export interface PubAck {
  readonly type: "PUBACK";
  readonly topicId: number;
  readonly msgId: number;
  readonly returnCode: ReturnCode;
}
export interface PubRec {
  readonly type: "PUBREC";
  readonly msgId: number;
}
export interface PubRel {
  readonly type: "PUBREL";
  readonly msgId: number;
}
export interface PubComp {
  readonly type: "PUBCOMP";
  readonly msgId: number;
}
export interface Subscribe {
  readonly type: "SUBSCRIBE";
  readonly dup: boolean;
  readonly qos: QoSOrMinusOne;
  readonly topicIdType: TopicIdType;
  readonly msgId: number;
  /** normal: text; predefined and short: a number; reserved: the octets. */
  readonly topic: TopicReference;
}
export interface SubAck {
  readonly type: "SUBACK";
  /** The QoS that was granted. */
  readonly qos: QoS;
  readonly topicId: number;
  readonly msgId: number;
  readonly returnCode: ReturnCode;
}
export interface Unsubscribe {
  readonly type: "UNSUBSCRIBE";
  readonly topicIdType: TopicIdType;
  readonly msgId: number;
  readonly topic: TopicReference;
}
export interface UnsubAck {
  readonly type: "UNSUBACK";
  readonly msgId: number;
}
export interface PingReq {
  readonly type: "PINGREQ";
  /** "" if it is absent. */
  readonly clientId: Text;
}
export interface PingResp {
  readonly type: "PINGRESP";
}
export interface Disconnect {
  readonly type: "DISCONNECT";
  /** Seconds; undefined = absent. */
  readonly duration: number | undefined;
}
export interface WillTopicUpd extends WillTopicFields {
  readonly type: "WILLTOPICUPD";
}
export interface WillTopicResp {
  readonly type: "WILLTOPICRESP";
  readonly returnCode: ReturnCode;
}
export interface WillMsgUpd {
  readonly type: "WILLMSGUPD";
  readonly willMsg: Uint8Array;
}
export interface WillMsgResp {
  readonly type: "WILLMSGRESP";
  readonly returnCode: ReturnCode;
}

export type Message =
  | Advertise
  | SearchGw
  | GwInfo
  | Connect
  | ConnAck
  | WillTopicReq
  | WillTopic
  | WillMsgReq
  | WillMsg
  | Register
  | RegAck
  | Publish
  | PubAck
  | PubRec
  | PubRel
  | PubComp
  | Subscribe
  | SubAck
  | Unsubscribe
  | UnsubAck
  | PingReq
  | PingResp
  | Disconnect
  | WillTopicUpd
  | WillTopicResp
  | WillMsgUpd
  | WillMsgResp;

export type MessageType = Message["type"];

/** A message that can be encoded. A return code may be given by its name instead of its number. */
export type Writable = Message | Named<Extract<Message, { returnCode: ReturnCode }>>;

type Named<M> = M extends { returnCode: ReturnCode }
  ? Omit<M, "returnCode"> & { readonly reason: ReturnCodeName }
  : never;
