/**
 * Retained messages over a shared connection.
 *
 * A broker sets RETAIN only in messages that it has stored and sends because of a SUBSCRIBE. Such copies go only to the clients that have
 * just subscribed. A message that is published now has no RETAIN and goes to all clients. MQTT does not say when the retained messages end.
 * Therefore a client waits for some time after its SUBACK. Meanwhile each topic name is passed to it once, because the broker repeats all
 * retained messages for the next client that subscribes.
 */
import type { Context } from "../context.ts";
import type { RetainedWait, SharedFilter } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";

/** Milliseconds after SUBACK. Retained messages that a broker sends later are not recognized any more. */
const waitMs = 30_000;

/**
 * Names remembered per subscription. Beyond this, a message may be delivered twice if another client subscribes
 * meanwhile.
 */
const seenMax = 1_000;

/** The SUBSCRIBE for this client will be sent now. */
export function expectRetained(entry: SharedFilter<Session>, session: Session): RetainedWait<Session> {
  const wait: RetainedWait<Session> = { session, entry, seen: undefined, until: undefined };
  entry.addWait(wait); // a later SUBSCRIBE of the same client requests all retained messages again
  return wait;
}

/** SUBACK was received, so the time begins. */
export function noteAnswered(context: Context, waits: readonly RetainedWait<Session>[]): void {
  const { retainedWaits } = context;
  for (const wait of waits) retainedWaits.add(wait, context.now + waitMs);
  const { deadline, next } = retainedWaits;
  if (next !== undefined && deadline.at === undefined) context.deadlines.set(deadline, next);
}

/** True if this copy is the first of its name for this wait. The name is noted. */
export function wants(wait: RetainedWait<Session>, topicName: string): boolean {
  wait.seen ??= new Set();
  if (wait.seen.has(topicName)) return false;
  if (wait.seen.size < seenMax) wait.seen.add(topicName);
  return true;
}

/**
 * A live message goes to all clients. After SUBACK it also counts as the retained message of this name for a waiting
 * client. Before SUBACK, the retained message may be another one that is still to come.
 */
export function noteLive(entry: SharedFilter<Session>, topicName: string): void {
  for (const wait of entry.waits?.values() ?? []) if (wait.until !== undefined) wants(wait, topicName);
}

export function onRetainedDeadline(context: Context): void {
  const { retainedWaits } = context;
  for (const wait of retainedWaits.takeDue(context.now)) {
    const { entry, session } = wait;
    if (entry.waits?.get(session) === wait) entry.removeWait(session);
  }
  const { deadline, next } = retainedWaits;
  if (next !== undefined) context.deadlines.set(deadline, next);
}
