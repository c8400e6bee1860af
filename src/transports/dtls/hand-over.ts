/**
 * A handshake on its way from the gateway that began it to the gateway of the device's shard, with what the device has
 * sent since. Between gateways it travels as a datagram of the device. The identity and the connection id are readable,
 * because a front finds the shard by them; the rest is encrypted with a key that all gateways of the fleet can derive.
 *
 *     mark(1) connection-id(1+) identity(2+) sealed(3+) datagram(2+)...
 *
 * No record of DTLS begins with the mark, and a front accepts it only from other gateways and from its own door.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { encodeBegun, readBegun } from "../../secure/begun.ts";
import type { Begun } from "../../secure/messages.ts";
import { joined, none, octetsOf, Reader, textOf, vector } from "../../secure/octets.ts";

const mark = 0;
const cipherName = "aes-256-gcm";
const keyOctets = 32;
const nonceOctets = 12;
const tagOctets = 16;
const purpose = "mqtt-sn-gateway: handshakes between the gateways of a fleet";

export interface HandedOver {
  readonly identity: string;
  readonly begun: Begun;
  /** What the device has sent since the first flight of the gateway, in order. */
  readonly datagrams: readonly Uint8Array[];
}

/** The readable part. */
export interface HandedOverTo {
  readonly identity: string;
  readonly cid: Uint8Array | undefined;
}

export function isHandOver(bytes: Uint8Array): boolean {
  return bytes[0] === mark;
}

/** Undefined: the octets are no handshake. */
export function readHandedOverTo(bytes: Uint8Array): HandedOverTo | undefined {
  const reader = new Reader(bytes);
  if (bytes.length === 0 || reader.number(1) !== mark) return undefined;
  const cid = reader.vector(1);
  const identity = textOf(reader.vector(2));
  return reader.ok && identity ? { identity, cid: cid.length > 0 ? cid : undefined } : undefined;
}

export class HandOverSeal {
  readonly #key: Uint8Array;

  /** `secret`: that of the fleet. */
  constructor(secret: Uint8Array) {
    this.#key = new Uint8Array(hkdfSync("sha256", secret, none, purpose, keyOctets));
  }

  sealed({ identity, begun, datagrams }: HandedOver): Uint8Array {
    const head = joined(Uint8Array.of(mark), vector(begun.cid ?? none, 1), vector(octetsOf(identity), 2));
    const nonce = randomBytes(nonceOctets);
    const cipher = createCipheriv(cipherName, this.#key, nonce);
    cipher.setAAD(head);
    const text = cipher.update(encodeBegun(begun));
    const rest = cipher.final();
    const secret = joined(nonce, text, rest, cipher.getAuthTag());
    return joined(head, vector(secret, 3), ...datagrams.map((each) => vector(each, 2)));
  }

  /** Undefined: the octets are no handshake, or were not sealed with this fleet's key. */
  opened(bytes: Uint8Array): HandedOver | undefined {
    const reader = new Reader(bytes);
    if (bytes.length === 0 || reader.number(1) !== mark) return undefined;
    reader.vector(1);
    const identity = textOf(reader.vector(2));
    const head = bytes.subarray(0, bytes.length - reader.left);
    const text = this.#textOf(reader.vector(3), head);
    const begun = reader.ok && text ? readBegun(text) : undefined;
    const datagrams: Uint8Array[] = [];
    while (reader.ok && reader.left > 0) datagrams.push(reader.vector(2));
    return identity && begun && reader.ok ? { identity, begun, datagrams } : undefined;
  }

  #textOf(secret: Uint8Array, head: Uint8Array): Uint8Array | undefined {
    const end = secret.length - tagOctets;
    if (end < nonceOctets) return undefined;
    const decipher = createDecipheriv(cipherName, this.#key, secret.subarray(0, nonceOctets));
    decipher.setAAD(head);
    decipher.setAuthTag(secret.subarray(end));
    try {
      return joined(decipher.update(secret.subarray(nonceOctets, end)), decipher.final());
    } catch {
      return undefined;
    }
  }
}
