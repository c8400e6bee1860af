/** A will as the broker would know it. */
import { sameBytes } from "../octets.ts";
import type { Session } from "../state/session.ts";
import type { Will } from "../types.ts";
import { toBroker } from "./topic-prefix.ts";

/** The client's will as the broker would know it. */
export function brokerWill(session: Session): Will | undefined {
  const will = session.will;
  return will && { ...will, topicName: toBroker(session.upstream.options.topicPrefix, will.topicName) };
}

export function sameWill(a: Will | undefined, b: Will | undefined): boolean {
  if (a === undefined || b === undefined) return a === b;
  return a.topicName === b.topicName && a.qos === b.qos && a.retain === b.retain && sameBytes(a.payload, b.payload);
}
