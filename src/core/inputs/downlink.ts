/** What the operator does with messages for one client: drops waiting messages, or sends a message. */
import type { Context } from "../context.ts";
import { handOver } from "../session/deliver.ts";
import { giveUp } from "../session/drop.ts";
import type { Publication } from "../types.ts";

/**
 * Drops waiting messages, and keeps them as dead letters. The message in flight stays, because the client may have it.
 */
export function purgeDownlink(context: Context, clientId: string): void {
  const session = context.sessions.byClientId(clientId);
  if (!session) return;
  const { inFlight } = session.outbox;
  for (const entry of [...session.outbox]) {
    if (inFlight?.kind === "publish" && inFlight.entry === entry) continue;
    giveUp(context, session, entry, "purged");
  }
  context.touch(session);
}

/** Sends a message as if it had come from the broker, which does not know of it. */
export function sendByOperator(context: Context, clientId: string, publication: Publication): void {
  const session = context.sessions.byClientId(clientId);
  if (session) handOver(context, session, publication, { isEncoded: true });
}
