/** A will in the form in which the broker gets it. */
import type { Rights } from "../access.ts";
import type { Context } from "../context.ts";
import { sameBytes } from "../octets.ts";
import { willKey } from "../state/packet-key.ts";
import type { Session } from "../state/session.ts";
import type { Will } from "../types.ts";
import { toBroker } from "./topic-prefix.ts";

/**
 * The client's will as the broker gets it; none if the client may not publish to its topic. A declaration is applied to its payload, as for
 * any publication; a payload that does not fit is unchanged. There is no raw copy, because a broker holds only one will.
 */
export function brokerWill(context: Context, session: Session): Will | undefined {
  const will = session.will;
  if (!will || context.rightsOf(session)?.mayPublish(will.topicName) === false) return undefined;
  const found = context.payloads?.up(session.clientId, will.topicName, will.payload);
  const made = found?.is === "made" ? found : undefined;
  return {
    ...will,
    topicName: toBroker(session.upstream.options.topicPrefix, made?.topicName ?? will.topicName),
    payload: made?.payload ?? will.payload,
  };
}

/** A will is not published, because its client has no right to the topic. This is counted and reported. */
export function sayIfNotAllowed(context: Context, { clientId, peer, will }: Session, rights: Rights | undefined): void {
  if (!will || !rights || rights.mayPublish(will.topicName)) return;
  context.sayNotAllowed(rights, { clientId, peer, way: "publish", topic: will.topicName });
}

/**
 * The will that the broker must hold for this client; undefined: the broker holds none, or is known to close the
 * connection for it.
 */
export function willToTell(context: Context, session: Session): Will | undefined {
  if (session.upstream.options.will.held !== "broker" || isWillRefused(context, session)) return undefined;
  return brokerWill(context, session);
}

/** True if the broker is known to close the connection for a CONNECT with this client's will. */
export function isWillRefused(context: Context, session: Session): boolean {
  const will = brokerWill(context, session);
  const { broker, clientId } = session;
  return will !== undefined && broker.kinds.refuses(context.now, willKey(clientId, will));
}

export function sameWill(a: Will | undefined, b: Will | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.topicName === b.topicName && a.qos === b.qos && a.retain === b.retain && sameBytes(a.payload, b.payload);
}
