/** Makes the message of a request. [MQTT-SN 1.2 §5.4] */
import type { Connect, Message, WillMsg, WillTopic } from "../wire/v12/messages.ts";
import type { Request, TopicNaming } from "./request.ts";
import { shortId, type TopicOnAir } from "./topic-table.ts";

/** `topic`: the topic of a PUBLISH. */
export function messageOf(
  request: Request,
  clientId: string,
  dup: boolean,
  topic: TopicOnAir | undefined,
): Message | undefined {
  switch (request.kind) {
    case "connect":
      return connectMessage(request, clientId);
    case "register":
      return { type: "REGISTER", topicId: 0, msgId: request.msgId, topicName: request.topicName };
    case "publish":
      if (request.stage === "release") return { type: "PUBREL", msgId: request.msgId };
      return topic && publishMessage(request, dup, topic);
    case "subscribe":
      return { type: "SUBSCRIBE", dup, qos: request.qos, msgId: request.msgId, ...reference(request.topic) };
    case "unsubscribe":
      return { type: "UNSUBSCRIBE", msgId: request.msgId, ...reference(request.topic) };
    case "willTopic":
      return {
        type: "WILLTOPICUPD",
        qos: request.will?.qos ?? 0,
        retain: request.will?.retain ?? false,
        willTopic: request.will?.topicName,
      };
    case "willMessage":
      return { type: "WILLMSGUPD", willMsg: request.payload };
    case "sleep":
      return { type: "DISCONNECT", duration: request.seconds };
    case "wake":
      return { type: "PINGREQ", clientId };
    case "ping":
      return { type: "PINGREQ", clientId: "" };
    case "disconnect":
      return { type: "DISCONNECT", duration: undefined };
  }
}

function publishMessage(request: Extract<Request, { kind: "publish" }>, dup: boolean, topic: TopicOnAir): Message {
  const { qos, retain, msgId, payload } = request;
  return {
    type: "PUBLISH",
    dup: dup && qos > 0,
    qos,
    retain,
    topicIdType: topic.type,
    topicId: topic.id,
    msgId,
    data: payload,
  };
}

function connectMessage(
  request: Extract<Request, { kind: "connect" }>,
  clientId: string,
): Connect | WillTopic | WillMsg {
  const { clean, keepAliveSeconds, will, stage } = request;
  if (stage === "willTopic" && will) {
    return { type: "WILLTOPIC", qos: will.qos, retain: will.retain, willTopic: will.topicName };
  }
  if (stage === "willMsg" && will) return { type: "WILLMSG", willMsg: will.payload };
  return {
    type: "CONNECT",
    will: will !== undefined,
    cleanSession: clean,
    protocolId: 1,
    duration: keepAliveSeconds,
    clientId,
  };
}

function reference(topic: TopicNaming): { topicIdType: "normal" | "short" | "predefined"; topic: string | number } {
  if (topic.by === "predefined") return { topicIdType: "predefined", topic: topic.topicId };
  if (topic.by === "name") return { topicIdType: "normal", topic: topic.topicName };
  return { topicIdType: "short", topic: shortId(topic.topicName) };
}
