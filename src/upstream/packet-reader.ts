/**
 * Takes the packets that carry messages out of the octets of an MQTT connection: PUBLISH, its acknowledgements, SUBACK
 * and UNSUBACK. All others are passed on unchanged to the connection. [MQTT-3.1.1 2, 3; MQTT 5 2, 3]
 *
 * A chunk may end at any octet. A packet that is complete in one chunk is read in place; a part is copied and kept until
 * the rest arrives. So the memory of a chunk is not used after `take`. A malformed packet ends the reading: `malformed`
 * is called once, and nothing after it.
 *
 * Memory is limited: of a PUBLISH longer than `packetBytesMax` only the beginning is kept, and the rest is skipped. Its
 * payload is then longer than any MQTT-SN message can be, so the decision (too large for the client) is the same. A
 * payload may wait for a sleeping client for days, so it must not keep its whole chunk in memory.
 */
import { isUtf8 } from "node:buffer";
import { type PublishProperties, readPublishProperties, skipProperties, variableIntegerAt } from "./properties.ts";

/** Octets of one packet that are kept at most: a topic name, properties, and a payload beyond 65535. */
export const packetBytesMax = 256 * 1_024;
/** Of a longer packet, so much of the payload is handed over: by its length alone it is too long for a device. */
const payloadBytesMin = 65_536;

export interface PacketEvents {
  /** `packetId` is 0 at QoS 0. The receiver may keep the payload. */
  publish(packet: ReadPublish): void;
  ack(kind: "puback" | "pubrec" | "pubcomp" | "suback" | "unsuback", packetId: number, code: number): void;
  /** PUBREL. */
  release(packetId: number): void;
  /** Any other packet, whole, in its order among the others. The octets are valid during the call. */
  other(octets: Buffer): void;
  malformed(why: string): void;
}

export interface ReadPublish extends PublishProperties {
  readonly topicName: string;
  readonly payload: Uint8Array;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  readonly dup: boolean;
  readonly packetId: number;
}

const acks = { 4: "puback", 5: "pubrec", 7: "pubcomp" } as const;

export class PacketReader {
  readonly #isV5: boolean;
  readonly #events: PacketEvents;
  /** The beginning of an incomplete packet, and its whole length. */
  #parts: Buffer[] = [];
  #partBytes = 0;
  #needed = 0;
  /** The octets that are still to come of a PUBLISH that is too long to keep. */
  #skip = 0;
  #ended = false;

  constructor(protocol: "3.1.1" | "5", events: PacketEvents) {
    this.#isV5 = protocol === "5";
    this.#events = events;
  }

  /** No further packets are read: the connection has ended. */
  end(): void {
    this.#ended = true;
    this.#parts = [];
  }

  take(chunk: Buffer): void {
    let octets = chunk;
    if (this.#skip > 0) {
      const skipped = Math.min(this.#skip, octets.length);
      this.#skip -= skipped;
      if (skipped === octets.length) return;
      octets = octets.subarray(skipped);
    }
    if (this.#partBytes > 0) {
      this.#partBytes += octets.length;
      if (this.#partBytes < this.#needed) {
        this.#parts.push(Buffer.from(octets));
        return;
      }
      this.#parts.push(octets);
      octets = Buffer.concat(this.#parts, this.#partBytes);
      this.#parts = [];
      this.#partBytes = 0;
    }
    let at = 0;
    while (at < octets.length && !this.#ended) {
      const next = this.#packetAt(octets, at);
      if (next === undefined) return this.#keep(octets, at);
      at = next;
    }
  }

  #keep(octets: Buffer, at: number): void {
    if (this.#ended) return;
    // Copied, because the chunk is larger than its rest, and may wait for long.
    this.#parts = [Buffer.from(octets.subarray(at))];
    this.#partBytes = octets.length - at;
  }

  /** Reads the packet that begins here. Returns the offset of the next one; undefined: the packet is not complete. */
  #packetAt(octets: Buffer, at: number): number | undefined {
    const length = variableIntegerAt(octets, at + 1);
    if (length === undefined) {
      if (octets.length - at >= 5) this.#malformed("Remaining Length");
      this.#needed = octets.length - at + 1;
      return undefined;
    }
    const body = at + 1 + (length < 128 ? 1 : length < 16_384 ? 2 : length < 2_097_152 ? 3 : 4);
    const end = body + length;
    const kept = Math.min(end, at + packetBytesMax);
    if (kept < end && (octets[at] as number) >> 4 !== 3) {
      this.#malformed(`a packet of ${length} octets`);
      return undefined;
    }
    if (octets.length < kept) {
      this.#needed = kept - at;
      return undefined;
    }
    this.#read(octets, at, body, kept, kept < end);
    if (octets.length >= end) return end;
    if (kept < end) this.#skip = end - octets.length;
    return octets.length;
  }

  #read(octets: Buffer, at: number, body: number, end: number, isCut: boolean): void {
    const first = octets[at] as number;
    const type = first >> 4;
    switch (type) {
      case 3:
        return this.#publish(octets, first, body, end, isCut);
      case 4:
      case 5:
      case 7:
        if ((first & 15) !== 0) return this.#malformed(`flags of ${acks[type]}`);
        return this.#ack(acks[type], octets, body, end);
      case 6:
        if ((first & 15) !== 2) return this.#malformed("flags of PUBREL");
        if (this.#shortAckCode(octets, body, end) === undefined) return this.#malformed("PUBREL");
        return this.#events.release(u16At(octets, body));
      case 9:
      case 11:
        if ((first & 15) !== 0) return this.#malformed("flags of SUBACK or UNSUBACK");
        return this.#listAck(type === 9 ? "suback" : "unsuback", octets, body, end);
      default:
        return this.#events.other(octets.subarray(at, end));
    }
  }

  #ack(kind: "puback" | "pubrec" | "pubcomp", octets: Buffer, body: number, end: number): void {
    const code = this.#shortAckCode(octets, body, end);
    if (code === undefined) return this.#malformed(kind);
    this.#events.ack(kind, u16At(octets, body), code);
  }

