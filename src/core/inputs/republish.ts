/** The operator sends dead letters again, to where they were going. */
import { purge } from "../broker/dead-letters.ts";
import type { Context } from "../context.ts";
import type { LetterRecord } from "../record.ts";
import { append } from "../session/backlog.ts";
import { handOver } from "../session/deliver.ts";
import { awaitForwarding } from "../session/leave.ts";
import { newSession } from "../session/new-session.ts";
import type { Publication } from "../types.ts";

/** Sends dead letters again, in their original direction. A letter for a client without a session stays. */
export function republish(context: Context, ids: readonly (readonly [id: number, record: LetterRecord])[]): void {
  for (const [id, { direction, publication, reason }] of ids) {
    const clientId = context.letters.present.get(id);
    if (clientId === undefined) continue;
    const isSent =
      direction === "up"
        ? sendUp(context, clientId, publication)
        : sendDown(context, clientId, publication, reason !== "payload-unfit");
    if (isSent) purge(context, [id]);
  }
}

function sendUp(context: Context, clientId: string, publication: Publication): boolean {
  let session = context.sessions.byClientId(clientId);
  if (!session) {
    if (context.sessions.size >= context.options.clients.sessionsMax) return false; // the letter stays
    session = newSession(context, clientId, { clean: true, peer: undefined, dialect: context.dialects[0] });
    context.sessions.add(session);
  }
  append(context, session, publication);
  const isIdle = session.state === "disconnected" || session.state === "lost";
  if (isIdle && !session.awaitsForwarding) awaitForwarding(context, session, { keepWill: false });
  return true;
}

function sendDown(context: Context, clientId: string, publication: Publication, isEncoded: boolean): boolean {
  const session = context.sessions.byClientId(clientId);
  if (!session) return false;
  handOver(context, session, publication, { isEncoded }); // without room it becomes a dead letter again
  return true;
}
