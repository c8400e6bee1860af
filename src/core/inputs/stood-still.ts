/**
 * The process stood still: a container was frozen, a virtual machine moved, the machine swapped. What clients and the store
 * said meanwhile may wait to be read, or may be lost, for a socket holds so much and no more. So, as after a restart, that
 * silence counts against nobody: each client has its full time from now on, and what was unanswered is asked once more.
 */
import type { Context } from "../context.ts";

/** `ms`: for so long, at most. */
export function onStoodStill(context: Context, ms: number): void {
  context.out.report({ event: "stood_still", ms });
  const { now, deadlines } = context;
  for (const session of context.sessions.all()) {
    const { state, retry, outbox } = session;
    if (state === "disconnected" || state === "lost") continue;
    session.lastHeard = now; // its deadline looks at that when it comes up
    if (!outbox.inFlight) continue;
    outbox.inFlight.tries = Math.max(0, outbox.inFlight.tries - 1); // the answer to the last may be lost
    deadlines.set(retry, now + context.retryOf(session).intervalMs);
  }
  for (const { expiry } of context.pendingConnects.values()) {
    if (expiry.at !== undefined && expiry.at <= now) deadlines.set(expiry, now + context.repetitionMs);
  }
  context.retainedWaits.prolong(ms);
  if (context.store.busySince !== undefined) context.store.busySince = now;
}
