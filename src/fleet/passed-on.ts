/**
 * The frames between the gateways of a fleet, each with one or more datagrams. A frame begins with its sender, receiver
 * and number, and ends with a message authentication code. In it each datagram is in the forwarder encapsulation
 * [MQTT-SN 1.2 §5.5]; the Wireless Node Id contains the direction, the shard, and the device's address as its front
 * calls it.
 *
 *     frame   version(1) sender(8) receiver(8) number(6) record... code(16)
 *     record  length(2) Length(1) 0xFE Ctrl(1) [way(1) shard(1) peer(...)] message
 */
import type { PeerId } from "../core/types.ts";

/** `up`: from a front to the owner; `down`: an answer, from the owner to the front by which the device came. */
export type Way = "up" | "down";

export const tagBytes = 8;
export const codeBytes = 16;
const version = 1;
const headBytes = 1 + 2 * tagBytes + 6;
const senderAt = 1;
const receiverAt = senderAt + tagBytes;
const numberAt = receiverAt + tagBytes;
/** The number of a frame is below this: at a million a second the numbers last for nine years. */
export const numbersEnd = 2 ** 48;
/** Octets of a record, in addition to the peer and the message. */
const recordHeadBytes = 2 + 3 + 2;
const encapsulated = 0xfe;
const ways: readonly Way[] = ["up", "down"];
/** The longest peer id in octets: the name of a transport and an address, in ASCII. */
export const peerBytesMax = 120;
/** The largest datagram of UDP over IPv4. */
export const frameBytesMax = 65_507;

/** The offset of the records, and the octets of a frame that are not records. */
export const recordsAt = headBytes;
export const frameBytesAround = headBytes + codeBytes;

export function recordBytes(peer: PeerId, message: Uint8Array): number {
  return recordHeadBytes + peer.length + message.length;
}

/** True if the datagram can be passed on. */
export function canPassOn(peer: PeerId, message: Uint8Array): boolean {
  if (message.length === 0 || recordBytes(peer, message) > frameBytesMax - frameBytesAround) return false;
  if (peer.length > peerBytesMax) return false;
  for (let i = 0; i < peer.length; i++) if (!isOfPeer(peer.charCodeAt(i))) return false;
  return true;
}

/** Writes a record that can be passed on; returns the offset of the next one. */
export function writeRecord(
  into: Uint8Array,
  at: number,
  { way, shard, peer, message }: { way: Way; shard: number; peer: PeerId; message: Uint8Array },
): number {
  const length = recordBytes(peer, message) - 2;
  into[at] = length >>> 8;
  into[at + 1] = length & 255;
  into[at + 2] = 3 + 2 + peer.length;
  into[at + 3] = encapsulated;
  into[at + 4] = 0;
  into[at + 5] = ways.indexOf(way);
  into[at + 6] = shard;
  for (let i = 0; i < peer.length; i++) into[at + recordHeadBytes + i] = peer.charCodeAt(i);
  into.set(message, at + recordHeadBytes + peer.length);
  return at + 2 + length;
}

/** Writes the head of a frame. */
export function writeHead(
  into: Uint8Array,
  { sender, receiver, number }: { sender: Uint8Array; receiver: Uint8Array; number: number },
): void {
  into[0] = version;
  into.set(sender, senderAt);
  into.set(receiver, receiverAt);
  for (let i = 5, rest = number; i >= 0; i--, rest = Math.floor(rest / 256)) into[numberAt + i] = rest % 256;
}

export interface Head {
  readonly sender: Uint8Array;
  readonly receiver: Uint8Array;
  readonly number: number;
}

/** Undefined: the octets are no frame. */
export function readHead(frame: Uint8Array): Head | undefined {
  if (frame.length < frameBytesAround || frame[0] !== version) return undefined;
  let number = 0;
  for (let i = 0; i < 6; i++) number = number * 256 + (frame[numberAt + i] ?? 0);
  return {
    sender: frame.subarray(senderAt, receiverAt),
    receiver: frame.subarray(receiverAt, numberAt),
    number,
  };
}

/**
 * Calls back with each record; the receiver may keep the message. False: the frame is invalid after the records so far.
 */
export function readRecords(
  frame: Uint8Array,
  each: (way: Way, shard: number, peer: PeerId, message: Uint8Array) => void,
): boolean {
  const text = Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength);
  const end = frame.length - codeBytes;
  let at = recordsAt;
  while (at < end) {
    const length = (frame[at] ?? 0) * 256 + (frame[at + 1] ?? 0);
    const next = at + 2 + length;
    const header = frame[at + 2] ?? 0;
    const peerAt = at + recordHeadBytes;
    const messageAt = at + 2 + header;
    const way = ways[frame[at + 5] ?? 255];
    if (next > end || messageAt <= peerAt || messageAt >= next) return false;
    if (frame[at + 3] !== encapsulated || way === undefined || messageAt - peerAt > peerBytesMax) return false;
    const peer = peerIn(text, peerAt, messageAt);
    if (peer === undefined) return false;
    each(way, frame[at + 6] ?? 0, peer, frame.slice(messageAt, next));
    at = next;
  }
  return true;
}

function peerIn(frame: Buffer, start: number, end: number): PeerId | undefined {
  let slash = -1;
  for (let i = start; i < end; i++) {
    const octet = frame[i] ?? 0;
    if (!isOfPeer(octet)) return undefined;
    if (octet === slashCode && slash < 0) slash = i;
  }
  if (slash <= start || slash === end - 1) return undefined;
  return frame.toString("latin1", start, end) as PeerId;
}

const slashCode = "/".charCodeAt(0);

/** The characters that addresses have; not the mark of a node behind a forwarder, and no space. */
const peerOctets = new Uint8Array(256);
for (const char of "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.:%[]/") {
  peerOctets[char.charCodeAt(0)] = 1;
}

function isOfPeer(octet: number): boolean {
  return peerOctets[octet] === 1;
}
