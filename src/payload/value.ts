/** The content of a payload in values that JSON has, and how errors of reading and writing are reported. */

export type PayloadValue =
  | number
  | boolean
  | string
  | null
  | readonly PayloadValue[]
  | { readonly [name: string]: PayloadValue };

export type PayloadObject = { readonly [name: string]: PayloadValue };

/** The reason why octets do not fit a declaration. */
export interface Misfit {
  readonly ok: false;
  /** A whole clause for people: names the field, and the octet of the error (counted from 0). */
  readonly why: string;
}

export type Reading = { readonly ok: true; readonly value: PayloadValue } | Misfit;
export type Writing = { readonly ok: true; readonly payload: Uint8Array } | Misfit;

/** Decodes octets. Never throws; the same octets always have the same result. */
export type Reader = (payload: Uint8Array) => Reading;

/** Converts a value to octets. Never throws. */
export type Writer = (value: PayloadValue) => Writing;

/** A payload format. Without `write` it can only be read. */
export interface PayloadCodec {
  readonly read: Reader;
  readonly write?: Writer;
}

export const misfit = (why: string): Misfit => ({ ok: false, why });

export function isObject(value: PayloadValue): value is PayloadObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** The object's own member with this name, and not an inherited one. */
export function memberOf(value: PayloadObject, name: string): PayloadValue | undefined {
  return Object.hasOwn(value, name) ? value[name] : undefined;
}

/** An object that inherits no names, so that a field may have any name. */
export function newObject(): { [name: string]: PayloadValue } {
  return Object.create(null) as { [name: string]: PayloadValue };
}

/** Octets as text in hexadecimal. */
export function toHex(octets: Uint8Array): string {
  let text = "";
  for (let i = 0; i < octets.byteLength; i++) text += (octets[i] ?? 0).toString(16).padStart(2, "0");
  return text;
}

/** Undefined: the text is not hexadecimal. */
export function fromHex(text: string): Uint8Array | undefined {
  if (text.length % 2 !== 0 || /[^0-9a-f]/i.test(text)) return undefined;
  const octets = new Uint8Array(text.length / 2);
  for (let i = 0; i < octets.byteLength; i++) octets[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return octets;
}

export function countOf(n: number, what: string): string {
  return `${n} ${what}${n === 1 ? "" : "s"}`;
}
