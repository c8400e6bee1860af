/**
 * Writes the packets that carry messages. The packets of one turn of the event loop are in one buffer, so that the
 * socket is written to once. [MQTT-3.1.1 3.3 - 3.7; MQTT 5 3.3 - 3.7]
 */
import type { Publication, PublicationMeta } from "../core/types.ts";
import { publishProperties, topicAlias } from "./properties.ts";
import type { TopicAliases } from "./topic-aliases.ts";

/**
 * With more octets a new buffer is begun, because copying a large buffer again and again would cost more than a second
 * write.
 */
const pieceBytesMax = 64 * 1_024;

/**
 * Writers that have little to write in a turn take one of these buffers, and give it back if its octets were copied. With a
 * connection for each device, a new buffer for each message would be a good part of its cost.
 */
const smallBytes = 256;
const smallSpares: Buffer[] = [];
const smallSparesMax = 256;

const noProperties = Uint8Array.of(0);

const fixedHeader = { puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 } as const;

/** Sends octets later, and copies them until then. */
export interface CopyingPlace {
  /** False: it has not taken them. */
  send(octets: Uint8Array, length: number): boolean;
}

export class PacketWriter {
  readonly #isV5: boolean;
  /** The topic aliases of the present connection in MQTT 5; undefined: it has none. */
  aliases: TopicAliases | undefined;
  /** What waits is usually taken by `passTo`, so a buffer can be used again. */
  isCopied = false;
  /** The properties of a PUBLISH that has nothing but an alias. */
  readonly #aliasAlone = Uint8Array.of(3, topicAlias, 0, 0);
  /** Full pieces, oldest first, and the one that is being filled. */
  #full: Buffer[] = [];
  #piece: Buffer | undefined;
  #used = 0;
  #fullBytes = 0;
  /** Octets of the last turn, as a guess for the size of the next buffer. */
  #expected = 0;

  constructor(protocol: "3.1.1" | "5") {
    this.#isV5 = protocol === "5";
  }

  /** Octets that wait. */
  get length(): number {
    return this.#fullBytes + this.#used;
  }

  /** `packetId` is ignored at QoS 0. */
  publish(publication: Publication, packetId: number, dup: boolean): void {
    const { payload, qos, retain, meta } = publication;
    const alias = this.aliases?.of(publication.topicName) ?? 0;
    const topicName = alias > 0 ? "" : publication.topicName;
    const properties = this.#isV5 ? this.#properties(meta, Math.abs(alias)) : undefined;
    const nameBytes = asciiLength(topicName) ?? Buffer.byteLength(topicName);
    const remaining = 2 + nameBytes + (qos > 0 ? 2 : 0) + (properties?.length ?? 0) + payload.byteLength;
    let at = this.#reserve(5 + remaining);
    const octets = this.#piece as Buffer;
    octets[at++] = 0x30 | (dup && qos > 0 ? 8 : 0) | (qos << 1) | (retain ? 1 : 0);
    let rest = remaining;
    for (; rest >= 128; rest >>>= 7) octets[at++] = (rest & 0x7f) | 0x80;
    octets[at++] = rest;
    octets[at++] = nameBytes >> 8;
    octets[at++] = nameBytes & 0xff;
    if (nameBytes === topicName.length && nameBytes <= 64) {
      for (let i = 0; i < nameBytes; i++) octets[at + i] = topicName.charCodeAt(i);
    } else octets.write(topicName, at, "utf8");
    at += nameBytes;
    if (qos > 0) {
      octets[at++] = packetId >> 8;
      octets[at++] = packetId & 0xff;
    }
    if (properties) for (const octet of properties) octets[at++] = octet;
    if (payload.byteLength <= 32) for (let i = 0; i < payload.byteLength; i++) octets[at + i] = payload[i] as number;
    else octets.set(payload, at);
    this.#used = at + payload.byteLength;
  }

  /** The properties with their length before them; `alias` 0: none. Valid until the next call. */
  #properties(meta: PublicationMeta | undefined, alias: number): Uint8Array {
    if (meta) return publishProperties(meta, alias);
    if (alias === 0) return noProperties;
    this.#aliasAlone[2] = alias >> 8;
    this.#aliasAlone[3] = alias & 0xff;
    return this.#aliasAlone;
  }

  /** Writes PUBACK, PUBREC, PUBREL or PUBCOMP for this packet id, without a reason code: success. */
  acknowledge(kind: keyof typeof fixedHeader, packetId: number): void {
    const at = this.#reserve(4);
    const octets = this.#piece as Buffer;
    octets[at] = fixedHeader[kind];
    octets[at + 1] = 2;
    octets[at + 2] = packetId >> 8;
    octets[at + 3] = packetId & 0xff;
    this.#used = at + 4;
  }

  /** A packet that is encoded already. */
  packet(encoded: Uint8Array): void {
    const at = this.#reserve(encoded.byteLength);
    this.#piece?.set(encoded, at);
    this.#used = at + encoded.byteLength;
  }

  /**
   * Passes everything that waits to `place`, if it is in one buffer. True: the octets were copied, and nothing waits any more. False:
   * nothing has changed.
   */
  passTo(place: CopyingPlace): boolean {
    const piece = this.#piece;
    if (!piece || this.#full.length > 0 || !place.send(piece, this.#used)) return false;
    if (piece.length === smallBytes && smallSpares.length < smallSparesMax) smallSpares.push(piece);
    this.#expected = this.#used;
    this.#piece = undefined;
    this.#used = 0;
    return true;
  }

  /** Returns everything that waits, in order. The caller owns the result. */
  take(): readonly Buffer[] {
    const pieces = this.#full;
    if (this.#piece) pieces.push(this.#piece.subarray(0, this.#used));
    this.#expected = this.length;
    this.#full = [];
    this.#fullBytes = 0;
    this.#piece = undefined;
    this.#used = 0;
    return pieces;
  }

  /** Removes everything that waits, and all topic aliases. */
  clear(): void {
    this.take();
    this.aliases = undefined;
    this.#expected = 0;
  }

  /** Makes room, and returns the offset at which to write. */
  #reserve(bytes: number): number {
    const needed = this.#used + bytes;
    if (this.#piece === undefined) {
      const size = Math.max(bytes, Math.min(this.#expected + 8, pieceBytesMax));
      const isSmall = this.isCopied && size <= smallBytes;
      this.#piece = isSmall ? (smallSpares.pop() ?? Buffer.allocUnsafe(smallBytes)) : Buffer.allocUnsafe(size);
    } else if (needed > this.#piece.length) {
      if (needed > pieceBytesMax) {
        this.#full.push(this.#piece.subarray(0, this.#used));
        this.#fullBytes += this.#used;
        this.#used = 0;
        this.#piece = Buffer.allocUnsafe(Math.max(bytes, pieceBytesMax));
        return 0;
      }
      const larger = Buffer.allocUnsafe(Math.min(Math.max(2 * this.#piece.length, needed), pieceBytesMax));
      this.#piece.copy(larger, 0, 0, this.#used);
      this.#piece = larger;
    }
    return this.#used;
  }
}

/**
 * The length in octets of a text that has only ASCII letters. Undefined: it has others, or it is so long that the loop
 * would cost too much.
 */
function asciiLength(text: string): number | undefined {
  if (text.length > 64) return undefined;
  for (let i = 0; i < text.length; i++) if (text.charCodeAt(i) >= 0x80) return undefined;
  return text.length;
}
