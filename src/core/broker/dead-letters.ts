/**
 * Dead letters: messages at QoS 1 and 2 that were dropped. They are kept for a while, so that the operator can see them
 * and send them again. They are on disk; only their list is here. Beyond the limit the oldest one is deleted.
 */
import type { Context } from "../context.ts";
import type { DeadLetter } from "../state/letters.ts";
import type { Session } from "../state/session.ts";
import type { Upstream } from "../state/upstream.ts";
import { publishByService } from "./service.ts";

export function keepDeadLetter(context: Context, letter: DeadLetter): void {
  const { max, topic, superseded } = context.options.deadLetters;
  const { clientId, direction, reason, publication, mayBeThere } = letter;
  if (publication.qos === 0 || (reason === "superseded" && !superseded)) return;
  if (topic !== undefined) announce(context, topic, letter);
  if (!context.journal.enabled || max === 0) return;
  const { letters } = context;
  const id = ++letters.last;
  const at = context.environment.wallClock() ?? 0;
  letters.present.set(id, clientId);
  // Stored before any sender gets the answer that the message is finished.
  const record = { direction, reason, publication, at, ...(mayBeThere && { mayBeThere }) };
  context.journal.put({ of: "letter", clientId, id, record });
  const oldest = letters.present.size > max ? letters.present.keys().next() : undefined;
  if (oldest && !oldest.done) purge(context, [oldest.value]);
}

/** Deleted. */
export function purge(context: Context, ids: readonly number[]): void {
  for (const id of ids) {
    const clientId = context.letters.present.get(id);
    if (clientId === undefined) continue;
    context.letters.present.delete(id);
    context.journal.remove({ of: "letter", clientId, id, record: undefined });
  }
}

/** Publishes the dead letter: JSON, with the payload in base64. */
function announce(context: Context, topic: string, { clientId, direction, reason, publication }: DeadLetter): void {
  const payload = base64(publication.payload);
  const { topicName, qos, retain } = publication;
  const text = JSON.stringify({ clientId, direction, reason, topic: topicName, qos, retain, payload });
  publishByService(context, upstreamOf(context, clientId), {
    topicName: topic,
    payload: new TextEncoder().encode(text),
    qos: 0,
    retain: false,
  });
}

function upstreamOf(context: Context, clientId: string): Upstream<Session> {
  return context.sessions.look(clientId)?.upstream ?? context.upstreams.of(clientId, undefined);
}

function base64(octets: Uint8Array): string {
  let binary = "";
  for (const octet of octets) binary += String.fromCharCode(octet);
  return btoa(binary);
}
