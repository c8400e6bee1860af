/** A will as the broker would know it. */
import type { Context } from "../context.ts";
import { sameBytes } from "../octets.ts";
import { willKey } from "../state/packet-key.ts";
import type { Session } from "../state/session.ts";
import type { Will } from "../types.ts";
import { toBroker } from "./topic-prefix.ts";

/** The client's will as the broker would know it. */
export function brokerWill(session: Session): Will | undefined {
  const will = session.will;
  return will && { ...will, topicName: toBroker(session.upstream.options.topicPrefix, will.topicName) };
}

/** What the broker is to hold for this client, unless it is known to close for it. */
export function willToTell(context: Context, session: Session): Will | undefined {
  if (session.upstream.options.will.held !== "broker" || isWillRefused(context, session)) return undefined;
  return brokerWill(session);
}

/** Is the broker known to close for a CONNECT with this client's will? */
export function isWillRefused(context: Context, session: Session): boolean {
  const will = brokerWill(session);
  const { broker, clientId } = session;
  return will !== undefined && broker.kinds.refuses(context.now, willKey(clientId, will));
}

export function sameWill(a: Will | undefined, b: Will | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.topicName === b.topicName && a.qos === b.qos && a.retain === b.retain && sameBytes(a.payload, b.payload);
}
