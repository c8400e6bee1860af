/**
 * BTHome v2: readings in the service data (UUID FCD2) of a Bluetooth LE advertisement. https://bthome.io/format
 *
 *   device information (1) | objects
 *   device information (1) | objects, encrypted | counter (4) | MIC (4)
 *
 * Bit 0 of the device information: the objects are encrypted; bits 5 to 7: the version, 2; bit 2: the sensor sends only
 * at events. An object is an id and a value; numbers have the low octet first. Encryption is AES-128-CCM with a MIC of
 * 4 octets and no additional data; the nonce is address, UUID as advertised, information and counter. Pure, and never
 * throws.
 */
import { createCipheriv, createDecipheriv } from "node:crypto";
import { type BthomeObject, bthomeObjects } from "./bthome-objects.ts";

export type BthomeValue = number | boolean | string | { readonly steps: number };

export interface BthomeReading {
  readonly id: number;
  /** The name of the object; the second object of the same name is `name_2`. */
  readonly name: string;
  readonly value: BthomeValue;
}

/** The advertised data, before decryption. */
export type BthomeFrame =
  | { readonly encrypted: false; readonly objects: Uint8Array }
  | { readonly encrypted: true; readonly counter: number };

/** `isWhole`: false if an unknown object, or one that is cut off, ended the reading. */
export interface BthomeReadings {
  readonly readings: readonly BthomeReading[];
  readonly isWhole: boolean;
}

const uuidInAir = Uint8Array.of(0xd2, 0xfc);
const encryptedBit = 0x01;
/** Reserved bits. Some sensors add their address after such an octet. Undocumented formats are not read. */
const reservedBits = 0x1a;
const version = 2;
const counterBytes = 4;
const micBytes = 4;
const keyBytes = 16;

/** `serviceData`: without the UUID. Undefined: the data are not BTHome v2. */
export function parseBthome(serviceData: Uint8Array): BthomeFrame | undefined {
  const information = serviceData[0];
  if (information === undefined || information >> 5 !== version || (information & reservedBits) !== 0) return undefined;
  if ((information & encryptedBit) === 0) return { encrypted: false, objects: serviceData.subarray(1) };
  const counterAt = serviceData.byteLength - micBytes - counterBytes;
  if (counterAt < 1) return undefined;
  return { encrypted: true, counter: viewOf(serviceData).getUint32(counterAt, true) };
}

/** The objects of encrypted service data. Undefined: the key is wrong, or an octet was changed. */
export function decryptBthome(serviceData: Uint8Array, address: string, key: Uint8Array): Uint8Array | undefined {
  const counterAt = serviceData.byteLength - micBytes - counterBytes;
  if (counterAt < 1 || key.byteLength !== keyBytes) return undefined;
  const counter = serviceData.subarray(counterAt, counterAt + counterBytes);
  const nonce = nonceOf(address, serviceData[0] ?? 0, counter);
  if (!nonce) return undefined;
  try {
    const decipher = createDecipheriv("aes-128-ccm", key, nonce, { authTagLength: micBytes });
    decipher.setAuthTag(serviceData.subarray(counterAt + counterBytes));
    const objects = decipher.update(serviceData.subarray(1, counterAt));
    decipher.final(); // throws if the MIC does not match
    return objects;
  } catch {
    return undefined;
  }
}

/**
 * Reads the objects up to the first unknown one. The length of an unknown object is not known, so the rest cannot be
 * read.
 */
export function readBthome(objects: Uint8Array): BthomeReadings {
  const readings: BthomeReading[] = [];
  const times = new Map<string, number>();
  for (let at = 0; at < objects.byteLength; ) {
    const object = bthomeObjects.get(objects[at] ?? 0);
    const content = object && contentOf(object, objects, at + 1);
    if (!object || !content) return { readings, isWhole: false };
    const value = toValue(object, content);
    at += 1 + content.byteLength + (hasLength(object) ? 1 : 0);
    if (value === undefined) continue; // nothing happened to this button
    const time = (times.get(object.name) ?? 0) + 1;
    times.set(object.name, time);
    readings.push({ id: object.id, name: time === 1 ? object.name : `${object.name}_${time}`, value });
  }
  return { readings, isWhole: true };
}

