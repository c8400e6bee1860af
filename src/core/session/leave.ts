/**
 * A client has disconnected, and some of its publications are not at the broker yet. The session waits, with its
 * connection, until the broker has all of them. Then it ends in the way in which it would have ended at once.
 */
import { closeLink, detach, openLink } from "../broker/links.ts";
import type { Context } from "../context.ts";
import type { Session } from "../state/session.ts";
import { endSession, forgetDevice } from "./end.ts";
import { markChanged } from "./session-record.ts";

/** The client has disconnected, or is lost and needs no will: its connection closes, and a clean session ends. */
export function leave(context: Context, session: Session, why: string, how: "disconnect" | "abandon"): void {
  if (session.account.unforwarded > 0) return awaitForwarding(context, session, { keepWill: false });
  session.awaitsForwarding = false;
  detach(context, session, { how, endSession: session.clean });
  if (session.clean) endSession(context, session, why);
}

/** The session continues without the client. `keepWill`: the will is published after all other messages. */
export function awaitForwarding(context: Context, session: Session, { keepWill }: { keepWill: boolean }): void {
  session.awaitsForwarding = true;
  if (!keepWill) session.will = undefined;
  if (session.clean) forgetDevice(context, session);
  markChanged(context, session);
  const { link } = session.broker;
  if (session.shared) return;
  if (link && (link.will === undefined || keepWill)) return;
  // A will at the broker must not be published at the next cut, because the client has disconnected in order.
  if (link) closeLink(context, session.broker, { how: "disconnect", endSession: false });
  openLink(context, session, { clean: session.clean, resume: true });
}
