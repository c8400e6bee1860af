/**
 * Limits the octets of names that the gateway keeps for a client: topic names with ids, filters, the will. A limit on
 * their number is not enough, because a name may have 65,535 octets, and all of them are in memory and on disk as long
 * as the session exists.
 */
import { utf8Length } from "../../wire/topic.ts";
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import type { Topic } from "../state/topic-registry.ts";
import type { Will } from "../types.ts";

/**
 * The topic with this name, with a new id if it has none; undefined: the client has too many names, or too long ones.
 */
export function assignTopic(context: Context, session: Session, topicName: string): Topic | undefined {
  const present = session.registry.byName(topicName);
  if (present) return present;
  return hasRoomFor(context, session, utf8Length(topicName)) ? session.registry.assign(topicName) : undefined;
}

/** Whether the gateway may keep so many more octets of names for the client. */
export function hasRoomFor(context: Context, session: Session, octets: number): boolean {
  return octetsOf(session) + octets <= context.options.topics.bytesPerClientMax;
}

/** Whether this will may replace the client's present will. */
export function hasRoomForWill(context: Context, session: Session | undefined, will: Will): boolean {
  const others = session ? octetsOf(session) - willOctets(session.will) : 0;
  return others + willOctets(will) <= context.options.topics.bytesPerClientMax;
}

function octetsOf(session: Session): number {
  let octets = session.registry.octets + willOctets(session.will) + (session.willMessage?.byteLength ?? 0);
  for (const filter of session.subscriptions.keys()) octets += utf8Length(filter);
  for (const { kind, filter } of session.subscribesInFlight.values())
    if (kind === "subscribe") octets += utf8Length(filter);
  return octets;
}

function willOctets(will: Will | undefined): number {
  return will ? utf8Length(will.topicName) + will.payload.byteLength : 0;
}
