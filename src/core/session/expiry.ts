/**
 * Messages that have waited too long: longer than the time to live of their rule, or than the MQTT 5 message expiry. A
 * message that the client may have seen does not expire.
 */
import type { Context } from "../context.ts";
import { isFree, type OutboxEntry } from "../state/outbox-entry.ts";
import type { Session } from "../state/session.ts";
import type { Instant } from "../types.ts";
import { queuedRecord, wallAt } from "./queued-record.ts";

/**
 * Time between two checks of one queue, in milliseconds, because a queue may be long. A message that is about to be
 * sent is checked in any case.
 */
const lookPauseMs = 1_000;

/** If the wall clock is corrected by less than this, in milliseconds, nothing is stored again. */
const clockSlackMs = 1_000;

/** This session is looked at when the first of its messages expires. */
export function watchExpiry(context: Context, session: Session, expiresAt: Instant | undefined): void {
  if (expiresAt === undefined || (session.expiry.at !== undefined && session.expiry.at <= expiresAt)) return;
  context.deadlines.set(session.expiry, expiresAt);
}

/** Whether this message has waited too long and may be dropped. */
export function isExpired(context: Context, entry: OutboxEntry): boolean {
  return entry.expiresAt !== undefined && entry.expiresAt <= context.now && isFree(entry);
}

/** Returns the messages that have expired, and sets the deadline for the next check. The caller drops the messages. */
export function takeExpired(context: Context, session: Session): OutboxEntry[] {
  const over: OutboxEntry[] = [];
  let next: Instant | undefined;
  for (const entry of session.outbox) {
    if (entry.expiresAt === undefined || !isFree(entry)) continue;
    if (isExpired(context, entry)) over.push(entry);
    else next = Math.min(next ?? entry.expiresAt, entry.expiresAt);
  }
  if (next !== undefined) watchExpiry(context, session, Math.max(next, context.now + lookPauseMs));
  return over;
}

/**
 * The wall clock was set. It now tells the age of messages of an earlier run. Messages that were stored with a wrong clock, or without one,
 * are stored again.
 */
export function onClockSet(context: Context): void {
  const wall = context.environment.wallClock();
  if (wall === undefined) return;
  for (const session of context.sessions.live()) {
    for (const entry of session.outbox) {
      if (entry.expiresAt === undefined) continue;
      if (entry.dueStands) {
        entry.expiresAt = Math.min(entry.expiresAt, context.now + entry.due - wall);
        watchExpiry(context, session, entry.expiresAt);
      } else if (entry.seq > 0 && Math.abs(wallAt(context, entry.expiresAt) - entry.due) > clockSlackMs) {
        context.journal.keep(session.clientId, entry.seq, queuedRecord(context, entry));
      }
    }
  }
}
