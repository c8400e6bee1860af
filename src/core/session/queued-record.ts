/**
 * A message that waits for a client: how it is made, stored and restored.
 *
 * Within one run of the gateway its age follows the monotonic clock. Over a restart, the time between the runs counts
 * only if the wall clock was trusted before and after it. Otherwise the age does not change until the clock is set
 * (expiry.ts then corrects it).
 */
import type { Context } from "../context.ts";
import type { QueuedRecord } from "../record.ts";
import type { Received } from "../state/exchanges.ts";
import { newUnanswered, type OutboxEntry } from "../state/outbox-entry.ts";
import type { Instant, Publication } from "../types.ts";

export function newEntry(
  context: Context,
  clientId: string,
  publication: Publication,
  options: { readonly expiresAt?: Instant | undefined; readonly received?: Received | undefined } = {},
): OutboxEntry {
  return {
    publication,
    policy: context.options.buffer.policyOf(clientId, publication.topicName),
    since: context.now,
    sinceWall: context.environment.wallClock() ?? 0,
    expiresAt: options.expiresAt,
    due: 0,
    dueStands: false,
    received: options.received,
    msgId: 0,
    fresh: false,
    released: false,
    topicIdRefused: false,
    registeredAgain: false,
    dupRefused: false,
    refusedAgain: false,
    seq: 0,
    waitedForId: false,
    unanswered: undefined,
  };
}

/** When a message that comes now expires: by the time to live of its rule, or by the broker's message expiry. */
export function expiryOf(
  context: Context,
  clientId: string,
  topicName: string,
  expirySeconds: number | undefined,
): Instant | undefined {
  const { timeToLiveSeconds } = context.options.buffer.policyOf(clientId, topicName);
  const byPolicy = timeToLiveSeconds > 0 ? timeToLiveSeconds : Number.POSITIVE_INFINITY;
  const seconds = Math.min(byPolicy, expirySeconds ?? Number.POSITIVE_INFINITY);
  return Number.isFinite(seconds) ? context.now + seconds * 1_000 : undefined;
}

/** The record of an entry as it is stored now. */
export function queuedRecord(context: Context, entry: OutboxEntry): QueuedRecord {
  const { publication, msgId, released, sinceWall, expiresAt } = entry;
  const since = { ...(sinceWall > 0 && { since: sinceWall }), ...inVain(entry) };
  if (expiresAt === undefined) return { publication, msgId, released, ...since };
  if (!entry.dueStands) entry.due = wallAt(context, expiresAt);
  const left = Math.max(0, expiresAt - context.now);
  return { publication, msgId, released, ...since, left, ...(entry.due > 0 && { due: entry.due }) };
}

function inVain({ unanswered }: OutboxEntry): Pick<QueuedRecord, "unanswered"> {
  if (!unanswered) return {};
  const { tries, rounds, proofs, fullProofs } = unanswered;
  return { unanswered: { tries, rounds, proofs, fullProofs } };
}

/** Makes an entry from a record of an earlier run. */
export function entryFrom(context: Context, clientId: string, seq: number, record: QueuedRecord): OutboxEntry {
  const { publication, msgId, released, since = 0, left, due = 0 } = record;
  const wall = context.environment.wallClock();
  const soon = context.now + context.roundMs({ clientId, peer: undefined });
  const remaining = left !== undefined && wall !== undefined && due > 0 ? Math.min(left, due - wall) : left;
  return {
    ...newEntry(context, clientId, publication),
    since: wall !== undefined && since > 0 ? context.now - Math.max(0, wall - since) : context.now,
    sinceWall: since,
    expiresAt: remaining === undefined ? undefined : context.now + remaining,
    due,
    dueStands: due > 0,
    msgId,
    released,
    seq,
    // Messages that were not answered in the last run do not come first in this one either. Their time begins again, as
    // all times do.
    unanswered: record.unanswered && { ...newUnanswered(), ...record.unanswered, isAside: true, until: soon },
  };
}

/** The wall clock at this instant; 0 while the wall clock cannot be trusted. */
export function wallAt(context: Context, at: Instant): number {
  const wall = context.environment.wallClock();
  return wall === undefined ? 0 : Math.round(wall + at - context.now);
}
