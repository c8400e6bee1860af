/**
 * A client that is gone while the gateway still owes the broker what it accepted from it: the session lingers, with its
 * connection, until all of it is there. Then it ends as it would have ended at once.
 */
import { closeLink, detach, openLink } from "../broker/links.ts";
import { acknowledge } from "../broker/received-record.ts";
import { filterToBroker } from "../broker/topic-prefix.ts";
import { leaveTrunk } from "../broker/trunk-subscriptions.ts";
import type { Context } from "../context.ts";
import { dropWaiting, endSession, markChanged } from "../session/lifecycle.ts";
import type { Session } from "../state/session.ts";
import { publishWill } from "./farewell.ts";

/** The client said goodbye, or is lost and needs no will: its connection closes, and a clean session ends. */
export function leave(context: Context, session: Session, why: string, how: "disconnect" | "abandon"): void {
  if (session.account.owed > 0) return linger(context, session, { keepWill: false });
  session.lingers = false;
  detach(context, session, { how, endSession: session.clean });
  if (session.clean) endSession(context, session, why);
}

/** Goes on without the client. `keepWill`: it is published when all else is there. */
export function linger(context: Context, session: Session, { keepWill }: { keepWill: boolean }): void {
  session.lingers = true;
  if (!keepWill) session.will = undefined;
  if (session.clean) forgetDevice(context, session);
  markChanged(context, session);
  const { link } = session.broker;
  if (session.trunk) return;
  if (link && (link.will === undefined || keepWill)) return;
  // A will that the broker holds for somebody who said goodbye must not go out with the next cut.
  if (link) closeLink(context, session.broker, { how: "disconnect", endSession: false });
  openLink(context, session, { clean: session.clean, resume: true });
}

/** A clean session is over for the client, whatever it left behind. */
export function forgetDevice(context: Context, session: Session): void {
  const undecided = [...session.outbox].flatMap(({ received }) => (received ? [received] : []));
  dropWaiting(context, session, "session-ended");
  for (const received of undecided) acknowledge(context, session.broker, received, undefined);
  for (const msgId of [...session.taken.keys()]) {
    session.taken.delete(msgId);
    context.journal.put({ of: "taken", clientId: session.clientId, id: msgId, record: undefined });
  }
  const { broker } = session;
  if (session.trunk) leaveTrunk(context, session.trunk, session);
  for (const filter of session.trunk ? [] : session.subscriptions.keys()) {
    const packetId = broker.freePacketId();
    if (packetId === undefined) break;
    broker.add({ kind: "unsubscribe", packetId, filter, origin: undefined });
    if (!broker.link?.up) continue;
    const topicFilter = filterToBroker(session.upstream.options.topicPrefix, filter);
    context.out.add({ kind: "unsubscribe", linkId: broker.link.id, packetId, topicFilter });
  }
  session.subscriptions.clear();
  session.registry.clear();
  session.lastConnect = undefined;
  session.lately.clear();
  session.willMessage = undefined;
}

/** Everything that was accepted from this client is at the broker. */
export function onPaid(context: Context, session: Session): void {
  if (session.reported) {
    session.reported = false;
    context.out.report({ event: "backlog", clientId: session.clientId, count: 0 });
  }
  if (!session.lingers || session.setup) return;
  if (session.farewell) {
    if (session.broker.link?.up) publishWill(context, session);
    return;
  }
  leave(context, session, "everything it sent is at the broker", "disconnect");
}
