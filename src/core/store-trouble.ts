/**
 * The store does not take what it is given (full, read-only, failing): what needs it is refused with congestion, the
 * rest goes on, and it is tried again until it does.
 */
import type { Context } from "./context.ts";
import { drainSoon } from "./routing/drain.ts";
import { acknowledgeUnkept } from "./routing/fan-out.ts";
import type { CommitToken } from "./types.ts";

const probeMs = 2_000;

export function onPersistFailed(context: Context, token: CommitToken, why: string): void {
  context.out.report({ event: "persist_failed", why });
  for (const undo of context.journal.settle(token)) undo();
  context.storeFails = true;
  context.deadlines.set(context.probe, context.now + probeMs);
}

export function onPersisted(context: Context): void {
  if (!context.storeFails) return;
  context.storeFails = false;
  context.deadlines.clear(context.probe);
  context.out.report({ event: "persist_recovered" });
  for (const { trunks } of context.upstreams.all) for (const trunk of trunks) acknowledgeUnkept(context, trunk);
  for (const session of context.sessions.all()) drainSoon(context, session);
}

/** A commit of nothing: what the store could not write before goes with it. */
export function probeStore(context: Context): void {
  context.journal.touch();
}
