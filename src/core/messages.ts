/** Makes the messages that a gateway sends, with one function for each. */
import type { QoS } from "./types.ts";
import type { Reason, ToClient } from "./words.ts";

export const disconnect: ToClient = { type: "DISCONNECT", duration: undefined };

export const pingResp: ToClient = { type: "PINGRESP" };

export const willTopicReq: ToClient = { type: "WILLTOPICREQ" };

export const willMsgReq: ToClient = { type: "WILLMSGREQ" };

export function connAck(reason: Reason): ToClient {
  return { type: "CONNACK", reason };
}

export function regAck(topicId: number, msgId: number, reason: Reason): ToClient {
  return { type: "REGACK", topicId, msgId, reason };
}

export function pubAck(topicId: number, msgId: number, reason: Reason): ToClient {
  return { type: "PUBACK", topicId, msgId, reason };
}

export function subAck(answer: { qos: QoS; topicId: number; msgId: number; reason: Reason }): ToClient {
  return {
    type: "SUBACK",
    qos: answer.qos,
    topicId: answer.topicId,
    msgId: answer.msgId,
    reason: answer.reason,
  };
}
