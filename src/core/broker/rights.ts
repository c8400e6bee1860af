/**
 * Topic rights. They are checked where something leaves: a publication to the broker, a subscription to the broker, a
 * message to the client. All of them pass here, also a will, QoS -1, messages from an earlier run, and messages of the
 * operator. An additional check where a message arrives saves work and lets the device get a refusal.
 */
import type { Way } from "../access.ts";
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import type { Publication } from "../types.ts";
import { fromBroker } from "./topic-prefix.ts";

/**
 * Whether this client's publication may go to the broker; its topic name is the one at the broker. If not, this is
 * counted and reported.
 */
export function mayPublish(context: Context, session: Session, { topicName }: Publication): boolean {
  const rights = context.rightsOf(session);
  if (rights === undefined) return true;
  const known = fromBroker(session.upstream.options.topicPrefix, topicName);
  if (known !== undefined && rights.mayPublish(known)) return true;
  const { clientId, peer } = session;
  context.sayNotAllowed(rights, { clientId, peer, way: "publish", topic: known ?? topicName });
  return false;
}

/**
 * Whether this client may subscribe to this filter, or get a message of this topic. If not, this is counted and
 * reported.
 */
export function mayHave(context: Context, session: Session, way: Exclude<Way, "publish">, topic: string): boolean {
  const rights = context.rightsOf(session);
  if (rights === undefined) return true;
  if (way === "subscribe" ? rights.maySubscribe(topic) : rights.mayReceive(topic)) return true;
  const { clientId, peer } = session;
  context.sayNotAllowed(rights, { clientId, peer, way, topic });
  return false;
}
