/**
 * A client that was admitted once and is not admitted any more, because the rules were changed, now or while the
 * gateway was down.
 *
 * The gateway treats it as if it had sent DISCONNECT: its connection to the broker closes, and its will is not
 * published. A persistent session is kept as long as any other session without its client, so that the client can be
 * admitted again. Messages that were accepted from it before still go to the broker.
 */
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import type { PeerId } from "../types.ts";
import { disconnectClient, sendDisconnect } from "./departure.ts";
import { markChanged } from "./session-record.ts";

export function sayNotAdmitted(context: Context, clientId: string, peer: PeerId, hint: string): void {
  context.counters.dropped["not-admitted"]++;
  context.out.report({ event: "not_admitted", clientId, peer, what: "client", hint });
}

/**
 * Whether the client may continue. `isHeard`: a message of the client is the cause of the question. If it may not, it is disconnected;
 * a sleeping client gets the answer to its next message.
 */
export function staysAdmitted(
  context: Context,
  session: Session,
  { tell, isHeard }: { tell: boolean; isHeard: boolean },
): boolean {
  const { clientId, peer, state, boundTo } = session;
  if (peer === undefined) return true; // it is checked when a message comes from an address
  const admission = isHeard ? context.admits(clientId, peer) : context.admitsStill(clientId, peer, boundTo);
  if (admission.admitted) {
    const isVouched = admission.byName === true;
    if (session.vouched !== isVouched) {
      session.vouched = isVouched;
      markChanged(context, session);
    }
    context.sessions.noteStanding(session);
    return true;
  }
  sayNotAdmitted(context, clientId, peer, admission.hint);
  if (tell && state !== "asleep") sendDisconnect(context, session);
  disconnectClient(context, session, "not admitted any more");
  return false;
}
