/**
 * What every message of a client shows, independent of its type: the client is there. A dialect calls this before the
 * procedure.
 */
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import { disconnectClient, sendDisconnect } from "./departure.ts";
import { isQuarantined } from "./limits.ts";
import { noteHeard } from "./proof.ts";
import { noteSpoke } from "./session-record.ts";
import { staysAdmitted } from "./shut-out.ts";

/**
 * Notes that a message came. False: the client is not admitted any more, and got an answer; or it is in quarantine and
 * is ignored. `isGoodbye`: the message is a DISCONNECT without a duration, which any sender could forge.
 */
export function noteMessage(context: Context, session: Session, isGoodbye: boolean): boolean {
  if (session.isUnasked) {
    session.isUnasked = false;
    if (!staysAdmitted(context, session, { tell: true, isHeard: true })) return false;
  }
  session.lastHeard = context.now;
  session.heard++;
  noteHeard(context, session);
  if (!session.spoke && !isGoodbye) noteSpoke(context, session);
  if (isQuarantined(context, session.clientId, session)) return false;
  context.touch(session);
  return true;
}

/**
 * The message does not belong to its CONNECT, so that CONNECT will not be repeated. False: the broker refuses this client, which gets the
 * answer now.
 */
export function goesOn(context: Context, session: Session, isDisconnect: boolean): boolean {
  if (session.lastConnect) session.lastConnect.nothingSince = false;
  if (!session.brokerRefused || session.state !== "asleep" || isDisconnect) return true;
  sendDisconnect(context, session);
  disconnectClient(context, session, "refused by the broker");
  return false;
}
