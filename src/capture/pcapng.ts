/**
 * The blocks of a pcapng file that a capture needs, written and read: section, interface, packet, interface statistics.
 * [draft-ietf-opsawg-pcapng]
 *
 * Files are written with little-endian numbers and microseconds. Files that are read may have either order of octets
 * and any resolution of time; unknown blocks and options are skipped.
 */

export type Direction = "in" | "out";

export interface CaptureInterface {
  /** "" = the file has no name for it. */
  readonly name: string;
  readonly linkType: number;
}

export interface CapturePacket {
  readonly interface: CaptureInterface;
  /** Microseconds since 1970. */
  readonly atUs: number;
  /** Undefined: the file contains no direction. */
  readonly direction: Direction | undefined;
  /** "" where there is none. */
  readonly comment: string;
  /** The meaning of its content, in a comment; absent: the file has none. */
  readonly value?: string;
  readonly bytes: Uint8Array;
  /** The original length: more than `bytes` has if the packet was cut. */
  readonly originalBytes: number;
}

/** Raw IP; the first octet tells whether it is version 4 or 6. */
export const linkTypeRaw = 101;

/** Every pcapng file begins with these octets, in either order of octets. */
export const pcapngMark: readonly number[] = [0x0a, 0x0d, 0x0d, 0x0a];

const blocks = { section: 0x0a0d0d0a, interface: 1, simplePacket: 3, statistics: 5, packet: 6 } as const;
const options = { comment: 1, application: 4, interfaceName: 2, resolution: 9, flags: 2, dropped: 5 } as const;
const orderMark = 0x1a2b3c4d;
const directions: readonly (Direction | undefined)[] = [undefined, "in", "out", undefined];
/** No writer makes larger blocks: a file with one is damaged. */
const blockBytesMax = 16 * 1024 * 1024;
/** An option's length is a number of two octets. */
const optionBytesMax = 65_535;
const interfacesMax = 1_000;

const utf8 = new TextEncoder();
const readUtf8 = new TextDecoder("utf-8");

/** The first block of a file. */
export function sectionHeader(application: string): Uint8Array {
  const body = new Uint8Array(16);
  const view = new DataView(body.buffer);
  view.setUint32(0, orderMark, true);
  view.setUint16(4, 1, true);
  view.setBigInt64(8, -1n, true); // the section's length is not known
  return block(blocks.section, [body, option(options.application, utf8.encode(application)), endOfOptions]);
}

/** Interfaces are numbered from 0 in the order of these blocks. */
export function interfaceBlock({ name, linkType }: CaptureInterface): Uint8Array {
  const body = new Uint8Array(8);
  new DataView(body.buffer).setUint16(0, linkType, true);
  const resolution = option(options.resolution, Uint8Array.of(6));
  return block(blocks.interface, [body, option(options.interfaceName, utf8.encode(name)), resolution, endOfOptions]);
}

/** A comment with this beginning contains the decoded payload. */
const valueMark = "value: ";

export interface PacketToWrite extends Omit<CapturePacket, "interface"> {
  /** The interface's number. */
  readonly interfaceIndex: number;
}

export function packetBlock(packet: PacketToWrite): Uint8Array {
  const { interfaceIndex, atUs, direction, comment, value, bytes, originalBytes } = packet;
  const body = new Uint8Array(20);
  const view = new DataView(body.buffer);
  view.setUint32(0, interfaceIndex, true);
  writeTime(view, 4, atUs);
  view.setUint32(12, bytes.length, true);
  view.setUint32(16, originalBytes, true);
  const flags = new Uint8Array(4);
  flags[0] = Math.max(0, directions.indexOf(direction));
  const comments = [...(comment === "" ? [] : [comment]), ...(value === undefined ? [] : [valueMark + value])];
  const said = comments.map((each) => option(options.comment, utf8.encode(each)));
  return block(blocks.packet, [body, padded(bytes), ...said, option(options.flags, flags), endOfOptions]);
}

