/**
 * SUBSCRIBE and UNSUBSCRIBE messages from before the client's last CONNECT that the broker has not answered yet. The client
 * may have lost its state, so the same MsgId may mean another request now, and an answer would be taken for the answer to that
 * one. Such a request continues towards the broker. The client gets an answer only if it repeats the request. [interpretation 14b]
 */
import { mayHave } from "../broker/rights.ts";
import type { Context } from "../context.ts";
import type { SubscribeExchange, UnsubscribeExchange } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import { markChanged } from "./session-record.ts";

type Request = SubscribeExchange<Session> | UnsubscribeExchange<Session>;

/** The client has connected again. */
export function detachRequests(session: Session): void {
  for (const request of session.subscribesInFlight.values()) request.fromBeforeConnect = true;
}

/**
 * Whether the client waits for the answer to this request already. If the request is from before the last CONNECT, the client
 * gets its answer from now on.
 * @param qos of a SUBSCRIBE; undefined: an UNSUBSCRIBE
 */
export function isRepeated(session: Session, msgId: number, filter: string, qos: number | undefined): boolean {
  const request = session.subscribesInFlight.get(msgId);
  if (!request) return false;
  if (!request.fromBeforeConnect) return true;
  const isSame = request.filter === filter && (request.kind === "subscribe" ? request.qos : undefined) === qos;
  if (isSame) request.fromBeforeConnect = false;
  return isSame;
}

/** Requests that the client gives up with this one: it has the same MsgId, or it is a SUBSCRIBE of the same filter. */
export function givenUp(session: Session, msgId: number, filter: string | undefined): readonly Request[] {
  const { subscribesInFlight } = session;
  if (subscribesInFlight.size === 0) return none;
  const requests: Request[] = [];
  for (const [id, request] of subscribesInFlight) {
    if (!request.fromBeforeConnect) continue;
    if (id === msgId || (request.kind === "subscribe" && request.filter === filter)) requests.push(request);
  }
  return requests;
}

/**
 * The broker is still to execute these requests, but no client waits for an answer. A SUBSCRIBE counts as granted; if the broker
 * refuses it later, the subscription is removed as if it had been granted while the broker was away.
 * @param replaced the filter of a new SUBSCRIBE, which takes the place of those that were not sent yet
 */
export function settleGivenUp(
  context: Context,
  session: Session,
  requests: readonly Request[],
  replaced: string | undefined,
): void {
  for (const request of requests) {
    const { filter, origin } = request;
    if (origin && session.subscribesInFlight.get(origin.msgId) === request)
      session.subscribesInFlight.delete(origin.msgId);
    if (request.kind === "unsubscribe") session.subscriptions.delete(filter);
    else if (filter !== replaced && origin && "by" in origin && mayHave(context, session, "subscribe", filter)) {
      const { by, predefinedId } = origin;
      session.subscriptions.set(filter, { filter, qos: request.qos, by, predefinedId });
    }
    markChanged(context, session);
    if (session.shared) continue;
    if (filter === replaced && !request.isSent) session.broker.finish(request);
    else request.origin = undefined;
  }
}

const none: readonly never[] = [];
