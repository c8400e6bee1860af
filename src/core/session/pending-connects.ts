/**
 * CONNECTs under way: where a set-up is noted, and where it is forgotten. What happens between is in connect.ts and
 * connect-outcome.ts.
 */
import type { Context } from "../context.ts";
import type { PendingConnect } from "../state/pending-connect.ts";
import type { Session } from "../state/session.ts";
import { markChanged } from "./session-record.ts";

/** A CONNECT came. The set-up is forgotten when it takes longer than a client repeats itself. */
export function beginPendingConnect(context: Context, pending: PendingConnect<Session>): void {
  context.pendingConnects.set(pending.peer, pending);
  context.deadlines.set(pending.expiry, context.now + context.repetitionMs);
}

/** Everything is known: from now on it holds up this session. */
export function bindPendingConnect(pending: PendingConnect<Session>, session: Session): void {
  pending.session = session;
  session.pendingConnect = pending;
}

/** It is answered, or nobody waits for it any more. What it had held up goes on: for its client, and for one at its address. */
export function forgetPendingConnect(context: Context, pending: PendingConnect<Session>): void {
  context.deadlines.clear(pending.expiry);
  if (context.pendingConnects.get(pending.peer) === pending) context.pendingConnects.delete(pending.peer);
  if (pending.session?.pendingConnect === pending) {
    pending.session.pendingConnect = undefined;
    markChanged(context, pending.session); // its will is that of this CONNECT, also if the broker refused
  }
  if (pending.session) context.touch(pending.session);
  const present = context.sessions.byPeer(pending.peer);
  if (present) context.touch(present);
}
