/**
 * CONNECTs that are not finished: where a `PendingConnect` is recorded, and where it is removed. connect.ts and
 * connect-outcome.ts have the steps between.
 */
import type { Context } from "../context.ts";
import type { PendingConnect } from "../state/pending-connect.ts";
import type { Session } from "../state/session.ts";
import { markChanged } from "./session-record.ts";

/** Messages of one dialogue; a client sends fewer at a time. */
const askedMax = 100;

/** A CONNECT came. The set-up is forgotten when it takes longer than a client repeats itself. */
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

/** Everything is known: from now on it holds up this session. */
export function bindPendingConnect(pending: PendingConnect<Session>, session: Session): void {
  pending.session = session;
  session.pendingConnect = pending;
}

/** The CONNECT is answered, or no client waits for it any more. What it delayed continues: for its client, and for one at its address. */
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
