/** The messages of a handshake with certificates. [RFC 5246 7.4.2 to 7.4.8, RFC 8422 5] */
import { joined, none, number, Reader, vector } from "./octets.ts";

/** secp256r1, the only supported group. */
export const p256 = 23;
/** ecdsa with sha256, the only supported signature. */
export const ecdsaSha256 = 0x0403;
const namedCurve = 3;
const ecdsaSign = 64;
/** The most certificates of one client that are read. */
const chainMax = 4;

export function encodeCertificates(chain: readonly Uint8Array[]): Uint8Array {
  return vector(joined(...chain.map((each) => vector(each, 3))), 3);
}

/** Undefined: the lengths do not fit, or there are too many certificates. */
export function readCertificates(body: Uint8Array): readonly Uint8Array[] | undefined {
  const reader = new Reader(body);
  const list = new Reader(reader.vector(3));
  const chain: Uint8Array[] = [];
  while (list.left > 0 && list.ok) chain.push(list.vector(3).slice());
  return reader.ok && reader.left === 0 && list.ok && chain.length <= chainMax ? chain : undefined;
}

/** Group and point, in the form in which they are signed. */
export function exchangeParameters(point: Uint8Array): Uint8Array {
  return joined(number(namedCurve, 1), number(p256, 2), vector(point, 1));
}

/** `parameters` of `exchangeParameters`, signed together with both randoms. */
export function encodeServerKeyExchange(parameters: Uint8Array, signature: Uint8Array): Uint8Array {
  return joined(parameters, encodeSignature(signature));
}

export interface ServerKeyExchange {
  readonly parameters: Uint8Array;
  readonly point: Uint8Array;
  readonly signature: Uint8Array;
}

export function readServerKeyExchange(body: Uint8Array): ServerKeyExchange | undefined {
  const reader = new Reader(body);
  const [kind, group] = [reader.number(1), reader.number(2)];
  const point = reader.vector(1);
  const parameters = body.subarray(0, body.length - reader.left);
  const signature = readSignature(body.subarray(body.length - reader.left));
  if (!reader.ok || kind !== namedCurve || group !== p256 || !signature) return undefined;
  return { parameters, point, signature };
}

/** Requests a certificate with a key on P-256. Authorities are not named. */
export function encodeCertificateRequest(): Uint8Array {
  return joined(vector(number(ecdsaSign, 1), 1), vector(number(ecdsaSha256, 2), 2), vector(none, 2));
}

/** CertificateVerify; undefined: another kind of signature, or none. */
export function readSignature(body: Uint8Array): Uint8Array | undefined {
  const reader = new Reader(body);
  const algorithm = reader.number(2);
  const signature = reader.vector(2);
  return reader.ok && reader.left === 0 && algorithm === ecdsaSha256 ? signature : undefined;
}

export function encodeSignature(signature: Uint8Array): Uint8Array {
  return joined(number(ecdsaSha256, 2), vector(signature, 2));
}

/** A list of numbers of one or two octets after its length; empty: the lengths do not fit. */
export function numbersIn(extension: Uint8Array, octets: 1 | 2): readonly number[] {
  const reader = new Reader(extension);
  const list = new Reader(reader.vector(octets));
  const numbers: number[] = [];
  while (list.left >= octets) numbers.push(list.number(octets));
  return reader.ok && reader.left === 0 && list.left === 0 ? numbers : [];
}
