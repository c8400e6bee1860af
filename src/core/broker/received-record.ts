/**
 * Stored QoS 2 deliveries, until the broker's PUBREL. After a crash, a delivery that the broker repeats is recognized
 * by its packet id, whether a device already has it or it waits here.
 *
 * The state of a broker may be older than the gateway's: it lost power, or it began a session and its CONNACK was lost.
 * Such a broker may use a packet id that is open here for another message. The content shows that this message is new,
 * because DUP is not reliable for this.
 */
import type { Context } from "../context.ts";
import { sameBytes } from "../octets.ts";
import type { BrokerSession } from "../state/broker-session.ts";
import type { Received } from "../state/exchanges.ts";
import type { Session } from "../state/session.ts";
import type { CommitToken, Publication } from "../types.ts";

/** `seq`: the queued message that it is, while it is not acknowledged; 0 afterwards. */
export function storeReceived(
  context: Context,
  clientId: string,
  received: Received,
  seq: number,
): CommitToken | undefined {
  if (!context.journal.enabled || received.publication.qos !== 2) return undefined;
  received.stored = true;
  const { packetId: id, hash } = received;
  return context.journal.put({
    of: "received",
    clientId,
    id,
    record: { seq, ...(hash !== undefined && { hash }) },
  });
}

/**
 * The broker has released the delivery, or has forgotten it. From now on, the packet id may belong to another message.
 * The disk must know this first.
 */
export function forgetReceived(context: Context, clientId: string, received: Received): void {
  if (!received.stored) return;
  received.stored = false;
  context.journal.put({ of: "received", clientId, id: received.packetId, record: undefined });
}

/**
 * Acknowledges the delivery at the broker. If its connection has ended, this happens when the broker sends the delivery again. Both wait
 * for the commit `after`. An entry of the outbox that was this delivery is separated from it first (`unbindDelivery`).
 */
export function acknowledge(
  context: Context,
  broker: BrokerSession<Session>,
  received: Received,
  after: CommitToken | undefined,
): void {
  if (received.stage !== "open" && received.stage !== "done") return;
  const { link } = broker;
  const { qos } = received.publication;
  received.after = after;
  if (!link?.up || received.connection !== broker.connection) {
    received.stage = "done";
    return;
  }
  if (qos === 1) broker.received.delete(received.packetId);
  received.stage = "acknowledged";
  const { packetId } = received;
  const ack = qos === 1 ? "puback" : "pubrec";
  context.out.add({ kind: "ackBroker", linkId: link.id, ack, packetId, ...(after !== undefined && { after }) });
}

/**
 * Whether this publication is the one that is open under its packet id. If the content is not known (an older store),
 * the packet id alone decides.
 */
export function isSameMessage({ hash }: Received, publication: Publication): boolean {
  return hash === undefined || hash === contentHash(publication);
}

/** Hash of topic name and payload, FNV-1a. */
export function contentHash({ topicName, payload }: Publication): number {
  let hash = 0x811c9dc5 ^ payload.byteLength;
  for (let i = 0; i < topicName.length; i++) hash = Math.imul(hash ^ topicName.charCodeAt(i), 0x01000193);
  for (let i = 0; i < payload.byteLength; i++) hash = Math.imul(hash ^ (payload[i] ?? 0), 0x01000193);
  return hash;
}

export function samePublication(a: Publication, b: Publication): boolean {
  return a.topicName === b.topicName && sameBytes(a.payload, b.payload);
}
