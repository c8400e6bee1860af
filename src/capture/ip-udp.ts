/** Adds IP and UDP headers to a datagram, so that programs that read captures understand it, and removes them again. */

export interface Endpoint {
  /** IPv4 in four octets, or IPv6 in sixteen. */
  readonly address: Uint8Array;
  readonly port: number;
}

export interface UdpDatagram {
  readonly from: Endpoint;
  readonly to: Endpoint;
  readonly payload: Uint8Array;
  /** The length of the whole payload. `payload` is shorter if it was cut. */
  readonly payloadBytes: number;
}

const udp = 17;
const v4HeaderBytes = 20;
const v6HeaderBytes = 40;
const udpHeaderBytes = 8;
/**
 * The most that the Length fields of IPv4 allow. Datagrams of serial lines and Bluetooth may be a little longer, and
 * are cut.
 */
export const payloadBytesMax = 65_535 - v4HeaderBytes - udpHeaderBytes;

/**
 * Makes a packet of raw IP. Both addresses are of one version. If `payloadBytes` is more than `payload` has, the rest
 * was cut; the lengths in the headers are those of the whole. IPv4 allows a UDP checksum of 0, "none". IPv6 does not,
 * so there the checksum is computed; it is correct if the payload is whole.
 */
export function wrapped({ from, to, payload, payloadBytes }: UdpDatagram): Uint8Array {
  const isV4 = from.address.length === 4;
  const headerBytes = (isV4 ? v4HeaderBytes : v6HeaderBytes) + udpHeaderBytes;
  const kept = payload.subarray(0, payloadBytesMax);
  const bytes = new Uint8Array(headerBytes + kept.length);
  const view = new DataView(bytes.buffer);
  const length = Math.min(payloadBytes, payloadBytesMax) + udpHeaderBytes;
  if (isV4) writeV4(view, bytes, length, from, to);
  else writeV6(view, bytes, length, from, to);
  const at = headerBytes - udpHeaderBytes;
  view.setUint16(at, from.port);
  view.setUint16(at + 2, to.port);
  view.setUint16(at + 4, length);
  bytes.set(kept, headerBytes);
  if (!isV4) view.setUint16(at + 6, checksumV6(bytes, at, length));
  return bytes;
}

function writeV4(view: DataView, bytes: Uint8Array, udpBytes: number, from: Endpoint, to: Endpoint): void {
  view.setUint8(0, 0x45);
  view.setUint16(2, v4HeaderBytes + udpBytes);
  view.setUint16(6, 0x4000); // not fragmented
  view.setUint8(8, 64);
  view.setUint8(9, udp);
  bytes.set(from.address, 12);
  bytes.set(to.address, 16);
  view.setUint16(10, onesComplement(sumOf(bytes, 0, v4HeaderBytes)));
}

function writeV6(view: DataView, bytes: Uint8Array, udpBytes: number, from: Endpoint, to: Endpoint): void {
  view.setUint8(0, 0x60);
  view.setUint16(4, udpBytes);
  view.setUint8(6, udp);
  view.setUint8(7, 64);
  bytes.set(from.address, 8);
  bytes.set(to.address, 24);
}

function checksumV6(bytes: Uint8Array, at: number, udpBytes: number): number {
  const sum = sumOf(bytes, 8, v6HeaderBytes) + udpBytes + udp + sumOf(bytes, at, bytes.length);
  return onesComplement(sum) || 0xffff;
}

function sumOf(bytes: Uint8Array, start: number, end: number): number {
  let sum = 0;
  for (let at = start; at < end; at += 2) sum += ((bytes[at] ?? 0) << 8) | (at + 1 < end ? (bytes[at + 1] ?? 0) : 0);
  return sum;
}

function onesComplement(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x10000);
  return ~folded & 0xffff;
}

/** Octets before the IP header, by link type: raw IP, loopback, Ethernet, and Linux's "any". */
const linkHeaders: Readonly<Record<number, number>> = { 0: 4, 1: 14, 101: 0, 113: 16, 276: 20 };

/** The datagram in a packet; undefined: the packet is not an unfragmented UDP datagram, or has an unknown link type. */
export function unwrapped(packet: Uint8Array, linkType: number): UdpDatagram | undefined {
  const linkBytes = linkHeaders[linkType];
  if (linkBytes === undefined) return undefined;
  const ip = packet.subarray(linkBytes);
  const version = (ip[0] ?? 0) >> 4;
  if (version === 4) return unwrappedV4(ip);
  return version === 6 ? unwrappedV6(ip) : undefined;
}

function unwrappedV4(ip: Uint8Array): UdpDatagram | undefined {
  const headerBytes = ((ip[0] ?? 0) & 15) * 4;
  const isPiece = (((ip[6] ?? 0) << 8) | (ip[7] ?? 0)) & 0x3fff;
  if (headerBytes < v4HeaderBytes || ip[9] !== udp || isPiece !== 0) return undefined;
  return udpIn(ip, headerBytes, ip.subarray(12, 16), ip.subarray(16, 20));
}

function unwrappedV6(ip: Uint8Array): UdpDatagram | undefined {
  if (ip[6] !== udp) return undefined;
  return udpIn(ip, v6HeaderBytes, ip.subarray(8, 24), ip.subarray(24, 40));
}

function udpIn(ip: Uint8Array, at: number, from: Uint8Array, to: Uint8Array): UdpDatagram | undefined {
  if (ip.length < at + udpHeaderBytes) return undefined;
  const u16 = (offset: number) => ((ip[offset] ?? 0) << 8) | (ip[offset + 1] ?? 0);
  const payloadBytes = u16(at + 4) - udpHeaderBytes;
  if (payloadBytes < 0) return undefined;
  const start = at + udpHeaderBytes;
  return {
    from: { address: from, port: u16(at) },
    to: { address: to, port: u16(at + 2) },
    // Ethernet pads short frames: octets after the length are not part of the datagram.
    payload: ip.subarray(start, start + payloadBytes),
    payloadBytes,
  };
}
