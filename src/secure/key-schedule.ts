/** Derives the keys of both directions from the shared secret. [RFC 5246 5, 6.3, 8.1; RFC 4279 2; RFC 7627 4] */
import type { Crypto } from "./crypto.ts";
import { joined, number, octetsOf } from "./octets.ts";
import type { Suite } from "./suites.ts";

export const randomOctets = 32;
const masterOctets = 48;
const verifyOctets = 12;
/** The part of each nonce that the handshake gives. [RFC 5288 3, RFC 6655 3] */
export const ivOctets = 4;

/** The inputs of a master secret. */
export interface Exchange {
  readonly premaster: Uint8Array;
  readonly clientRandom: Uint8Array;
  readonly serverRandom: Uint8Array;
  /** The hash of all messages up to ClientKeyExchange, if both sides have the extended master secret. */
  readonly sessionHash: Uint8Array | undefined;
}

/** Keys as they are kept: of the client's direction, and of the server's. */
export interface TrafficKeys {
  readonly clientKey: Uint8Array;
  readonly serverKey: Uint8Array;
  readonly clientIv: Uint8Array;
  readonly serverIv: Uint8Array;
}

/** P_SHA256 over label and seed. [RFC 5246 5] */
export function prf(crypto: Crypto, secret: Uint8Array, label: string, seed: Uint8Array, octets: number): Uint8Array {
  const hmac = crypto.hmac(secret);
  const seeded = joined(octetsOf(label), seed);
  const parts: Uint8Array[] = [];
  let a = seeded;
  for (let made = 0; made < octets; made += 32) {
    a = hmac(a);
    parts.push(hmac(a, seeded));
  }
  return joined(...parts).subarray(0, octets);
}

/**
 * The premaster secret: plain PSK has no other secret, so as many zero octets as the key has stand in its place.
 * [RFC 4279 2]
 */
export function premasterOfPsk(psk: Uint8Array): Uint8Array {
  const length = number(psk.length, 2);
  return joined(length, new Uint8Array(psk.length), length, psk);
}

export function masterSecret(crypto: Crypto, exchange: Exchange): Uint8Array {
  const { premaster, clientRandom, serverRandom, sessionHash } = exchange;
  return sessionHash
    ? prf(crypto, premaster, "extended master secret", sessionHash, masterOctets)
    : prf(crypto, premaster, "master secret", joined(clientRandom, serverRandom), masterOctets);
}

export function trafficKeys(
  crypto: Crypto,
  suite: Suite,
  master: Uint8Array,
  { clientRandom, serverRandom }: Pick<Exchange, "clientRandom" | "serverRandom">,
): TrafficKeys {
  const { keyOctets } = suite;
  const block = prf(crypto, master, "key expansion", joined(serverRandom, clientRandom), 2 * (keyOctets + ivOctets));
  return {
    clientKey: block.slice(0, keyOctets),
    serverKey: block.slice(keyOctets, 2 * keyOctets),
    clientIv: block.slice(2 * keyOctets, 2 * keyOctets + ivOctets),
    serverIv: block.slice(2 * keyOctets + ivOctets),
  };
}

/** The contents of Finished. [RFC 5246 7.4.9] */
export function verifyData(
  crypto: Crypto,
  master: Uint8Array,
  of: "client" | "server",
  transcript: readonly Uint8Array[],
): Uint8Array {
  return prf(crypto, master, `${of} finished`, crypto.hash(...transcript), verifyOctets);
}
