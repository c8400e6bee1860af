/**
 * The limits of a broker, from its CONNACK or from the configuration. A broker of MQTT 3.1.1 that does not accept a
 * packet closes the connection, and interrupts all exchanges on it.
 */
import { utf8Bytes } from "../octets.ts";
import { metaBytes } from "../record.ts";
import { isShared } from "../state/filter-tree.ts";
import type { BrokerLimits, Publication, PublicationMeta } from "../types.ts";
import { filterToBroker } from "./topic-prefix.ts";

/** The most octets of an MQTT PUBLISH without topic and payload. */
const publishBytes = 16;
/** The most octets of SUBSCRIBE (MQTT 5 with a subscription identifier) and of UNSUBSCRIBE, without the filter. */
const subscribeBytes = 16;

/**
 * Whether the broker accepts this publication: its QoS, retain, and the size of the packet. `topicName` is the name at
 * the broker.
 */
export function takesPublication(limits: BrokerLimits, publication: Publication): boolean {
  const { qos, retain } = publication;
  return qos <= limits.maximumQoS && (!retain || limits.retainAvailable) && fitsPacket(limits, publication);
}

/** Octets of the properties of a PUBLISH, at most. */
export function propertyBytes(meta: PublicationMeta): number {
  const { userProperties = [], contentType = "", responseTopic = "" } = meta;
  let bytes = metaBytes(meta);
  for (const text of [...userProperties.flat(), contentType, responseTopic]) bytes += utf8Bytes(text) - text.length;
  return bytes;
}

export function fitsPacket({ maximumPacketBytes }: BrokerLimits, { topicName, payload, meta }: Publication): boolean {
  if (maximumPacketBytes === undefined) return true;
  const properties = meta ? propertyBytes(meta) : 0;
  return utf8Bytes(topicName) + payload.byteLength + properties + publishBytes <= maximumPacketBytes;
}

/**
 * Whether the broker accepts this filter: wildcards, shared subscriptions, and the size of the packet. `filter` is the
 * client's, without the prefix at the broker.
 */
export function takesFilter(limits: BrokerLimits, topicPrefix: string, filter: string): boolean {
  if (/[+#]/.test(filter) && !limits.wildcardAvailable) return false;
  if (isShared(filter) && !limits.sharedAvailable) return false;
  const { maximumPacketBytes = Number.POSITIVE_INFINITY } = limits;
  return utf8Bytes(filterToBroker(topicPrefix, filter)) + subscribeBytes <= maximumPacketBytes;
}