/** The number of packets that this interface has lost so far. Also a sign of life of a capture without datagrams. */
export function statisticsBlock(interfaceIndex: number, atUs: number, dropped: number): Uint8Array {
  const body = new Uint8Array(12);
  const view = new DataView(body.buffer);
  view.setUint32(0, interfaceIndex, true);
  writeTime(view, 4, atUs);
  const count = new Uint8Array(8);
  new DataView(count.buffer).setBigUint64(0, BigInt(dropped), true);
  return block(blocks.statistics, [body, option(options.dropped, count), endOfOptions]);
}

function writeTime(view: DataView, at: number, microseconds: number): void {
  view.setUint32(at, Math.floor(microseconds / 2 ** 32), true);
  view.setUint32(at + 4, microseconds % 2 ** 32, true);
}

function block(type: number, parts: readonly Uint8Array[]): Uint8Array {
  const length = parts.reduce((sum, part) => sum + part.length, 12);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, type, true);
  view.setUint32(4, length, true);
  view.setUint32(length - 4, length, true);
  let at = 8;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

const endOfOptions = new Uint8Array(4);

function option(code: number, value: Uint8Array): Uint8Array {
  const kept = value.subarray(0, optionBytesMax);
  const bytes = new Uint8Array(4 + upToFour(kept.length));
  const view = new DataView(bytes.buffer);
  view.setUint16(0, code, true);
  view.setUint16(2, kept.length, true);
  bytes.set(kept, 4);
  return bytes;
}

function padded(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes;
  const result = new Uint8Array(upToFour(bytes.length));
  result.set(bytes);
  return result;
}

function upToFour(length: number): number {
  return Math.ceil(length / 4) * 4;
}

/**
 * Reads a file in pieces. An error in the file is a value, `fault`, and never an exception: packets that were read
 * before stay valid, and nothing after the error is read.
 */
export class PcapngReader {
  /** Why reading has stopped, in a plain sentence; undefined: no error was found. */
  fault: string | undefined;
  /** Packets that the writer of the file reports as lost. */
  dropped = 0;
  #rest: Uint8Array = new Uint8Array(0);
  #littleEndian = true;
  #inSection = false;
  #interfaces: (CaptureInterface & { readonly resolution: number })[] = [];
  #droppedBy: number[] = [];
  #droppedBefore = 0;

  /** Returns the packets that are complete by now. */
  push(chunk: Uint8Array): CapturePacket[] {
    if (this.fault !== undefined) return [];
    const bytes = joined(this.#rest, chunk);
    const packets: CapturePacket[] = [];
    let at = 0;
    while (this.fault === undefined && bytes.length - at >= 12) {
      const length = this.#blockLength(bytes, at);
      if (length === undefined || bytes.length - at < length) break;
      const packet = this.#block(new DataView(bytes.buffer, bytes.byteOffset + at, length));
      if (packet) packets.push(packet);
      at += length;
    }
    this.#rest = bytes.slice(at);
    return packets;
  }

  /** The file has ended. */
  end(): void {
    if (this.fault !== undefined) return;
    if (!this.#inSection) this.fault = "this is not a pcapng file";
    else if (this.#rest.length > 0) this.fault = "the file ends within a block: it was cut";
  }

  #blockLength(bytes: Uint8Array, at: number): number | undefined {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at, 12);
    if (view.getUint32(0, true) === blocks.section) {
      const isLittle = view.getUint32(8, true) === orderMark;
      if (!isLittle && view.getUint32(8, false) !== orderMark)
        return this.#fail("a section begins in an unknown order");
      this.#littleEndian = isLittle;
      this.#beginSection();
    } else if (!this.#inSection) {
      return this.#fail("this is not a pcapng file");
    }
    const length = view.getUint32(4, this.#littleEndian);
    if (length < 12 || length % 4 !== 0 || length > blockBytesMax)
      return this.#fail(`a block says that it has ${length} octets`);
    return length;
  }

  #beginSection(): void {
    this.#inSection = true;
    this.#interfaces = [];
    this.#droppedBefore = this.dropped;
    this.#droppedBy = [];
  }

  #fail(why: string): undefined {
    this.fault = why;
    return undefined;
  }

  #block(view: DataView): CapturePacket | undefined {
    const little = this.#littleEndian;
    if (view.getUint32(view.byteLength - 4, little) !== view.byteLength)
      return this.#fail("a block has two lengths, before and behind it");
    const end = view.byteLength - 4;
    switch (view.getUint32(0, little)) {
      case blocks.interface:
        return this.#interface(view, end);
      case blocks.packet:
        return this.#packet(view, end);
      case blocks.simplePacket:
        return this.#fail("it has packets without a time (simple packet blocks), which cannot be used here");
      case blocks.statistics:
        return this.#statistics(view, end);
      default:
        return undefined;
    }
  }

