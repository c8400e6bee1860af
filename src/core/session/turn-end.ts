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

/**
 * Continues each touched session, in the order in which they were touched. A session that is touched meanwhile comes
 * last.
 */
export function moveOn(context: Context): void {
  // The list may grow during the loop. A session in the list is not added again before its turn is over.
  for (const session of context.touched) {
    sendNext(context, session);
    session.touched = false;
  }
}
