/**
 * The process did not run for a while: a container was frozen, a virtual machine was moved, or the machine swapped.
 * Messages of clients and answers of the store may wait to be read, or may be lost, because the buffer of a socket is
 * limited. So, as after a restart, this silence counts against no client: each gets its full time from now on, and
 * unanswered requests are repeated once.
 */
import type { Context } from "../context.ts";

/** `ms`: the process stood still for at most this long. */
export function onStoodStill(context: Context, ms: number): void {
  context.out.report({ event: "stood_still", ms });
  const { now, deadlines } = context;
  for (const session of context.sessions.live()) {
    const { state, retry, outbox } = session;
    if (state === "disconnected" || state === "lost") continue;
    session.lastHeard = now; // the deadline of the session is compared with this when it is due
    if (!outbox.inFlight) continue;
    outbox.inFlight.tries = Math.max(0, outbox.inFlight.tries - 1); // the answer to the last copy may be lost
    deadlines.set(retry, now + context.retryOf(session).intervalMs);
  }
  context.sessions.noteSleepersHeard(now);
  for (const { expiry } of context.pendingConnects.values()) {
    if (expiry.at !== undefined && expiry.at <= now) deadlines.set(expiry, now + context.repetitionMs);
  }
  context.retainedWaits.prolong(ms);
  if (context.store.busySince !== undefined) context.store.busySince = now;
}
