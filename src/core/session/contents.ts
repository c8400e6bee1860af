/** Payloads by declaration. The declaration is used once for each publication, when it is accepted. See payloads.ts. */
import { storeExchange } from "../broker/exchange-record.ts";
import { sendOrWait, sendUnanswered } from "../broker/sending.ts";
import { toBroker } from "../broker/topic-prefix.ts";
import type { Context } from "../context.ts";
import type { UpstreamPolicy } from "../options.ts";
import type { Decoded, Origin, Unfit } from "../payloads.ts";
import { transportNameOf } from "../peer-id.ts";
import { newPublishExchange } from "../state/exchanges.ts";
import type { OutboxEntry } from "../state/outbox-entry.ts";
import type { Session } from "../state/session.ts";
import type { PeerId, Publication, PublicationMeta } from "../types.ts";
import { append, isStoreAndForward } from "./backlog.ts";
import { refuseEntry } from "./drop.ts";
import { newEntry } from "./queued-record.ts";

/** At most so many octets of a payload are in the message about its error. */
const shownBytesMax = 32;

interface Sender {
  readonly clientId: string | undefined;
  readonly peer: PeerId | undefined;
}

/** The payload of a device as it is forwarded; undefined: it is forwarded unchanged. */
export function decodedOf(
  context: Context,
  { clientId, peer }: Sender,
  topicName: string,
  payload: Uint8Array,
): Decoded | undefined {
  const decoded = context.payloads?.up(clientId, topicName, payload, () => originOf(context, peer));
  if (decoded?.is !== "unfit") return decoded;
  noteUnfit(context, { clientId, peer, topicName, direction: "up" }, payload, decoded);
  return undefined;
}

function originOf(context: Context, peer: PeerId | undefined): Origin {
  const rssi = peer === undefined ? undefined : context.rssiAt(peer);
  const acceptedAt = context.environment.wallClock();
  return {
    ...(peer !== undefined && { transport: transportNameOf(peer) }),
    ...(rssi !== undefined && { rssi }),
    ...(acceptedAt !== undefined && { acceptedAt }),
  };
}

/** Properties of a device's publication besides topic and payload; undefined: none. [MQTT-5 3.3.2.3] */
export function metaFor(
  context: Context,
  { protocol, tellsSender }: UpstreamPolicy,
  { clientId, peer }: Sender,
  decoded: Decoded | undefined,
): PublicationMeta | undefined {
  if (protocol !== "5" || (!tellsSender && !decoded)) return undefined;
  const sender: [string, string][] = [];
  if (tellsSender && clientId !== undefined) sender.push(["client", clientId]);
  if (tellsSender && peer !== undefined) {
    sender.push(["transport", transportNameOf(peer)]);
    const rssi = context.rssiAt(peer);
    if (rssi !== undefined) sender.push(["rssi", String(rssi)]);
  }
  return {
    ...(decoded && { contentType: decoded.contentType }),
    ...(sender.length > 0 && { userProperties: sender }),
  };
}

/**
 * Adds the time of acceptance to a publication that waited on disk. `at`: wall clock, ms since 1970; 0 = the clock
 * could not be trusted then.
 */
export function withAcceptance(
  { protocol, tellsSender }: UpstreamPolicy,
  publication: Publication,
  at: number,
): Publication {
  if (protocol !== "5" || !tellsSender || at === 0) return publication;
  return { ...publication, meta: { ...publication.meta, originAt: at } };
}

/**
 * The payload for a device, in its own format. `unfit`: a declaration applies, and the payload cannot be encoded, so the device could not
 * use it.
 */
export function encodedFor(
  context: Context,
  session: Session,
  publication: Publication,
  payloads = context.payloads,
): Publication | "unfit" {
  if (!payloads) return publication;
  const { clientId, peer } = session;
  const { topicName, payload } = publication;
  const encoded = payloads.down(clientId, topicName, payload);
  if (!encoded) return publication;
  if (encoded.is === "made") return { ...publication, payload: encoded.payload };
  noteUnfit(context, { clientId, peer, topicName, direction: "down" }, payload, encoded);
  return "unfit";
}

/**
 * Makes the outbox entry for a message to a client. Undefined: the payload cannot be encoded for the device, and the
 * message is dropped.
 */
export function entryFor(
  context: Context,
  session: Session,
  publication: Publication,
  options: Parameters<typeof newEntry>[3],
): OutboxEntry | undefined {
  const encoded = encodedFor(context, session, publication, options?.received?.payloads);
  const { clientId } = session;
  if (encoded !== "unfit") return newEntry(context, clientId, encoded, options);
  refuseEntry(context, session, newEntry(context, clientId, publication, options), "payload-unfit");
  return undefined;
}

function noteUnfit(
  context: Context,
  of: Sender & { readonly topicName: string; readonly direction: "up" | "down" },
  payload: Uint8Array,
  { why }: Unfit,
): void {
  context.counters.payloadsUnfit++;
  const octets = payload.byteLength;
  const begin = hexOf(payload.subarray(0, shownBytesMax));
  context.out.report({ event: "payload_unfit", ...of, why, octets, begin });
}

function hexOf(octets: Uint8Array): string {
  return Array.from(octets, (octet) => octet.toString(16).padStart(2, "0")).join("");
}

/**
 * Publishes the original octets, besides the result of the declaration: a second publication at the same QoS. The
 * client's acknowledgement does not wait for it, so the gateway is responsible for it at once. It is on disk in the
 * same commit as the first publication, before either is sent.
 */
export function publishRaw(
  context: Context,
  session: Session,
  made: Publication,
  raw: { readonly topicName: string; readonly payload: Uint8Array },
): void {
  const { broker, clientId } = session;
  const topicName = toBroker(session.upstream.options.topicPrefix, raw.topicName);
  const { qos, retain } = made;
  const meta = metaFor(context, session.upstream.options, session, undefined);
  const copy: Publication = { topicName, payload: raw.payload, qos, retain, ...(meta && { meta }) };
  const isLive = broker.link?.up === true && !broker.link.congested;
  const about = { clientId, detail: `QoS ${copy.qos} ${topicName}: the octets as they came` };
  context.counters.publishedUp++;
  if (copy.qos === 0) {
    if (isLive && sendUnanswered(context, broker, session, copy)) return;
    if (isLive || !isStoreAndForward(context, clientId) || !context.options.uplink.policyOf(clientId).qos0)
      return context.drop("link-down", about);
  }
  const mayNotPass = session.account.backlog.count > 0;
  if ((!isLive || mayNotPass) && isStoreAndForward(context, clientId)) {
    append(context, session, copy);
    return;
  }
  const packetId = broker.freePacketId();
  if (packetId === undefined) return context.drop("uplink-congested", about);
  const exchange = newPublishExchange(packetId, copy, session, { accepted: true });
  broker.add(exchange);
  storeExchange(context, clientId, exchange);
  sendOrWait(context, broker, exchange);
}
