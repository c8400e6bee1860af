/**
 * CONNECTs that are not finished: where a `PendingConnect` is recorded, and where it is removed. connect.ts and
 * connect-outcome.ts have the steps between.
 */
import type { Context } from "../context.ts";
import type { PendingConnect } from "../state/pending-connect.ts";
import type { Session } from "../state/session.ts";
import { markChanged } from "./session-record.ts";

/** Limit of remembered MsgIds during one dialogue. A client sends fewer at a time. */
const askedMax = 100;

/** Records an open CONNECT. It is forgotten if it takes longer than a client repeats its messages. */
export function beginPendingConnect(context: Context, pending: PendingConnect<Session>): void {
  context.pendingConnects.set(pending.peer, pending);
  noteStep(context, pending);
}

/** A message of the will dialogue arrived: its time begins again. */
export function noteStep(context: Context, pending: PendingConnect<Session>): void {
  pending.heardAt = context.now;
  context.deadlines.set(pending.expiry, context.now + context.repetitionMs);
}

/**
 * During a will dialogue the earlier client at the same address sends a request. The CONNECT may have been a late copy that the client has
 * forgotten. From now on its requests are answered. If T_retry passes without a message of the dialogue, the client is not in a dialogue,
 * because it would have repeated its message.
 */
export function noteTalksOn(context: Context, pending: PendingConnect<Session>, msgId: number | undefined): void {
  if (pending.stage === "broker") return;
  if (context.now - pending.heardAt >= context.retryOf(pending).intervalMs)
    return forgetPendingConnect(context, pending);
  if (msgId !== undefined && pending.asked.size < askedMax) pending.asked.add(msgId);
}

/** CONNECT and will are complete: from now on the pending CONNECT delays this session. */
export function bindPendingConnect(pending: PendingConnect<Session>, session: Session): void {
  pending.session = session;
  session.pendingConnect = pending;
}

/**
 * Removes a pending CONNECT that was answered, or for which no client waits any more. Messages that it delayed are sent
 * now, to its client and to the session at its address.
 */
export function forgetPendingConnect(context: Context, pending: PendingConnect<Session>): void {
  context.deadlines.clear(pending.expiry);
  if (context.pendingConnects.get(pending.peer) === pending) context.pendingConnects.delete(pending.peer);
  if (pending.session?.pendingConnect === pending) {
    pending.session.pendingConnect = undefined;
    markChanged(context, pending.session); // the session has the will of this CONNECT, even if the broker refused
  }
  if (pending.session) context.touch(pending.session);
  const present = context.sessions.byPeer(pending.peer);
  if (present) context.touch(present);
}
