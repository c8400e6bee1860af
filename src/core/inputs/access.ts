/** The rules of who gets in were changed: everybody who is there is asked once more. */
import type { AccessPolicy } from "../access.ts";
import type { Context } from "../context.ts";

import { cancelSetup, refuseConnect } from "../session/connect-outcome.ts";
import { sayNotAdmitted, staysAdmitted } from "../session/shut-out.ts";

export function onAccessChanged(context: Context, access: AccessPolicy): void {
  context.access = access;
  for (const setup of [...context.setups.values()]) {
    const admission = context.admits(setup.clientId, setup.peer);
    if (admission.admitted) continue;
    sayNotAdmitted(context, setup.clientId, setup.peer, admission.hint);
    cancelSetup(context, setup);
    refuseConnect(context, setup, "notSupported", "not admitted any more");
  }
  for (const session of [...context.sessions.all()]) staysAdmitted(context, session, { tell: true });
}