  /** The reason code behind a packet id; undefined where the packet is malformed. [MQTT 5 3.4.2] */
  #shortAckCode(octets: Buffer, body: number, end: number): number | undefined {
    const length = end - body;
    if (length < 2 || u16At(octets, body) === 0) return undefined;
    if (length === 2) return 0;
    if (!this.#isV5) return undefined;
    if (length > 3 && skipProperties(octets, body + 3, end) !== end) return undefined;
    return octets[body + 2];
  }

  /** The gateway subscribes to one filter at a time, so the first code is the answer. */
  #listAck(kind: "suback" | "unsuback", octets: Buffer, body: number, end: number): void {
    if (end - body < 2 || u16At(octets, body) === 0) return this.#malformed(kind);
    const packetId = u16At(octets, body);
    if (kind === "unsuback" && !this.#isV5) {
      if (end - body !== 2) return this.#malformed(kind);
      return this.#events.ack(kind, packetId, 0);
    }
    const codes = this.#isV5 ? skipProperties(octets, body + 2, end) : body + 2;
    if (codes === undefined || codes >= end) return this.#malformed(kind);
    this.#events.ack(kind, packetId, octets[codes] as number);
  }

  #publish(octets: Buffer, first: number, body: number, end: number, isCut: boolean): void {
    const qos = (first >> 1) & 3;
    if (qos === 3) return this.#malformed("PUBLISH with QoS 3");
    if (end - body < 2) return this.#malformed("PUBLISH");
    const nameEnd = body + 2 + u16At(octets, body);
    let at = nameEnd;
    if (nameEnd + (qos > 0 ? 2 : 0) > end) return this.#malformed("PUBLISH");
    const topicName = textAt(octets, body + 2, nameEnd);
    // No topic alias was offered, so a name must be there. [MQTT-3.3.2-1; MQTT 5 3.3.2.3.4]
    if (topicName === undefined || topicName === "") return this.#malformed("topic name of PUBLISH");
    let packetId = 0;
    if (qos > 0) {
      packetId = u16At(octets, at);
      if (packetId === 0) return this.#malformed("packet id 0");
      at += 2;
    }
    let properties: PublishProperties | undefined;
    if (this.#isV5) {
      if (octets[at] === 0 && at < end) at++;
      else {
        const read = readPublishProperties(octets, at, end);
        if (read === undefined) return this.#malformed("properties of PUBLISH");
        ({ properties, end: at } = read);
      }
    }
    if (isCut && end - at < payloadBytesMin) return this.#malformed("a PUBLISH with more properties than are kept");
    this.#events.publish({
      topicName,
      payload: ownOctets(octets, at, end),
      qos: qos as 0 | 1 | 2,
      retain: (first & 1) !== 0,
      dup: (first & 8) !== 0,
      packetId,
      ...properties,
    });
  }

  #malformed(why: string): void {
    if (this.#ended) return;
    this.end();
    this.#events.malformed(why);
  }
}

/** A copy, which outlives the chunk. */
function ownOctets(octets: Buffer, from: number, to: number): Uint8Array {
  return new Uint8Array(octets.subarray(from, to));
}

function u16At(octets: Uint8Array, at: number): number {
  return ((octets[at] as number) << 8) | (octets[at + 1] as number);
}

/** Text of MQTT: well-formed UTF-8 without U+0000, or undefined. [MQTT-1.5.3-1, MQTT-1.5.3-2] */
function textAt(octets: Buffer, from: number, to: number): string | undefined {
  let isAscii = true;
  for (let i = from; i < to; i++) {
    const octet = octets[i] as number;
    if (octet === 0) return undefined;
    if (octet >= 0x80) isAscii = false;
  }
  if (isAscii) return octets.toString("latin1", from, to);
  return isUtf8(octets.subarray(from, to)) ? octets.toString("utf8", from, to) : undefined;
}
