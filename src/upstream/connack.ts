/** A refused CONNECT, as far as a device can be told. */
import type { LinkRefusal } from "../core/input.ts";

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

/** MQTT 3.1.1 return codes, as the MQTT 5 reasons they became. */
const from311: Readonly<Record<number, number>> = { 1: 132, 2: 133, 3: 136, 4: 134, 5: 135 };

/** These pass with time; the device may try again. */
const passing = new Set([136, 137, 151, 156, 157, 159]);

export function refusalOf(isV5: boolean, code: number): { refusal: LinkRefusal; reason: string; reasonCode: number } {
  const reasonCode = isV5 ? code : (from311[code] ?? code);
  return {
    refusal: passing.has(reasonCode) ? "congestion" : "notSupported",
    reasonCode,
    reason: `the broker refused the connection: ${reasons[reasonCode] ?? `reason ${code}`}`,
  };
}
