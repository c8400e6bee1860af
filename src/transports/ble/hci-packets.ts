/**
 * The few packets between a host and its Bluetooth controller that this gateway reads or writes itself, beside noble.
 * Numbers are those of the Bluetooth Core Specification 5.4: volume 4 part E (commands and events), volume 3 part A
 * (L2CAP), part F (ATT) and part H (SMP).
 */

/**
 * The parameters of a link: the connection interval, how many intervals the device may skip, and how long a silence
 * ends the link.
 */
export interface LinkParameters {
  readonly intervalMs: number;
  readonly latency: number;
  readonly supervisionMs: number;
}

/** Parameters that are requested from a controller, or by a device. */
export interface WantedParameters {
  readonly intervalMsMin: number;
  readonly intervalMsMax: number;
  readonly latency: number;
  readonly supervisionMs: number;
}

export type HciPacket =
  | {
      readonly is: "connected";
      readonly handle: number;
      readonly address: string;
      readonly addressType: "public" | "random";
      readonly parameters: LinkParameters;
    }
  | { readonly is: "disconnected"; readonly handle: number; readonly reason: number }
  /** Status 0: the link is encrypted now, or is not any more. */
  | { readonly is: "encryption"; readonly handle: number; readonly status: number; readonly isOn: boolean }
  | { readonly is: "updated"; readonly handle: number; readonly status: number; readonly parameters: LinkParameters }
  /** The device's controller asks for other parameters. [4.E.7.7.65.6] */
  | { readonly is: "asked"; readonly handle: number; readonly wanted: WantedParameters }
  /** The controller refused a command before it began to execute it. */
  | { readonly is: "refused"; readonly opcode: number; readonly status: number }
  /** A whole L2CAP packet that came from a device. */
  | { readonly is: "data"; readonly handle: number; readonly channel: number; readonly payload: Buffer }
  /** The first fragment of a packet with `length` octets. Only for the channel of the Security Manager. */
  | { readonly is: "begun"; readonly handle: number; readonly length: number; readonly payload: Buffer }
  /** The rest, of any channel. */
  | { readonly is: "more"; readonly handle: number; readonly payload: Buffer };

export const channels = { att: 4, signalling: 5, security: 6 } as const;
export const opcodes = {
  disconnect: 0x0406,
  setLeEventMask: 0x2001,
  readLeBufferSize: 0x2002,
  updateConnection: 0x2013,
  startEncryption: 0x2019,
  acceptParameters: 0x2020,
  refuseParameters: 0x2021,
  extendedScan: 0x2041,
} as const;

const packetTypes = { command: 1, data: 2, event: 4 } as const;
const events = { disconnected: 0x05, encryption: 0x08, commandComplete: 0x0e, commandStatus: 0x0f, le: 0x3e } as const;
const leEvents = { connected: 0x01, updated: 0x03, asked: 0x06, connectedEnhanced: 0x0a } as const;
const intervalUnitMs = 1.25;
const supervisionUnitMs = 10;
/**
 * Fragments that a controller received: the first one, and the following ones. The first fragments that this host sends
 * have 0 on a raw socket.
 */
const receivedFirst = 2;
const receivedMore = 1;
const unacceptable = 0x3b;
const authenticationFailure = 0x05;

/** Undefined: the packet is of no interest, or cut off. */
export function readPacket(packet: Buffer): HciPacket | undefined {
  if (packet[0] === packetTypes.data) return readData(packet);
  if (packet[0] !== packetTypes.event || packet.length < 4) return undefined;
  const data = packet.subarray(3);
  switch (packet[1]) {
    case events.disconnected:
      return data.length < 4 || data[0] !== 0
        ? undefined
        : { is: "disconnected", handle: data.readUInt16LE(1), reason: data.readUInt8(3) };
    case events.encryption:
      return data.length < 4
        ? undefined
        : { is: "encryption", handle: data.readUInt16LE(1), status: data.readUInt8(0), isOn: data[3] !== 0 };
    case events.commandStatus:
      return data.length < 4 || data[0] === 0
        ? undefined
        : { is: "refused", opcode: data.readUInt16LE(2), status: data.readUInt8(0) };
    case events.le:
      return readLeEvent(data);
    default:
      return undefined;
  }
}

function readLeEvent(data: Buffer): HciPacket | undefined {
  const kind = data.readUInt8(0);
  if (
    (kind === leEvents.connected && data.length >= 19) ||
    (kind === leEvents.connectedEnhanced && data.length >= 31)
  ) {
    const isCentral = data[1] === 0 && data[4] === 0;
    const at = kind === leEvents.connected ? 12 : 24;
    const address = [...data.subarray(6, 12)].reverse().map(hexOctet).join(":");
    const addressType = data.readUInt8(5) % 2 === 0 ? "public" : "random";
    return isCentral
      ? { is: "connected", handle: data.readUInt16LE(2), address, addressType, parameters: readParameters(data, at) }
      : undefined;
  }
  if (kind === leEvents.updated && data.length >= 10) {
    return {
      is: "updated",
      handle: data.readUInt16LE(2),
      status: data.readUInt8(1),
      parameters: readParameters(data, 4),
    };
  }
  if (kind === leEvents.asked && data.length >= 11) {
    return { is: "asked", handle: data.readUInt16LE(1), wanted: readWanted(data.subarray(3)) };
  }
  return undefined;
}

