/** JSON that a device says itself: only looked at, and passed on in its shortest form. [RFC 8259] */
import { misfit, type PayloadCodec, type PayloadValue, type Reading } from "./value.ts";

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const utf8 = new TextEncoder();

export const json: Required<PayloadCodec> = {
  read: parseJson,
  write: (value) => ({ ok: true, payload: jsonOctets(value) }),
};

export function parseJson(payload: Uint8Array): Reading {
  try {
    return { ok: true, value: JSON.parse(strict.decode(payload)) as PayloadValue };
  } catch {
    // What the parser says quotes the payload, which is not everybody's.
    return misfit("it is no JSON in UTF-8");
  }
}

export function jsonOctets(value: PayloadValue): Uint8Array {
  return utf8.encode(JSON.stringify(value));
}
