/** The client registers a topic name and gets an id for it. Nothing is sent to the broker. [MQTT-SN 1.2 §6.5] */
import { isTopicName } from "../../wire/topic.ts";
import type { Context } from "../context.ts";
import { regAck } from "../messages.ts";
import type { Session } from "../state/session.ts";
import type { Register } from "../words.ts";
import { mayAsk } from "./limits.ts";
import { mayGoToBroker } from "./safe-name.ts";
import { assignTopic } from "./topic-octets.ts";

export function onRegister(context: Context, session: Session, message: Register): void {
  const { peer } = session;
  if (peer === undefined) return;
  const { topicName, msgId } = message;
  if (
    typeof topicName !== "string" ||
    !isTopicName(topicName) ||
    !mayGoToBroker(topicName, session.shared !== undefined)
  ) {
    return context.tell(session, regAck(0, msgId, "notSupported"));
  }
  if (!mayAsk(context, session, "REGISTER")) return context.tell(session, regAck(0, msgId, "congestion"));
  const topic = assignTopic(context, session, topicName);
  if (!topic) {
    context.drop("topic-ids-exhausted", { clientId: session.clientId, peer, detail: topicName.slice(0, 200) });
    return context.tell(session, regAck(0, msgId, "congestion"));
  }
  topic.known = true;
  if (!topic.told) session.registry.noteChanged(topic);
  topic.told = true;
  topic.refused = false;
  session.outbox.names.delete(topicName);
  context.journal.markTopics(session);
  context.tell(session, regAck(topic.id, msgId, "accepted"));
}
