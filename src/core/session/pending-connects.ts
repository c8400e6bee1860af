/**
 * CONNECTs that are not finished: where a `PendingConnect` is recorded, and where it is removed. connect.ts and
 * connect-outcome.ts have the steps between.
 */
import type { Context } from "../context.ts";
import type { PendingConnect } from "../state/pending-connect.ts";
import type { Session } from "../state/session.ts";
import { markChanged } from "./session-record.ts";

/** Of one dialogue; a client has not so many under way. */
const askedMax = 100;

/** A CONNECT came. The set-up is forgotten when it takes longer than a client repeats itself. */
export function beginPendingConnect(context: Context, pending: PendingConnect<Session>): void {
  context.pendingConnects.set(pending.peer, pending);
  noteStep(context, pending);
}

/** A step of the set-up came: its time begins anew. */
export function noteStep(context: Context, pending: PendingConnect<Session>): void {
  pending.heardAt = context.now;
  context.deadlines.set(pending.expiry, context.now + context.repetitionMs);
}

/**
 * During a will dialogue the client of before asks for something from the same address. The CONNECT may have been a late
 * copy, of which the client knows nothing: what it asks from now on is answered. When T_retry has gone by without a step of the
 * dialogue, the client would have repeated itself if it were in one, so there is none.
 */
export function noteTalksOn(context: Context, pending: PendingConnect<Session>, msgId: number | undefined): void {
  if (pending.stage === "broker") return;
  if (context.now - pending.heardAt >= context.retryOf(pending).intervalMs)
    return forgetPendingConnect(context, pending);
  if (msgId !== undefined && pending.asked.size < askedMax) pending.asked.add(msgId);
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
