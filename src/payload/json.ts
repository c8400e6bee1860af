/** JSON from a device: it is checked, and passed on in its shortest form. [RFC 8259] */
import { misfit, type PayloadCodec, type PayloadValue, type Reading } from "./value.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();
/**
 * Arrays of at most so many octets are in V8's heap. A longer array, and each from TextEncoder, has memory outside,
 * which costs the garbage collector a microsecond each.
 */
const shortMax = 64;

export const json: Required<PayloadCodec> = {
  read: parseJson,
  write: (value) => ({ ok: true, payload: jsonOctets(value) }),
};

export function parseJson(payload: Uint8Array): Reading {
  try {
    return { ok: true, value: JSON.parse(strict.decode(payload)) as PayloadValue };
  } catch {
    // The parser's error is not used, because it quotes the payload, which not every user may see.
    return misfit("it is no JSON in UTF-8");
  }
}

export function jsonOctets(value: PayloadValue): Uint8Array {
  const text = JSON.stringify(value);
  return (text.length <= shortMax ? shortOctets(text) : undefined) ?? utf8.encode(text);
}

/** Undefined: the text is not only ASCII. */
function shortOctets(text: string): Uint8Array | undefined {
  const octets = new Uint8Array(text.length);
  for (let i = 0; i < octets.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0x7f) return undefined;
    octets[i] = code;
  }
  return octets;
}
