/** A subscription ends although its client did not ask for it. */
import { reasonOf, sendOrWait } from "../broker/sending.ts";
import { leaveFilter } from "../broker/shared-subscriptions.ts";
import type { Context } from "../context.ts";

import { newUnsubscribe } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import { markChanged } from "./session-record.ts";

/**
 * Ends a subscription, for example because the client refused the topic name in REGACK, which counts as an unsubscribe
 * from this name. [§6.10]
 */
export function dropSubscription(context: Context, session: Session, filter: string): void {
  const { broker } = session;
  if (!session.subscriptions.delete(filter)) return;
  markChanged(context, session);
  if (session.shared) return void leaveFilter(context, session.shared, session, filter, undefined);
  const packetId = broker.freePacketId();
  if (!broker.link?.up || packetId === undefined) return; // it is not subscribed to over the next connection
  const exchange = newUnsubscribe<Session>({ packetId, filter, origin: undefined });
  broker.add(exchange);
  sendOrWait(context, broker, exchange);
}

/**
 * Ends and logs a subscription that the broker refuses after it was granted while the broker was away, or when it is
 * made again.
 */
export function dropLateRefused(context: Context, session: Session | undefined, filter: string, code: number): void {
  if (!session?.subscriptions.has(filter) || reasonOf(code) === "accepted") return;
  context.drop("refused-by-broker", { clientId: session.clientId, detail: `SUBSCRIBE ${filter}, code ${code}` });
  session.subscriptions.delete(filter);
  markChanged(context, session);
}
