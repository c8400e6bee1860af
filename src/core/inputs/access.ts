/** The access rules were changed: all clients are checked once more. */
import type { AccessPolicy } from "../access.ts";
import type { Context } from "../context.ts";

import { cancelPendingConnect, refuseConnect } from "../session/connect-outcome.ts";
import { parkAgain } from "../session/park.ts";
import { endForbidden } from "../session/rights-changed.ts";
import { sayNotAdmitted, staysAdmitted } from "../session/shut-out.ts";

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
  const parked = context.sessions.parkedRows();
  for (const session of [...context.sessions.live()])
    if (staysAdmitted(context, session, { tell: true })) endForbidden(context, session);
  for (const row of parked) {
    if (isAllAllowed(context, row)) continue;
    const session = context.sessions.at(row);
    if (!session) continue;
    if (staysAdmitted(context, session, { tell: true })) endForbidden(context, session);
    parkAgain(context, session); // one after the other, because there may be a million sessions
  }
}

/**
 * Whether the new rules leave this parked session as it is. Most rules concern few clients, so the session is checked
 * without making an object of it.
 */
function isAllAllowed(context: Context, row: number): boolean {
  const glance = context.sessions.glanceAt(row);
  if (!glance || glance.isBound) return false;
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
