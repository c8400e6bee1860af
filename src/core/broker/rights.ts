/**
 * Topic rights, asked where something leaves: a publication for the broker, a subscription for the broker, a message for the
 * client. Whichever way it came there (a will, QoS -1, an earlier run, the operator), it passes here; asking already when
 * it comes in only spares the way, and lets the device hear a refusal.
 */
import type { Way } from "../access.ts";
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import type { Publication } from "../types.ts";
import { fromBroker } from "./topic-prefix.ts";

/** May this client's publication go to the broker? Its topic is as the broker knows it. No: that is counted, and told. */
export function mayPublish(context: Context, session: Session, { topicName }: Publication): boolean {
  const rights = context.rightsOf(session);
  if (rights === undefined) return true;
  const known = fromBroker(session.upstream.options.topicPrefix, topicName);
  if (known !== undefined && rights.mayPublish(known)) return true;
  const { clientId, peer } = session;
  context.sayNotAllowed(rights, { clientId, peer, way: "publish", topic: known ?? topicName });
  return false;
}

/** May this client have what this filter matches, or be sent a message of this topic? No: that is counted, and told. */
export function mayHave(context: Context, session: Session, way: Exclude<Way, "publish">, topic: string): boolean {
  const rights = context.rightsOf(session);
  if (rights === undefined) return true;
  if (way === "subscribe" ? rights.maySubscribe(topic) : rights.mayReceive(topic)) return true;
  const { clientId, peer } = session;
  context.sayNotAllowed(rights, { clientId, peer, way, topic });
  return false;
}
