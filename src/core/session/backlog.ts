/**
 * The messages of one client that wait for the broker. Messages are added and counted here, and others are dropped to
 * make room. backlog-drain.ts sends them.
 */
import { keepDeadLetter } from "../broker/dead-letters.ts";
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import type { CommitToken, Publication } from "../types.ts";

/** Limit of publications from the backlog of one client that are in flight. */
export const windowMax = 20;

/** Limit of publications of one client that are read ahead. */
export const readMax = 64;

export const tickMs = 20;

/** Usually, a publication of the backlog is read and waits to be sent within this time. */
const readWithinMs = 10 * tickMs;

/** Whether the gateway accepts publications of this client while the broker is away. */
export function isStoreAndForward(context: Context, clientId: string): boolean {
  return context.journal.enabled && context.options.uplink.policyOf(clientId).whenAway === "store";
}

/** Adds a publication to the end of the backlog. Returns the commit that makes it durable. */
export function append(context: Context, session: Session, publication: Publication): CommitToken | undefined {
  const { clientId } = session;
  const { backlog } = session.account;
  const id = backlog.add(publication);
  const record = { publication, at: context.environment.wallClock() ?? 0 };
  const after = context.journal.put({ of: "backlog", clientId, id, record });
  if (!session.reported) {
    session.reported = true;
    context.out.report({ event: "backlog", clientId, count: backlog.count });
  }
  if (after !== undefined) {
    context.journal.promised(after, () => {
      backlog.withdraw(id, publication); // the client got no answer, so it will send the publication again
      context.journal.remove({ of: "backlog", clientId, id, record: undefined });
    });
  }
  drainSoon(context, session);
  return after;
}

export function makeRoom(context: Context, session: Session, bytes = 0): void {
  const { backlog } = session.account;
  const { uplink } = context.options;
  const policy = uplink.policyOf(session.clientId);
  if (policy.atLimit !== "oldest") return;
  const isOver = () =>
    backlog.count + (bytes > 0 ? 1 : 0) > policy.messagesMax ||
    backlog.bytes + bytes > policy.bytesMax ||
    context.counters.backlogMessages + (bytes > 0 ? 1 : 0) > uplink.messagesMax ||
    context.counters.backlogBytes + bytes > uplink.bytesMax;
  while (isOver()) {
    const oldest = backlog.shift();
    if (!oldest) return readAhead(context, session);
    const { publication, id } = oldest;
    const { clientId } = session;
    const detail = `QoS ${publication.qos} ${publication.topicName}: the oldest is dropped`;
    context.drop("backlog-full", { clientId, detail });
    keepDeadLetter(context, { clientId, direction: "up", reason: "backlog-full", publication });
    context.journal.remove({ of: "backlog", clientId, id, record: undefined });
  }
}

/**
 * Drops the oldest publications to free so many bytes. Publications on disk are dropped when they are read. False:
 * there is no room.
 */
export function dropOldest(context: Context, session: Session, bytes: number): boolean {
  const { backlog } = session.account;
  if (backlog.count === 0 || bytes > context.options.uplink.policyOf(session.clientId).bytesMax) return false;
  makeRoom(context, session, bytes);
  // So many publications beyond the limit may wait until the disk has answered.
  return backlog.count < context.options.uplink.policyOf(session.clientId).messagesMax + readMax;
}

/** Puts the client in the queue, if its backlog may have something to send. */
export function drainSoon(context: Context, session: Session): void {
  const { account, broker } = session;
  if (account.backlog.count === 0 || !broker.link?.up) return;
  if (account.accepted < windowMax) broker.expectsMoreUntil = context.now + readWithinMs;
  drainIn(context, session, tickMs);
}

/**
 * Puts all these clients in the queue, the one that has waited longest first. With a fixed order, over a connection
 * that often ends, the first clients would use up the rate, and the last would never get a turn.
 */
export function drainAllSoon(context: Context, sessions: Iterable<Session>): void {
  const waiting = [...sessions].filter(({ account }) => account.backlog.count > 0);
  waiting.sort((one, other) => one.account.drainedAt - other.account.drainedAt);
  for (const session of waiting) drainSoon(context, session);
}

/** Puts the client in the queue. Its turn comes with the next clients that are due, or after so many milliseconds. */
export function drainIn({ drain, deadlines, now }: Context, session: Session, pauseMs: number): void {
  drain.waiting.add(session);
  if (drain.deadline.at === undefined) deadlines.set(drain.deadline, now + pauseMs);
}

export function readAhead(context: Context, session: Session): void {
  const { backlog } = session.account;
  if (backlog.head.length >= windowMax || backlog.unread <= 0 || backlog.readingUpTo !== undefined) return;
  backlog.readingUpTo = backlog.next - 1;
  context.drain.reads.push({ kind: "fetch", clientId: session.clientId, from: backlog.readUpTo + 1, limit: readMax });
}
