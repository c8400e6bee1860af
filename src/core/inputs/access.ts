/**
 * The access rules were changed: all clients are checked once more, in slices, because there may be a million of them,
 * and during a slice nobody is answered. A client that sends something before its turn is checked first.
 */
import type { AccessPolicy } from "../access.ts";
import type { Context } from "../context.ts";
import { cancelPendingConnect, refuseConnect } from "../session/connect-outcome.ts";
import { parkAgain } from "../session/park.ts";
import { endForbidden } from "../session/rights-changed.ts";
import { sayNotAdmitted, staysAdmitted } from "../session/shut-out.ts";
import type { Session } from "../state/session.ts";
import type { Glance } from "../state/session-form.ts";
import type { PeerId } from "../types.ts";

/** Rows in a slice. If the rules change nothing for a parked client, its row takes some 1.5 µs. */
const reviewedAtOnce = 1_000;

export function onAccessChanged(context: Context, access: AccessPolicy): void {
  context.access = access;
  context.toldRights.clear();
  for (const pending of [...context.pendingConnects.values()]) {
    const admission = context.admits(pending.clientId, pending.peer);
    if (admission.admitted) continue;
    sayNotAdmitted(context, pending.clientId, pending.peer, admission.hint);
    cancelPendingConnect(context, pending);
    refuseConnect(context, pending, "notSupported", "not admitted any more");
  }
  context.accessReview.begin(context.sessions.rowsEnd);
  reviewSome(context);
}

/** Checks the next slice. */
export function reviewSome(context: Context): void {
  const { accessReview } = context;
  for (let i = context.options.reviewedAtOnce ?? reviewedAtOnce; i > 0 && accessReview.isOpen; i--) {
    const row = accessReview.next();
    const glance = context.sessions.glanceAt(row);
    if (glance && isAllAllowed(context, row, glance)) continue;
    const session = context.sessions.at(row);
    if (!session) continue; // the row is free
    review(context, session);
    if (glance) parkAgain(context, session);
  }
  if (accessReview.isOpen) context.deadlines.set(accessReview.deadline, context.now + 1);
}

/** The client at this address sends something, and its session may not have been checked yet. */
export function reviewFirst(context: Context, peer: PeerId): void {
  const session = context.sessions.byPeer(peer);
  if (session && context.accessReview.isToCome(session.row)) review(context, session);
}

function review(context: Context, session: Session): void {
  if (staysAdmitted(context, session, { tell: true, isHeard: false })) endForbidden(context, session);
}

/**
 * Whether the new rules leave this parked session as it is. Most rules concern few clients, so the session is checked
 * without making an object of it.
 */
function isAllAllowed(context: Context, row: number, glance: Glance): boolean {
  if (glance.isBound) return false;
  const { clientId, peer, vouched } = glance;
  if (peer !== undefined) {
    const admission = context.admitsBound(clientId, peer, undefined);
    if (!admission.admitted || (admission.byName === true) !== vouched) return false;
  }
  const rights = context.rightsAt(clientId, peer);
  if (!rights) return true;
  const session = context.sessions.lookInto(row);
  if (!session || (session.will && !rights.mayPublish(session.will.topicName))) return false;
  for (const filter of session.subscriptions.keys()) if (!rights.maySubscribe(filter)) return false;
  return true;
}
