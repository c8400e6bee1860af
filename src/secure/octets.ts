/** Joins and divides octets. Numbers are big-endian, as everywhere in TLS. [RFC 5246 4.1] */

/** Reads octets in order. Beyond the end the result is zero or empty, and `ok` is false from then on. */
export class Reader {
  readonly #bytes: Uint8Array;
  #at = 0;
  #ok = true;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  /** False if a read went beyond the end. */
  get ok(): boolean {
    return this.#ok;
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Reads a number of up to 6 octets. */
  number(octets: number): number {
    let value = 0;
    for (const octet of this.take(octets)) value = value * 256 + octet;
    return value;
  }

  take(octets: number): Uint8Array {
    if (octets > this.left) {
      this.#ok = false;
      return none;
    }
    this.#at += octets;
    return this.#bytes.subarray(this.#at - octets, this.#at);
  }

  /** A vector after its length, which has so many octets. [RFC 5246 4.3] */
  vector(lengthOctets: number): Uint8Array {
    return this.take(this.number(lengthOctets));
  }
}

export const none = new Uint8Array(0);

export function number(value: number, octets: number): Uint8Array {
  const bytes = new Uint8Array(octets);
  writeNumber(bytes, 0, value, octets);
  return bytes;
}

export function writeNumber(bytes: Uint8Array, at: number, value: number, octets: number): void {
  let rest = value;
  for (let i = at + octets - 1; i >= at; i--) {
    bytes[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
}

/** Copies by a loop. For few octets it is faster than `set`, which creates an object for each part. */
export function copy(to: Uint8Array, at: number, from: Uint8Array, begin = 0, end = from.length): void {
  for (let i = begin; i < end; i++) to[at + i - begin] = from[i] ?? 0;
}

export function readNumber(bytes: Uint8Array, at: number, octets: number): number {
  let value = 0;
  for (let i = at; i < at + octets; i++) value = value * 256 + (bytes[i] ?? 0);
  return value;
}

export function vector(bytes: Uint8Array, lengthOctets: number): Uint8Array {
  return joined(number(bytes.length, lengthOctets), bytes);
}

export function joined(...parts: readonly Uint8Array[]): Uint8Array {
  let length = 0;
  for (const part of parts) length += part.length;
  const bytes = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The comparison takes the same time for any difference, so that an attacker cannot find a secret octet by octet. */
export function isEqual(one: Uint8Array, other: Uint8Array): boolean {
  if (one.length !== other.length) return false;
  let difference = 0;
  for (let i = 0; i < one.length; i++) difference |= (one[i] ?? 0) ^ (other[i] ?? 0);
  return difference === 0;
}

export function hex(bytes: Uint8Array): string {
  let text = "";
  for (const octet of bytes) text += hexOfOctet[octet];
  return text;
}

/** Undefined: the octets are no text in UTF-8. */
export function textOf(bytes: Uint8Array): string | undefined {
  try {
    return strict.decode(bytes);
  } catch {
    return undefined;
  }
}

export function octetsOf(text: string): Uint8Array {
  return encoder.encode(text);
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const encoder = new TextEncoder();
/** Each record with a connection id uses this table. */
const hexOfOctet = Array.from({ length: 256 }, (_, octet) => octet.toString(16).padStart(2, "0"));
