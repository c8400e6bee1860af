/**
 * The limits of a client's buffer: what is dropped to make room for a new message, and which messages are not admitted.
 * The first rule of `buffer.rules` that matches client and topic is used. A message that the client may have seen is
 * never dropped.
 */
import type { Context } from "../context.ts";
import type { Tally } from "../counters.ts";
import type { BufferPolicy } from "../options.ts";
import { entryBytes, isFree, type OutboxEntry } from "../state/outbox-entry.ts";
import { isReachable, type Session } from "../state/session.ts";
import { giveUp, refuseEntry } from "./drop.ts";

/** `wait`: there is no room now, and the message must not be dropped, so the broker keeps it. */
export type Admission = "in" | "wait" | "dropped";

const none: readonly OutboxEntry[] = [];

export function admit(context: Context, session: Session, entry: OutboxEntry): Admission {
  const { publication, policy, received } = entry;
  if (publication.qos === 0 && !isReachable(session) && !policy.qos0WhileAsleep) {
    return refuseEntry(context, session, entry, "not-buffered");
  }
  if (publication.payload.byteLength > (policy.payloadBytesMax ?? Number.POSITIVE_INFINITY))
    return refuseEntry(context, session, entry, "too-large-for-client");
  const { outbox } = session;
  const { buffer } = context.options;
  const bytes = entryBytes(entry);
  const replaced = policy.keep === "latest" ? [...outbox].filter((other) => isReplaced(other, entry)) : none;
  const more = { messages: 1 - replaced.length, bytes };
  for (const old of replaced) more.bytes -= entryBytes(old);
  const tooLarge = bytes > Math.min(policy.bytesMax, buffer.bytesMax);
  while (!tooLarge && !fits(context, session, policy, more)) {
    const victim = makesWay(session, policy, more, replaced);
    const given = victim ?? triedEnough(context, session);
    if (!given) break;
    if (victim) giveUp(context, session, victim, "buffer-full", "made way");
    else giveUp(context, session, given, "unanswered", "made way");
  }
  // Unacknowledged messages wait here without custody, as many as the broker's window lets through.
  const mayWait = received !== undefined && policy.atLimit !== "newest" && !(tooLarge && policy.atLimit === "oldest");
  if (!fits(context, session, policy, more)) {
    // With a rule that drops the oldest, the only messages left are those that the client may have seen. They will
    // leave the buffer soon.
    const isSoonThere = policy.atLimit === "oldest" && !tooLarge && fitsClient(context, session, more);
    if (!mayWait && !isSoonThere) return refuseEntry(context, session, entry, "buffer-full");
    if (outbox.length >= buffer.messagesMax + session.upstream.options.receiveMaximum) return "wait";
  }
  for (const old of replaced) giveUp(context, session, old, "superseded");
  return "in";
}

/** Whether the buffer and this rule have space for so much more. */
export function fits(context: Context, session: Session, policy: BufferPolicy, more: Tally): boolean {
  return fitsClient(context, session, more) && fitsRule(session, policy, more);
}

function fitsClient(context: Context, { outbox }: Session, more: Tally): boolean {
  const { buffer } = context.options;
  return (
    outbox.length + more.messages <= buffer.messagesMax &&
    outbox.bytes + more.bytes <= buffer.bytesMax &&
    context.counters.bufferedBytes + more.bytes <= buffer.totalBytesMax
  );
}

function fitsRule({ outbox }: Session, policy: BufferPolicy, more: Tally): boolean {
  const { messages, bytes } = outbox.of(policy);
  return messages + more.messages <= policy.messagesMax && bytes + more.bytes <= policy.bytesMax;
}

/**
 * Finds the entry to drop first: the oldest one of the rule, or the oldest one at QoS 0, because nothing was promised
 * for it.
 */
function makesWay(
  session: Session,
  policy: BufferPolicy,
  more: Tally,
  replaced: readonly OutboxEntry[],
): OutboxEntry | undefined {
  if (policy.atLimit === "newest") return undefined;
  const { outbox } = session;
  const may = (entry: OutboxEntry) => isFree(entry) && !replaced.includes(entry);
  const oldest =
    policy.atLimit === "oldest" ? outbox.find((entry) => entry.policy === policy && may(entry)) : undefined;
  if (oldest) return oldest;
  // If the rule is at its limit, space for other rules does not help.
  const ruleIsFull = !fitsRule(session, policy, more);
  // A full buffer is not searched in vain for each message of a flood.
  if (!outbox.holdsQos0(ruleIsFull ? policy : undefined)) return undefined;
  return outbox.find((entry) => entry.publication.qos === 0 && may(entry) && (!ruleIsFull || entry.policy === policy));
}

/**
 * If a buffer is full of messages that the client never answers, no message that it could answer can be added, so the proof would never
 * come. A message whose copies were sent as often as in three rounds, while the client was heard, is dropped without this proof.
 */
function triedEnough(context: Context, session: Session): OutboxEntry | undefined {
  const { outbox } = session;
  if (!outbox.mayHoldAside) return undefined;
  const { limit } = context.retryOf(session);
  return outbox.find((entry) => {
    const history = entry.released ? undefined : outbox.historyOf(entry);
    return history?.isAside === true && history.tries >= 3 * (limit + 1);
  });
}

/**
 * Whether `by` replaces `old`. A QoS 0 message, which may be lost, does not replace one of a higher QoS, which waits
 * and is sent first.
 */
function isReplaced(old: OutboxEntry, by: OutboxEntry): boolean {
  return (
    isFree(old) &&
    old.publication.topicName === by.publication.topicName &&
    (old.publication.qos === 0 || by.publication.qos > 0)
  );
}
