/**
 * Decides whether two packets to the broker are the same: they have the same content and belong to the same client. A
 * device may send a packet again under another MsgId, after a restart of the gateway, or after its client has changed
 * between its own and a shared connection. For the broker it is the same packet.
 */
import type { Publication } from "../types.ts";
import type { Exchange, ExchangeClient } from "./exchanges.ts";

/**
 * The identity of a packet to the broker. `identityOf` makes it; `whose` is the client, or the connection's own key for
 * the gateway's own packets.
 */
export interface PacketIdentity {
  readonly key: string;
  readonly client: string;
  /** At QoS 0 the content is not sent again, so the identity stands for all publications of its kind. */
  readonly isKind: boolean;
}

/** The client of a packet, or `whose`: the connection's own key for the gateway's own packets. */
export function clientOf<Client extends ExchangeClient>(exchange: Exchange<Client>, whose: string): string {
  return (exchange.kind === "publish" ? exchange.owner?.clientId : exchange.origin?.session.clientId) ?? whose;
}

export function identityOf<Client extends ExchangeClient>(exchange: Exchange<Client>, whose: string): PacketIdentity {
  const client = clientOf(exchange, whose);
  if (exchange.kind !== "publish") {
    return { key: JSON.stringify([client, exchange.kind, exchange.filter]), client, isKind: false };
  }
  const { publication } = exchange;
  const isKind = publication.qos === 0;
  return { key: isKind ? kindKey(client, publication) : publicationKey(client, publication), client, isKind };
}

export function publicationKey(client: string, publication: Publication): string {
  const { topicName, qos, retain } = publication;
  return JSON.stringify([client, "publish", topicName, qos, retain, ...contentOf(publication)]);
}

/** The key of a will in CONNECT. */
export function willKey(client: string, will: Publication): string {
  const { topicName, qos, retain } = will;
  return JSON.stringify([client, "connect", topicName, qos, retain, ...contentOf(will)]);
}

/** Distinguishes a publication from others of its kind: octets and hash of its payload. */
export function contentKey(publication: Publication): string {
  return contentOf(publication).join("/");
}

function contentOf({ payload }: Publication): [bytes: number, hash: number] {
  return [payload.byteLength, hashOfAll(payload)];
}

/** The key of a kind: client, topic, QoS and retain. */
export function kindKey(client: string, { topicName, qos, retain }: Publication): string {
  return JSON.stringify([client, "kind", topicName, qos, retain]);
}

/** FNV-1a over all octets. */
function hashOfAll(octets: Uint8Array): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < octets.byteLength; i++) hash = Math.imul(hash ^ (octets[i] ?? 0), 0x01000193);
  return hash >>> 0;
}