/** The packet id, by which a repeated packet is recognized; undefined: the packet has none. */
export function packetIdOf(readings: readonly BthomeReading[]): number | undefined {
  const found = readings.find(({ id }) => id === 0)?.value;
  return typeof found === "number" ? found : undefined;
}

/** Encodes objects as a sensor sends them: id and octets of the value. For examples and tests. */
export function writeBthome(objects: readonly { readonly id: number; readonly octets: Uint8Array }[]): Uint8Array {
  return concat([Uint8Array.of(version << 5), ...objects.flatMap(({ id, octets }) => [Uint8Array.of(id), octets])]);
}

/** The same service data, encrypted. @throws {RangeError} if key or address is invalid. */
export function encryptBthome(
  plain: Uint8Array,
  { address, key, counter }: { readonly address: string; readonly key: Uint8Array; readonly counter: number },
): Uint8Array {
  const information = (plain[0] ?? 0) | encryptedBit;
  const counterOctets = new Uint8Array(counterBytes);
  viewOf(counterOctets).setUint32(0, counter, true);
  const nonce = nonceOf(address, information, counterOctets);
  if (!nonce || key.byteLength !== keyBytes) throw new RangeError("not an address, or not a key of 16 octets");
  const cipher = createCipheriv("aes-128-ccm", key, nonce, { authTagLength: micBytes });
  const ciphered = cipher.update(plain.subarray(1));
  cipher.final();
  return concat([Uint8Array.of(information), ciphered, counterOctets, cipher.getAuthTag()]);
}

function nonceOf(address: string, information: number, counter: Uint8Array): Uint8Array | undefined {
  const octets = Buffer.from(address.replaceAll(":", ""), "hex");
  return octets.byteLength === 6 ? concat([octets, uuidInAir, Uint8Array.of(information), counter]) : undefined;
}

/** The octets of an object's value; undefined: the data end before it does. */
function contentOf(object: BthomeObject, objects: Uint8Array, at: number): Uint8Array | undefined {
  const start = hasLength(object) ? at + 1 : at;
  const end = start + lengthOf(object, objects, at);
  return end <= objects.byteLength ? objects.subarray(start, end) : undefined;
}

function hasLength({ form }: BthomeObject): boolean {
  return form === "text" || form === "raw";
}

function lengthOf(object: BthomeObject, objects: Uint8Array, at: number): number {
  switch (object.form) {
    case "number":
    case "version":
      return object.bytes;
    case "dimmer":
      return 2;
    case "text":
    case "raw":
      return objects[at] ?? Number.POSITIVE_INFINITY;
    case "boolean":
    case "button":
      return 1;
  }
}

/** Undefined: the object reports that nothing happened. */
function toValue(object: BthomeObject, content: Uint8Array): BthomeValue | undefined {
  switch (object.form) {
    case "number": {
      const written = whole(content, object.signed);
      return Number((written * object.step).toFixed(object.decimals));
    }
    case "boolean":
      return content[0] !== 0;
    case "button":
      return content[0] === 0 ? undefined : (buttonEvents[content[0] ?? 0] ?? `event_${content[0]}`);
    case "dimmer":
      if (content[0] === 0) return undefined;
      return { steps: content[0] === 1 ? -(content[1] ?? 0) : (content[1] ?? 0) };
    case "text":
      return Buffer.from(content).toString("utf8");
    case "raw":
      return Buffer.from(content).toString("hex");
    case "version":
      return [...content].reverse().join(".");
  }
}

const buttonEvents: Readonly<Record<number, string>> = {
  1: "press",
  2: "double_press",
  3: "triple_press",
  4: "long_press",
  5: "long_double_press",
  6: "long_triple_press",
  128: "hold_press",
};

/** Reads a whole number, low octet first. */
function whole(content: Uint8Array, signed: boolean): number {
  const unsigned = content.reduceRight((sum, octet) => sum * 256 + octet, 0);
  const range = 256 ** content.byteLength;
  return signed && unsigned >= range / 2 ? unsigned - range : unsigned;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  return new Uint8Array(Buffer.concat(parts));
}