function readParameters(data: Buffer, at: number): LinkParameters {
  return {
    intervalMs: data.readUInt16LE(at) * intervalUnitMs,
    latency: data.readUInt16LE(at + 2),
    supervisionMs: data.readUInt16LE(at + 4) * supervisionUnitMs,
  };
}

/** Eight octets, the same in the controller's event and in a device's L2CAP request. */
export function readWanted(data: Buffer): WantedParameters {
  return {
    intervalMsMin: data.readUInt16LE(0) * intervalUnitMs,
    intervalMsMax: data.readUInt16LE(2) * intervalUnitMs,
    latency: data.readUInt16LE(4),
    supervisionMs: data.readUInt16LE(6) * supervisionUnitMs,
  };
}

function readData(packet: Buffer): HciPacket | undefined {
  if (packet.length < 6) return undefined;
  const head = packet.readUInt16LE(1);
  const handle = head & 0x0fff;
  if ((head >> 12) % 4 === receivedMore) return { is: "more", handle, payload: packet.subarray(5) };
  if ((head >> 12) % 4 !== receivedFirst || packet.length < 9) return undefined;
  const payload = packet.subarray(9);
  const length = packet.readUInt16LE(5);
  const channel = packet.readUInt16LE(7);
  if (payload.length === length) return { is: "data", handle, channel, payload };
  // Other channels carry nothing of interest that is longer than the smallest packet of a controller. noble handles
  // such messages.
  return channel === channels.security && payload.length < length
    ? { is: "begun", handle, length, payload }
    : undefined;
}

/** True if the packet tells that the controller has executed this command, with or without success. [4.E.7.7.14] */
export function isAnswerTo(packet: Buffer, opcode: number): boolean {
  const isAnswer = packet[0] === packetTypes.event && packet[1] === events.commandComplete && packet.length >= 6;
  return isAnswer && packet.readUInt16LE(4) === opcode;
}

export function command(opcode: number, parameters: Uint8Array = Buffer.alloc(0)): Buffer {
  return Buffer.concat([Buffer.from([packetTypes.command, opcode & 0xff, opcode >> 8, parameters.length]), parameters]);
}

export function updateConnection(handle: number, wanted: WantedParameters): Buffer {
  return command(opcodes.updateConnection, parametersFor(handle, wanted));
}

/** The host ends the link: the device sees an authentication failure. [4.E.7.1.6] */
export function disconnect(handle: number): Buffer {
  return command(opcodes.disconnect, Buffer.of(handle & 0xff, handle >> 8, authenticationFailure));
}

/** `key` with the high octet first, `random` as it was received. [4.E.7.8.24] */
export function startEncryption(
  handle: number,
  { key, random, diversifier }: { readonly key: Uint8Array; readonly random: Uint8Array; readonly diversifier: number },
): Buffer {
  const head = Buffer.of(handle & 0xff, handle >> 8);
  const found = Buffer.of(diversifier & 0xff, diversifier >> 8);
  return command(opcodes.startEncryption, Buffer.concat([head, random, found, Buffer.from(key).reverse()]));
}

/**
 * Active scanning without pauses, on the usual PHY only, with the present address, for advertisements of all devices.
 * [4.E.7.8.64]
 */
export function extendedScan(): Buffer {
  return command(opcodes.extendedScan, Buffer.from([0, 0, 0x01, 1, 0x12, 0, 0x12, 0]));
}

export function acceptParameters(handle: number, wanted: WantedParameters): Buffer {
  return command(opcodes.acceptParameters, parametersFor(handle, wanted));
}

export function refuseParameters(handle: number): Buffer {
  return command(opcodes.refuseParameters, Buffer.from([handle & 0xff, handle >> 8, unacceptable]));
}

/** The last four octets are the length of a connection event; the controller may choose it. */
function parametersFor(handle: number, wanted: WantedParameters): Buffer {
  const data = Buffer.alloc(14);
  data.writeUInt16LE(handle, 0);
  const shortest = Math.ceil(wanted.intervalMsMin / intervalUnitMs);
  data.writeUInt16LE(shortest, 2);
  data.writeUInt16LE(Math.max(shortest, Math.floor(wanted.intervalMsMax / intervalUnitMs)), 4);
  data.writeUInt16LE(wanted.latency, 6);
  data.writeUInt16LE(Math.ceil(wanted.supervisionMs / supervisionUnitMs), 8);
  return data;
}

function hexOctet(octet: number): string {
  return octet.toString(16).padStart(2, "0");
}
