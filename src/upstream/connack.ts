/** Reads CONNACK: a refusal in the words that a device can be told, or the limits of the broker. */
import type { IConnackPacket } from "mqtt-packet";
import type { LinkRefusal } from "../core/input.ts";
import type { BrokerLimits, QoS } from "../core/types.ts";
import type { BrokerWays } from "./presets.ts";

export const packetTooLarge = 0x95;
const sharedNotSupported = 0x9e;
const wildcardsNotSupported = 0xa2;
/** Octets of SUBSCRIBE and UNSUBSCRIBE besides the filter, at most. */
const subscribeBytes = 16;

const reasons: Readonly<Record<number, string>> = {
  132: "unsupported protocol version",
  133: "client id not valid",
  134: "bad user name or password",
  135: "not authorised",
  136: "server unavailable",
  137: "server busy",
  138: "banned",
  140: "bad authentication method",
  144: "will topic not valid",
  149: "packet too large",
  151: "quota exceeded",
  154: "retain not supported",
  155: "QoS not supported",
  156: "use another server",
  157: "server moved",
  159: "connection rate exceeded",
};

/** MQTT 3.1.1 return codes, as the corresponding reason codes of MQTT 5. */
const from311: Readonly<Record<number, number>> = { 1: 132, 2: 133, 3: 136, 4: 134, 5: 135 };

/** Temporary refusals; the device may try again. */
const passing = new Set([136, 137, 151, 156, 157, 159]);

export function refusalOf(isV5: boolean, code: number): { refusal: LinkRefusal; reason: string; reasonCode: number } {
  const reasonCode = isV5 ? code : (from311[code] ?? code);
  return {
    refusal: passing.has(reasonCode) ? "congestion" : "notSupported",
    reasonCode,
    reason: `the broker refused the connection: ${reasons[reasonCode] ?? `reason ${code}`}`,
  };
}

/** The lower limits of CONNACK and configuration. */
export function limitsOf(packet: IConnackPacket, isV5: boolean, ways: BrokerWays): BrokerLimits {
  const said = packet.properties ?? {};
  const packetBytes = Math.min(
    said.maximumPacketSize ?? Number.POSITIVE_INFINITY,
    ways.packetBytesMax ?? Number.POSITIVE_INFINITY,
  );
  return {
    receiveMaximum: said.receiveMaximum ?? 65_535,
    ...(!isV5 && { exactlyOnceMaximum: ways.qos2InFlightMax }),
    maximumQoS: Math.min(said.maximumQoS ?? 2, ways.qosMax) as QoS,
    retainAvailable: (said.retainAvailable ?? true) && ways.retain,
    maximumPacketBytes: Number.isFinite(packetBytes) ? packetBytes : undefined,
    wildcardAvailable: said.wildcardSubscriptionAvailable ?? true,
    sharedAvailable: said.sharedSubscriptionAvailable ?? true,
    subscriptionIdsAvailable: said.subscriptionIdentifiersAvailable ?? true,
  };
}

/** The MQTT 5 reason code for a filter that the broker does not accept; undefined: it does. */
export function whyNotTaken(limits: BrokerLimits, topicFilter: string): number | undefined {
  const { maximumPacketBytes = Number.POSITIVE_INFINITY, wildcardAvailable, sharedAvailable } = limits;
  if (Buffer.byteLength(topicFilter) + subscribeBytes > maximumPacketBytes) return packetTooLarge;
  if (!wildcardAvailable && /[+#]/.test(topicFilter)) return wildcardsNotSupported;
  if (!sharedAvailable && topicFilter.startsWith("$share/")) return sharedNotSupported;
  return undefined;
}
