/**
 * The topic of a client's PUBLISH: the name in the message, or the name that its topic id stands for. [MQTT-SN 1.2
 * §5.4.12]
 */
import { isTopicName, shortNameFromId } from "../../wire/topic.ts";
import type { Context } from "../context.ts";
import { predefinedName } from "../state/predefined-topics.ts";
import type { Session } from "../state/session.ts";
import type { PeerId } from "../types.ts";
import type { Publish } from "../words.ts";
import { confirm } from "./session-record.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Topic name and payload of a message that its sender may send; undefined: the message is not allowed. Nothing is
 * counted or logged.
 */
export function publicationNamed(
  context: Context,
  sender: { readonly peer: PeerId; readonly session: Session | undefined },
  message: Publish,
): { readonly topicName: string; readonly payload: Uint8Array } | undefined {
  if (message.qos === -1) return withoutAnswerTopic(context, sender, message);
  const { session } = sender;
  if (!session) return undefined;
  const topicName =
    message.topicIdType === "normal"
      ? session.registry.byId(message.topicId)?.name
      : topicNameWithoutSession(context, session, message);
  return topicName === undefined ? undefined : { topicName, payload: message.data };
}

/** Topic name and payload of a publication at QoS -1; undefined: it has no topic, or not in an allowed form. [§6.8] */
export function withoutAnswerTopic(
  context: Context,
  { peer, session }: { readonly peer: PeerId | undefined; readonly session: Session | undefined },
  message: Publish,
): { topicName: string; payload: Uint8Array } | undefined {
  if (message.topicIdType === "normal") {
    // An extension of RSMB and Paho: the id is the length of a name that precedes the payload. [interpretation 20]
    if (!context.options.longNameQoSMinusOne(peer) || message.topicId === 0) return undefined;
    if (message.topicId > message.data.byteLength) return undefined;
    const topicName = topicNameFrom(message.data.subarray(0, message.topicId));
    return topicName === undefined ? undefined : { topicName, payload: message.data.subarray(message.topicId) };
  }
  const topicName = topicNameWithoutSession(context, session, message);
  return topicName === undefined ? undefined : { topicName, payload: message.data };
}

function topicNameWithoutSession(context: Context, session: Session | undefined, message: Publish): string | undefined {
  switch (message.topicIdType) {
    case "short":
      return shortNameFromId(message.topicId);
    case "predefined":
      return predefinedName(session?.predefined ?? context.predefined, session?.clientId, message.topicId);
    case "name":
      return nameIn(message);
    default:
      return undefined;
  }
}

/** The topic name in the message, or the one that its topic id stands for. */
export function topicNameOf(context: Context, session: Session, message: Publish): string | undefined {
  switch (message.topicIdType) {
    case "normal": {
      const topic = session.registry.byId(message.topicId);
      if (!topic) return undefined;
      confirm(context, session, topic);
      return topic.name;
    }
    case "predefined":
      return predefinedName(session.predefined, session.clientId, message.topicId);
    case "short":
      return shortNameFromId(message.topicId);
    case "name":
      return nameIn(message);
    case "reserved":
      return undefined;
  }
}

function nameIn({ topicName }: Publish): string | undefined {
  return typeof topicName === "string" && isTopicName(topicName) ? topicName : undefined;
}

function topicNameFrom(octets: Uint8Array): string | undefined {
  try {
    const name = utf8.decode(octets);
    return isTopicName(name) ? name : undefined;
  } catch {
    return undefined;
  }
}
