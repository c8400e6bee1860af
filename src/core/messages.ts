/** The messages a gateway sends, in one line each. */
import type { Message, ReturnCode } from "../wire/v12/messages.ts";
import type { QoS } from "./types.ts";

export { returnCodes } from "../wire/v12/messages.ts";

export const disconnect: Message = { type: "DISCONNECT", duration: undefined };

export const pingResp: Message = { type: "PINGRESP" };

export const willTopicReq: Message = { type: "WILLTOPICREQ" };

export const willMsgReq: Message = { type: "WILLMSGREQ" };

export function connAck(returnCode: ReturnCode): Message {
  return { type: "CONNACK", returnCode };
}

export function regAck(topicId: number, msgId: number, returnCode: ReturnCode): Message {
  return { type: "REGACK", topicId, msgId, returnCode };
}

export function pubAck(topicId: number, msgId: number, returnCode: ReturnCode): Message {
  return { type: "PUBACK", topicId, msgId, returnCode };
}

export function subAck(answer: { qos: QoS; topicId: number; msgId: number; returnCode: ReturnCode }): Message {
  return {
    type: "SUBACK",
    qos: answer.qos,
    topicId: answer.topicId,
    msgId: answer.msgId,
    returnCode: answer.returnCode,
  };
}
