/**
 * Writes datagrams of the gateway to a pcapng file, and reads them back. Every transport is an interface of the file with raw IP. A peer
 * that does not use UDP gets an invented address, which is always the same for this peer. The gateway's port is always 1883, so that one
 * preference is enough in Wireshark: `-o mqttsn.udp.port:1883`.
 */
import { type Endpoint, unwrapped, wrapped } from "./ip-udp.ts";
import {
  type CapturePacket,
  type Direction,
  interfaceBlock,
  linkTypeRaw,
  packetBlock,
  sectionHeader,
  statisticsBlock,
} from "./pcapng.ts";

export interface Datagram {
  /** Microseconds since 1970. */
  readonly atUs: number;
  /** `in`: from a device. */
  readonly direction: Direction;
  /** `<transport>/<address>`; behind a forwarder, the forwarder's address; "" for a datagram to all. */
  readonly peer: string;
  readonly bytes: Uint8Array;
  /** The length of the whole datagram. `bytes` is shorter if the payload was left out. */
  readonly wholeBytes: number;
  /** A comment for people; "" = none. */
  readonly comment: string;
  /** The decoded payload as JSON; absent: it is not known. */
  readonly value?: string;
}

export const gatewayPort = 1883;
/** Addresses that no host has: the IPv4 dummy address, and one of the discard prefix. [RFC 7600, RFC 6666] */
const gatewayV4 = Uint8Array.of(192, 0, 0, 8);
const gatewayV6 = Uint8Array.of(1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8);
const everybody: Endpoint = { address: Uint8Array.of(255, 255, 255, 255), port: gatewayPort };

/** Writes the file piece by piece. */
export class CaptureWriter {
  readonly #transports: readonly string[];

  constructor(transports: readonly string[]) {
    this.#transports = transports;
  }

  /** The beginning of the file. */
  head(): Uint8Array {
    const interfaces = this.#transports.map((name) => interfaceBlock({ name, linkType: linkTypeRaw }));
    return joined([sectionHeader("mqtt-sn-gateway"), ...interfaces]);
  }

  datagram(datagram: Datagram, transport: string): Uint8Array {
    const { atUs, direction, peer, bytes, wholeBytes, comment, value } = datagram;
    const device = peer === "" ? everybody : endpointOf(peer);
    const gateway = { address: device.address.length === 4 ? gatewayV4 : gatewayV6, port: gatewayPort };
    const [from, to] = direction === "in" ? [device, gateway] : [gateway, device];
    const packet = wrapped({ from, to, payload: bytes, payloadBytes: wholeBytes });
    return packetBlock({
      interfaceIndex: Math.max(0, this.#transports.indexOf(transport)),
      atUs,
      direction,
      comment,
      ...(value !== undefined && { value }),
      bytes: packet,
      originalBytes: packet.length + Math.max(0, wholeBytes - bytes.length),
    });
  }

  /** How many datagrams were lost so far. */
  lost(count: number, atUs: number): Uint8Array {
    return statisticsBlock(0, atUs, count);
  }
}

/** One datagram of a file, also of files from other programs. */
export interface ReadDatagram {
  readonly atUs: number;
  readonly direction: Direction;
  /** Address and port of the device, as text. */
  readonly device: string;
  /** The name of the interface: in the gateway's files the transport; "" = there is none. */
  readonly transport: string;
  readonly payload: Uint8Array;
  /** More than `payload` has where contents were left out. */
  readonly wholeBytes: number;
  readonly comment: string;
  /** The decoded payload, if the gateway wrote it. */
  readonly value?: string;
}

/**
 * Undefined: the packet is not a datagram between a device and a gateway. `port` is the gateway's port, for files
 * without the direction of a packet.
 */
export function datagramIn(packet: CapturePacket, port = gatewayPort): ReadDatagram | undefined {
  const { atUs, comment, value } = packet;
  const datagram = unwrapped(packet.bytes, packet.interface.linkType);
  if (!datagram) return undefined;
  const { from, to, payload, payloadBytes } = datagram;
  // The stored direction is used only if it agrees with the ports. In a capture that was made at the device or on the
  // way, the ports are more reliable.
  const direction = to.port === port && !(from.port === port && packet.direction === "out") ? "in" : "out";
  if (direction === "out" && from.port !== port) return undefined;
  return {
    atUs,
    direction,
    device: addressText(direction === "in" ? from : to),
    transport: packet.interface.name,
    payload,
    wholeBytes: payloadBytes,
    comment,
    ...(value !== undefined && { value }),
  };
}

/** The address of a peer: with UDP its own, otherwise one of 100.64.0.0/10 that is made from its name. */
function endpointOf(peer: string): Endpoint {
  const [, v4 = "", v4Port] = /^[^/]+\/(\d+\.\d+\.\d+\.\d+):(\d+)$/.exec(peer) ?? [];
  if (v4Port !== undefined) return { address: Uint8Array.from(v4.split("."), Number), port: Number(v4Port) };
  const [, v6 = "", v6Port] = /^[^/]+\/\[([0-9a-f:.]+)(?:%[^\]]*)?\]:(\d+)$/i.exec(peer) ?? [];
  const address = v6Port === undefined ? undefined : octetsOfV6(v6);
  if (address) return { address, port: Number(v6Port) };
  const high = hash(peer, 0x811c9dc5);
  const low = hash(peer, 0x01000193);
  const host = Uint8Array.of(100, 64 | ((high >>> 16) & 63), (high >>> 8) & 255, high & 255);
  return { address: host, port: 1_024 + (low % 64_000 === gatewayPort - 1_024 ? 0 : low % 64_000) };
}

/** FNV-1a, from two beginnings: the same name has the same address in every file. */
function hash(text: string, start: number): number {
  let value = start >>> 0;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return (value ^ (value >>> 15)) >>> 0;
}

function octetsOfV6(text: string): Uint8Array | undefined {
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const plain = dotted
    ? `${dotted[1]}${((Number(dotted[2]) << 8) | Number(dotted[3])).toString(16)}:${((Number(dotted[4]) << 8) | Number(dotted[5])).toString(16)}`
    : text;
  const [before = "", after] = plain.split("::");
  const groups = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const first = groups(before);
  const last = after === undefined ? [] : groups(after);
  const zeros = 8 - first.length - last.length;
  if (zeros < 0 || (after === undefined && zeros !== 0)) return undefined;
  const all = [...first, ...Array<number>(zeros).fill(0), ...last];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 255]));
}

function addressText({ address, port }: Endpoint): string {
  if (address.length === 4) return `${address.join(".")}:${port}`;
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push((((address[i] ?? 0) << 8) | (address[i + 1] ?? 0)).toString(16));
  return `[${groups.join(":")}]:${port}`;
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
