/**
 * The cryptographic toolbox of LE pairing. [Bluetooth Core 5.4, 3.H.2.2] All values with the high octet first, as the
 * standard writes them. Addresses are seven octets: their type (0 public, 1 random) in front.
 */
import type { PairingCrypto } from "./crypto.ts";
import { joined, xor } from "./octets.ts";

type Aes = PairingCrypto["aes"];

const block = 16;
const salt = hex("6c888391aaf5a53860370bdb5a6083be");
const keyId = hex("62746c65");
/** The value that is combined with XOR when a shift has a carry. [RFC 4493] */
const carry = 0x87;

/** AES-CMAC. [RFC 4493] */
export function cmac(aes: Aes, key: Uint8Array, message: Uint8Array): Uint8Array {
  const first = doubled(aes(key, new Uint8Array(block)));
  const blocks = Math.max(1, Math.ceil(message.length / block));
  const rest = message.subarray((blocks - 1) * block);
  const last =
    rest.length === block
      ? xor(rest, first)
      : xor(joined(rest, [0x80], new Uint8Array(block - 1 - rest.length)), doubled(first));
  let state: Uint8Array = new Uint8Array(block);
  for (let i = 0; i < blocks - 1; i++) state = aes(key, xor(state, message.subarray(i * block, (i + 1) * block)));
  return aes(key, xor(state, last));
}

function doubled(value: Uint8Array): Uint8Array {
  const shifted = value.map((octet, i) => ((octet << 1) | ((value[i + 1] ?? 0) >> 7)) & 0xff);
  if ((value[0] ?? 0) >= 0x80) shifted[block - 1] = (shifted[block - 1] ?? 0) ^ carry;
  return shifted;
}

/** Commitment of Secure Connections. [3.H.2.2.6] */
export function f4(aes: Aes, u: Uint8Array, v: Uint8Array, x: Uint8Array, z: number): Uint8Array {
  return cmac(aes, x, joined(u, v, [z]));
}

/** Keys of Secure Connections. [3.H.2.2.7] */
export function f5(
  aes: Aes,
  shared: Uint8Array,
  nonces: readonly [Uint8Array, Uint8Array],
  addresses: readonly [Uint8Array, Uint8Array],
): { readonly macKey: Uint8Array; readonly ltk: Uint8Array } {
  const key = cmac(aes, salt, shared);
  const part = (counter: number) => cmac(aes, key, joined([counter], keyId, ...nonces, ...addresses, [1, 0]));
  return { macKey: part(0), ltk: part(1) };
}

/** Check of Secure Connections. [3.H.2.2.8] */
export function f6(
  aes: Aes,
  macKey: Uint8Array,
  nonces: readonly [Uint8Array, Uint8Array],
  r: Uint8Array,
  ioCapability: Uint8Array,
  addresses: readonly [Uint8Array, Uint8Array],
): Uint8Array {
  return cmac(aes, macKey, joined(...nonces, r, ioCapability, ...addresses));
}

/** Confirm value of legacy pairing; `request`, `response`: the seven octets of those messages. [3.H.2.2.3] */
export function c1(
  aes: Aes,
  key: Uint8Array,
  random: Uint8Array,
  { request, response }: { readonly request: Uint8Array; readonly response: Uint8Array },
  { initiator, responder }: { readonly initiator: Uint8Array; readonly responder: Uint8Array },
): Uint8Array {
  const p1 = joined(response, request, responder.subarray(0, 1), initiator.subarray(0, 1));
  const p2 = joined([0, 0, 0, 0], initiator.subarray(1), responder.subarray(1));
  return aes(key, xor(aes(key, xor(random, p1)), p2));
}

/** Short-term key of legacy pairing. [3.H.2.2.4] */
export function s1(aes: Aes, key: Uint8Array, responder: Uint8Array, initiator: Uint8Array): Uint8Array {
  return aes(key, joined(responder.subarray(8), initiator.subarray(8)));
}

/** Hash of a resolvable private address; `prand`: its first three octets. [3.H.2.2.2] */
export function ah(aes: Aes, irk: Uint8Array, prand: Uint8Array): Uint8Array {
  return aes(irk, joined(new Uint8Array(block - prand.length), prand)).subarray(block - 3);
}

function hex(digits: string): Uint8Array {
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}
