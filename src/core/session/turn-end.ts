/**
 * The last step of a turn: the outboxes of the sessions that the turn touched are looked at, and what can be sent is
 * sent.
 *
 * An input touches the session that it is about. A procedure touches every other session that gets a message or can
 * continue. So no procedure has to know which clients can continue because of it, and no client is forgotten. Answers
 * to a client leave before new messages to it.
 */
import type { Context } from "../context.ts";
import { sendNext } from "./publish-down.ts";

/** Moves on each session that was touched, in the order in which they were. One that is touched meanwhile comes last. */
export function moveOn(context: Context): void {
  // The list may grow while it is walked: a session that stands in it does not enter it again before its turn is over.
  for (const session of context.touched) {
    sendNext(context, session);
    session.touched = false;
  }
}
