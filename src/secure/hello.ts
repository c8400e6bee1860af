/** ClientHello, ServerHello and HelloVerifyRequest. [RFC 5246 7.4.1, RFC 6347 4.2.1] */
import { joined, number, Reader, vector } from "./octets.ts";

export const dtls12 = 0xfefd;
const dtls10 = 0xfeff;

export const extensionTypes = {
  supportedGroups: 10,
  pointFormats: 11,
  signatureAlgorithms: 13,
  extendedMasterSecret: 23,
  connectionId: 54,
  renegotiationInfo: 0xff01,
} as const;
/** Has the same meaning as an empty renegotiation_info. [RFC 5746 3.3] */
export const renegotiationScsv = 0x00ff;

type Extensions = ReadonlyMap<number, Uint8Array>;

export interface ClientHello {
  /** The client supports DTLS 1.2, perhaps besides other versions. */
  readonly isDtls12: boolean;
  readonly random: Uint8Array;
  readonly cookie: Uint8Array;
  /** The whole message without the cookie: a cookie is made from these octets. */
  readonly withoutCookie: readonly Uint8Array[];
  readonly suites: readonly number[];
  /** The client accepts records that are not compressed, as every client must. */
  readonly takesPlain: boolean;
  readonly extensions: Extensions;
}

const randomEnd = 34;

/** True if a ClientHello contains a cookie. Reads only two octets. */
export function hasCookie(body: Uint8Array): boolean {
  const cookieAt = randomEnd + 1 + (body[randomEnd] ?? 0);
  return (body[cookieAt] ?? 0) > 0;
}

/** Undefined: the octets are no ClientHello. */
export function readClientHello(body: Uint8Array): ClientHello | undefined {
  const reader = new Reader(body);
  const version = reader.number(2);
  const random = reader.take(32);
  reader.vector(1); // the id of a session to resume: sessions are not resumed
  const cookieAt = body.length - reader.left;
  const cookie = reader.vector(1);
  const behind = body.subarray(body.length - reader.left);
  const suiteBytes = reader.vector(2);
  const compressions = reader.vector(1);
  const extensions = readExtensions(reader);
  if (!reader.ok || !extensions || suiteBytes.length < 2 || suiteBytes.length % 2 !== 0) return undefined;
  const suites: number[] = [];
  for (let i = 0; i < suiteBytes.length; i += 2) suites.push(((suiteBytes[i] ?? 0) << 8) | (suiteBytes[i + 1] ?? 0));
  return {
    // Versions count downwards.
    isDtls12: version >> 8 === 0xfe && version <= dtls12,
    random,
    cookie,
    withoutCookie: [body.subarray(0, cookieAt), behind],
    suites,
    takesPlain: compressions.includes(0),
    extensions,
  };
}

export interface ServerHello {
  readonly random: Uint8Array;
  readonly suite: number;
  readonly extensions: Extensions;
}

/** The session id is empty, because sessions are not resumed. */
export function encodeServerHello({ random, suite, extensions }: ServerHello): Uint8Array {
  const head = [number(dtls12, 2), random, number(0, 1), number(suite, 2), number(0, 1)];
  return joined(...head, ...encodeExtensions(extensions));
}

export function readServerHello(body: Uint8Array): ServerHello | undefined {
  const reader = new Reader(body);
  const version = reader.number(2);
  const random = reader.take(32);
  reader.vector(1);
  const suite = reader.number(2);
  const compression = reader.number(1);
  const extensions = readExtensions(reader);
  if (!reader.ok || !extensions || version !== dtls12 || compression !== 0) return undefined;
  return { random, suite, extensions };
}

export function encodeHelloVerifyRequest(cookie: Uint8Array): Uint8Array {
  return joined(number(dtls10, 2), vector(cookie, 1));
}

/** The cookie in the message. */
export function readHelloVerifyRequest(body: Uint8Array): Uint8Array | undefined {
  const reader = new Reader(body);
  reader.take(2);
  const cookie = reader.vector(1);
  return reader.ok && reader.left === 0 ? cookie : undefined;
}

export function encodeClientHello(hello: {
  readonly random: Uint8Array;
  readonly cookie: Uint8Array;
  readonly suites: readonly number[];
  readonly extensions: Extensions;
}): Uint8Array {
  const { random, cookie, extensions } = hello;
  const suites = joined(...hello.suites.map((id) => number(id, 2)));
  const head = [number(dtls12, 2), random, number(0, 1), vector(cookie, 1), vector(suites, 2), Uint8Array.of(1, 0)];
  return joined(...head, ...encodeExtensions(extensions));
}

function encodeExtensions(extensions: Extensions): readonly Uint8Array[] {
  if (extensions.size === 0) return [];
  return [vector(joined(...[...extensions].map(([type, data]) => joined(number(type, 2), vector(data, 2)))), 2)];
}

/** Undefined: the lengths do not fit, or an extension occurs twice. [RFC 5246 7.4.1.4] */
function readExtensions(reader: Reader): Extensions | undefined {
  const extensions = new Map<number, Uint8Array>();
  if (reader.left === 0) return extensions;
  const block = new Reader(reader.vector(2));
  while (block.left > 0) {
    const type = block.number(2);
    const data = block.vector(2);
    if (!block.ok || extensions.has(type)) return undefined;
    extensions.set(type, data);
  }
  return reader.left === 0 ? extensions : undefined;
}
