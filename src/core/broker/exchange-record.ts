/**
 * Stored publications at QoS 2 on the way to the broker. The record is written before PUBLISH is sent, and again before PUBREL is sent.
 *
 * After a crash, a PUBLISH is sent again with its packet id, and a PUBREL is sent again. If the device repeats its message, the gateway
 * finds the exchange by the record, so the message arrives exactly once. At QoS 1 nothing is stored, because the device repeats the
 * message.
 */
import type { Context } from "../context.ts";
import type { UplinkRecord } from "../record.ts";
import { newPublishExchange, type PublishExchange } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import type { CommitToken } from "../types.ts";

export function storeExchange(
  context: Context,
  clientId: string,
  exchange: PublishExchange<Session>,
): CommitToken | undefined {
  if (!context.journal.enabled) return undefined;
  exchange.stored = true;
  const record = recordOfExchange(exchange);
  const token = context.journal.put({ of: "uplink", clientId, id: exchange.packetId, record });
  exchange.writtenWith = token ?? 0;
  return token;
}

/** The exchange is over. */
export function forgetExchange(context: Context, exchange: PublishExchange<Session>): void {
  const clientId = exchange.owner?.clientId;
  if (!exchange.stored || clientId === undefined) return;
  exchange.stored = false;
  context.journal.remove({ of: "uplink", clientId, id: exchange.packetId, record: undefined });
}

function recordOfExchange({ publication, origin, stage, isWill }: PublishExchange<Session>): UplinkRecord {
  return {
    publication,
    origin: origin && originRecord(origin),
    stage: stage === "released" ? "released" : "open",
    isWill,
  };
}

function originRecord({ msgId, topicId, heard }: NonNullable<PublishExchange<Session>["origin"]>) {
  return heard === undefined ? { msgId, topicId } : { msgId, topicId, heard };
}

/** Makes the exchange from its record; the caller knows to which client it belongs. */
export function exchangeFrom(
  packetId: number,
  record: UplinkRecord,
  of: { readonly owner: Session; readonly origin: PublishExchange<Session>["origin"] },
): PublishExchange<Session> {
  const { owner, origin } = of;
  return newPublishExchange(packetId, record.publication, owner, {
    origin,
    stage: record.stage === "released" ? "released" : "waiting",
    sentBefore: true,
    isWill: record.isWill,
    stored: true,
    accepted: origin === undefined && !record.isWill,
  });
}