  #interface(view: DataView, end: number): undefined {
    if (end < 16 || this.#interfaces.length >= interfacesMax) return this.#fail("an interface block is invalid");
    let name = "";
    let resolution = 6;
    for (const [code, value] of optionsIn(view, 16, end, this.#littleEndian)) {
      if (code === options.interfaceName) name = readUtf8.decode(value);
      if (code === options.resolution) resolution = value[0] ?? 6;
    }
    this.#interfaces.push({ name, linkType: view.getUint16(8, this.#littleEndian), resolution });
    return undefined;
  }

  #packet(view: DataView, end: number): CapturePacket | undefined {
    const little = this.#littleEndian;
    if (end < 28) return this.#fail("a packet block is too short");
    const from = this.#interfaces[view.getUint32(8, little)];
    if (!from) return this.#fail("a packet belongs to an interface that is not described");
    const length = view.getUint32(20, little);
    if (length > end - 28) return this.#fail("a packet is longer than its block");
    const start = view.byteOffset + 28;
    const comments: string[] = [];
    let direction: Direction | undefined;
    for (const [code, value] of optionsIn(view, 28 + upToFour(length), end, little)) {
      if (code === options.comment) comments.push(readUtf8.decode(value));
      if (code === options.flags && value.length === 4)
        direction = directions[((little ? value[0] : value[3]) ?? 0) & 3];
    }
    const value = comments.slice(1).find((each) => each.startsWith(valueMark));
    const ticks = (BigInt(view.getUint32(12, little)) << 32n) | BigInt(view.getUint32(16, little));
    return {
      interface: { name: from.name, linkType: from.linkType },
      atUs: microseconds(ticks, from.resolution),
      direction,
      comment: comments[0] ?? "",
      ...(value !== undefined && { value: value.slice(valueMark.length) }),
      bytes: new Uint8Array(view.buffer as ArrayBuffer, start, length).slice(),
      originalBytes: view.getUint32(24, little),
    };
  }

  #statistics(view: DataView, end: number): undefined {
    if (end < 20) return this.#fail("a statistics block is too short");
    const little = this.#littleEndian;
    const index = view.getUint32(8, little);
    for (const [code, value] of optionsIn(view, 20, end, little)) {
      if (code !== options.dropped || value.length !== 8 || index >= this.#interfaces.length) continue;
      this.#droppedBy[index] = Number(new DataView(value.buffer, value.byteOffset, 8).getBigUint64(0, little));
    }
    this.dropped = this.#droppedBy.reduce((sum, count) => sum + (count ?? 0), this.#droppedBefore);
    return undefined;
  }
}

/** One bit of `resolution` tells whether the other bits are a power of two or of ten. */
function microseconds(ticks: bigint, resolution: number): number {
  const power = BigInt(resolution & 0x7f);
  const perSecond = (resolution & 0x80) !== 0 ? 2n ** power : 10n ** power;
  return Number((ticks * 1_000_000n) / perSecond);
}

function* optionsIn(
  view: DataView,
  start: number,
  end: number,
  little: boolean,
): Generator<readonly [code: number, value: Uint8Array<ArrayBuffer>]> {
  for (let at = start; at + 4 <= end; ) {
    const code = view.getUint16(at, little);
    const length = view.getUint16(at + 2, little);
    if (code === 0 || at + 4 + length > end) return;
    yield [code, new Uint8Array(view.buffer as ArrayBuffer, view.byteOffset + at + 4, length)];
    at += 4 + upToFour(length);
  }
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array {
  if (first.length === 0) return second;
  const bytes = new Uint8Array(first.length + second.length);
  bytes.set(first);
  bytes.set(second, first.length);
  return bytes;
}
