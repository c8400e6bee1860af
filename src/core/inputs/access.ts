/** The access rules were changed: all clients are checked once more. */
import type { AccessPolicy } from "../access.ts";
import type { Context } from "../context.ts";

import { cancelPendingConnect, refuseConnect } from "../session/connect-outcome.ts";
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
  for (const session of [...context.sessions.all()])
    if (staysAdmitted(context, session, { tell: true })) endForbidden(context, session);
}
