/**
 * What is left to do when everything that an input says is done: the outboxes that the turn touched are moved on.
 *
 * An input touches the session that it is about, and a procedure every other session that gets a message or a reason to go
 * on. So no procedure has to know what it may have unblocked, and none is forgotten. What a client is answered leaves before
 * what it is sent.
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
