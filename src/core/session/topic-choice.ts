/**
 * Chooses the topic id for a message to a client: the one that the client used in its SUBSCRIBE, or one that it knows.
 * [MQTT-SN 1.2 §6.10, §5.4.16]
 */
import { shortNameToId } from "../../wire/topic.ts";
import type { Context } from "../context.ts";
import { predefinedName } from "../state/predefined-topics.ts";
import type { Session } from "../state/session.ts";
import { assignTopic } from "./topic-octets.ts";

export type TopicChoice = {
  readonly type: "normal" | "predefined" | "short" | "name";
  readonly id: number;
  /** False: a REGISTER has to be sent first. */
  readonly known: boolean;
};

const byName: TopicChoice = { type: "name", id: 0, known: true };

export function topicFor(context: Context, session: Session, topicName: string): TopicChoice | "refused" | "exhausted" {
  if (session.dialect.namesTopics) return byName;
  const subscription = session.subscriptions.get(topicName);
  // After a CONNECT the predefined id may stand for another topic. Then the message is sent with the id of its topic
  // name.
  if (subscription?.by === "predefined" && nameBehind(session, subscription.predefinedId) === topicName)
    return { type: "predefined", id: subscription.predefinedId, known: true };
  const present = session.registry.byName(topicName);
  const short = present && subscription?.by !== "short" ? undefined : shortNameToId(topicName);
  if (short !== undefined) return { type: "short", id: short, known: true };
  const topic = present ?? assignTopic(context, session, topicName);
  if (!topic) return "exhausted";
  if (topic.refused) return "refused";
  if (!present) context.journal.markTopics(session);
  return { type: "normal", id: topic.id, known: topic.known };
}

function nameBehind({ predefined, clientId }: Session, id: number): string | undefined {
  return predefinedName(predefined, clientId, id);
}

/** Whether a SUBSCRIBE to this topic name waits for the broker: its SUBACK will tell the client the id. */
export function isBeingSubscribed(session: Session, topicName: string): boolean {
  for (const exchange of session.subscribesInFlight.values()) {
    if (exchange.kind === "subscribe" && exchange.filter === topicName && !exchange.fromBeforeConnect) return true;
  }
  return false;
}
