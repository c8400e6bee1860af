/** Properties of MQTT 5: passed over, but for those of PUBLISH that mean something to a device. [MQTT 5 2.2.2] */

/** What of PUBLISH's properties counts here. */
export interface PublishProperties {
  readonly expirySeconds?: number;
  /** One for each of our subscriptions that it matches, where they have identifiers. */
  readonly subscriptionIds?: readonly number[];
}

/** A number of one to four octets; undefined where it does not end in them, or within `octets`. [MQTT 5 1.5.5] */
export function variableIntegerAt(octets: Uint8Array, at: number): number | undefined {
  let value = 0;
  for (let i = 0; i < 4; i++) {
    const octet = octets[at + i];
    if (octet === undefined) return undefined;
    value += (octet & 0x7f) * 2 ** (7 * i);
    if (octet < 0x80) return value;
  }
  return undefined;
}

function variableIntegerBytes(value: number): number {
  return value < 128 ? 1 : value < 16_384 ? 2 : value < 2_097_152 ? 3 : 4;
}

/** Where the properties end that begin here; undefined where they do not fit before `end`. */
export function skipProperties(octets: Uint8Array, at: number, end: number): number | undefined {
  const length = variableIntegerAt(octets, at);
  if (length === undefined) return undefined;
  const after = at + variableIntegerBytes(length) + length;
  return after <= end ? after : undefined;
}

const expiryInterval = 0x02;
const subscriptionIdentifier = 0x0b;
const userProperty = 0x26;

/** Octets of a property of PUBLISH behind its identifier; undefined: it is none, or was not agreed on (topic alias). */
function valueBytes(octets: Uint8Array, identifier: number, at: number): number | undefined {
  switch (identifier) {
    case 0x01: // payload format indicator
      return 1;
    case expiryInterval:
      return 4;
    case 0x03: // content type
    case 0x08: // response topic
    case 0x09: // correlation data
      return 2 + u16At(octets, at);
    case subscriptionIdentifier: {
      const value = variableIntegerAt(octets, at);
      return value === undefined || value === 0 ? undefined : variableIntegerBytes(value);
    }
    case userProperty: {
      const name = 2 + u16At(octets, at);
      return name + 2 + u16At(octets, at + name);
    }
    default:
      return undefined;
  }
}

/** Reads the properties of a PUBLISH; undefined where they are malformed. [MQTT 5 3.3.2.3] */
export function readPublishProperties(
  octets: Uint8Array,
  start: number,
  packetEnd: number,
): { readonly properties: PublishProperties; readonly end: number } | undefined {
  const end = skipProperties(octets, start, packetEnd);
  if (end === undefined) return undefined;
  let at = start + variableIntegerBytes(variableIntegerAt(octets, start) ?? 0);
  let seen = 0;
  let expirySeconds: number | undefined;
  const subscriptionIds: number[] = [];
  while (at < end) {
    const identifier = octets[at] as number;
    const bytes = valueBytes(octets, identifier, at + 1);
    if (bytes === undefined || !(at + 1 + bytes <= end)) return undefined;
    if (identifier === subscriptionIdentifier) subscriptionIds.push(variableIntegerAt(octets, at + 1) ?? 0);
    else if (identifier !== userProperty) {
      if (seen & (1 << identifier)) return undefined; // only those two may come more than once
      seen |= 1 << identifier;
    }
    if (identifier === expiryInterval) expirySeconds = u16At(octets, at + 1) * 65_536 + u16At(octets, at + 3);
    at += 1 + bytes;
  }
  const properties = {
    ...(expirySeconds !== undefined && { expirySeconds }),
    ...(subscriptionIds.length > 0 && { subscriptionIds }),
  };
  return { properties, end };
}

/** NaN beyond the end, which no comparison lets pass. */
function u16At(octets: Uint8Array, at: number): number {
  return (octets[at] ?? Number.NaN) * 256 + (octets[at + 1] ?? Number.NaN);
}
