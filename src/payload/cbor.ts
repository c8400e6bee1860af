/**
 * Converts CBOR to values that JSON has. [RFC 8949] Octets become text in hexadecimal; whole numbers beyond 2^53 become
 * text, too.
 */
import { decode, encode } from "cborg";
import { misfit, newObject, type PayloadCodec, type PayloadValue, type Reading, toHex, type Writing } from "./value.ts";

/** Levels of nested arrays and maps. */
const depthMax = 32;

export const cbor: Required<PayloadCodec> = { read, write };

/** Decodes one item, with maps as `Map`; tags are not known. Otherwise returns the reason. */
export function decodeCbor(
  payload: Uint8Array,
): { readonly ok: true; readonly item: unknown } | { ok: false; why: string } {
  const deep = tooDeep(payload);
  if (deep !== undefined) return { ok: false, why: `more than ${depthMax} levels at octet ${deep}` };
  try {
    return { ok: true, item: decode(payload, { useMaps: true, allowUndefined: true, rejectDuplicateMapKeys: true }) };
  } catch (error) {
    return {
      ok: false,
      why: `no CBOR: ${error instanceof Error ? error.message.replace(/^CBOR decode error: /, "") : ""}`,
    };
  }
}

function read(payload: Uint8Array): Reading {
  const decoded = decodeCbor(payload);
  return decoded.ok ? { ok: true, value: plain(decoded.item) } : misfit(decoded.why);
}

function write(value: PayloadValue): Writing {
  try {
    return { ok: true, payload: encode(value) };
  } catch (error) {
    return misfit(`no CBOR can be made of it: ${error instanceof Error ? error.message : ""}`);
  }
}

function plain(item: unknown): PayloadValue {
  switch (typeof item) {
    case "number":
      return Number.isFinite(item) ? item : null;
    case "bigint":
      return item >= Number.MIN_SAFE_INTEGER && item <= Number.MAX_SAFE_INTEGER ? Number(item) : String(item);
    case "string":
    case "boolean":
      return item;
    case "object":
      if (item instanceof Uint8Array) return toHex(item);
      if (Array.isArray(item)) return item.map(plain);
      return item instanceof Map ? fromMap(item) : null;
    default:
      return null;
  }
}

function fromMap(map: ReadonlyMap<unknown, unknown>): PayloadValue {
  const into = newObject();
  for (const [key, value] of map) into[nameOf(key)] = plain(value);
  return into;
}

function nameOf(key: unknown): string {
  if (typeof key === "string") return key;
  return key instanceof Uint8Array ? toHex(key) : String(JSON.stringify(plain(key)));
}

/**
 * The offset at which arrays and maps are nested more than `depthMax` levels; undefined: they are not. The decoder
 * calls itself for each level.
 */
function tooDeep(payload: Uint8Array): number | undefined {
  /** Items that are still to come at each open level; Infinity until a break. */
  const open: number[] = [];
  for (let at = 0; at < payload.byteLength; ) {
    const first = payload[at] ?? 0;
    const major = first >> 5;
    const info = first & 0x1f;
    if (first === 0xff) {
      open.pop();
      at++;
    } else {
      const head = headAt(payload, at, info);
      if (!head) return undefined; // the decoder will report it
      at = head.end + ((major === 2 || major === 3) && info !== 31 ? head.value : 0);
      const isOpening = major === 4 || major === 5 || ((major === 2 || major === 3) && info === 31) || major === 6;
      if (isOpening) open.push(info === 31 ? Infinity : major === 6 ? 1 : head.value * (major === 5 ? 2 : 1));
      else if (open.length > 0) open[open.length - 1] = (open[open.length - 1] ?? 0) - 1;
      if (open.length > depthMax) return at;
    }
    while (open.length > 0 && (open[open.length - 1] ?? 0) <= 0) {
      open.pop();
      if (open.length > 0) open[open.length - 1] = (open[open.length - 1] ?? 0) - 1;
    }
  }
  return undefined;
}

function headAt(payload: Uint8Array, at: number, info: number): { value: number; end: number } | undefined {
  if (info < 24 || info === 31) return { value: info === 31 ? 0 : info, end: at + 1 };
  const bytes = [1, 2, 4, 8][info - 24];
  if (bytes === undefined || at + 1 + bytes > payload.byteLength) return undefined;
  let value = 0;
  for (let i = 0; i < bytes; i++) value = value * 256 + (payload[at + 1 + i] ?? 0);
  return { value, end: at + 1 + bytes };
}
