/**
 * Topic rights were changed, now or while the gateway was down: subscriptions and wills of a client on topics that it
 * may not use any more end. Messages on their way need no check here, because rights are checked where they leave.
 */
import { reopen } from "../broker/links.ts";
import { brokerWill, sameWill, sayIfNotAllowed } from "../broker/will.ts";
import type { Context } from "../context.ts";
import { newUnsubscribe } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import { markChanged } from "./session-record.ts";
import { dropSubscription } from "./subscription-loss.ts";

export function endForbidden(context: Context, session: Session): void {
  const rights = context.rightsOf(session);
  if (!rights) return;
  const { clientId, peer } = session;
  for (const filter of [...session.subscriptions.keys()]) {
    if (rights.maySubscribe(filter)) continue;
    context.sayNotAllowed(rights, { clientId, peer, way: "subscribe", topic: filter });
    endSubscription(context, session, filter);
  }
  sayIfNotAllowed(context, session, rights);
  const { link } = session.broker;
  // The broker would publish this will at the next cut.
  const held = session.shared || !link?.will ? undefined : context.links.get(link.id);
  if (held && !sameWill(held.will, brokerWill(context, session)) && !rights.mayPublish(session.will?.topicName ?? ""))
    reopen(context, held, { isProbe: false });
}

/**
 * Ends a subscription, also if the broker is away: it is told over the next connection, because its session may have
 * the filter.
 */
function endSubscription(context: Context, session: Session, filter: string): void {
  const { broker } = session;
  if (session.shared || broker.link?.up) return dropSubscription(context, session, filter);
  session.subscriptions.delete(filter);
  markChanged(context, session);
  const packetId = broker.freePacketId();
  if (packetId !== undefined) broker.add(newUnsubscribe<Session>({ packetId, filter, origin: undefined }));
}
