/**
 * A layout of consecutive fields, as a device's firmware packs them. A declaration is compiled once to a reader and a
 * writer; each message costs a pass over its fields.
 */
import { type NumberFormat, type NumberType, numberFormat } from "./numbers.ts";
import {
  countOf,
  fromHex,
  isObject,
  type Misfit,
  memberOf,
  misfit,
  newObject,
  type PayloadCodec,
  type PayloadObject,
  type PayloadValue,
  type Reading,
  toHex,
  type Writing,
} from "./value.ts";

/** Properties of a value for people and Home Assistant. */
interface Described {
  readonly name: string;
  /** The unit that is written after the number: "°C". */
  readonly unit?: string | undefined;
  /** The quantity, if the unit alone does not name it: "battery", "opening". */
  readonly kind?: string | undefined;
  /** The value is about the device itself and not about its surroundings. */
  readonly diagnostic?: boolean | undefined;
}

export interface NumberField extends Described {
  readonly type: NumberType;
  /** The value is the number times `scale`, plus `offset`, rounded to as many digits as these have. */
  readonly scale?: number | undefined;
  readonly offset?: number | undefined;
  /** Names for numbers; a number without a name stays a number. */
  readonly values?: Readonly<Record<string, string>> | undefined;
  /** The number is a set of bits: these are published, and not the number. */
  readonly bits?: readonly BitField[] | undefined;
  /** The value that is used if a command does not contain the field. */
  readonly default?: number | undefined;
  readonly optional?: boolean | undefined;
}

export interface BitField extends Described {
  /** The lowest of its bits; 0 is the lowest of the number. */
  readonly bit: number;
  /** Absent: 1, and the value is true or false. */
  readonly width?: number | undefined;
  readonly values?: Readonly<Record<string, string>> | undefined;
}

/** `bytes`: in hexadecimal. `text`: UTF-8; octets after a zero octet are padding. */
export interface OctetsField extends Described {
  readonly type: "bytes" | "text";
  /** Absent: all octets that are left. */
  readonly length?: number | undefined;
  readonly optional?: boolean | undefined;
}

export interface SkippedField {
  readonly type: "skip";
  /** Absent: all octets that are left. */
  readonly length?: number | undefined;
  readonly optional?: boolean | undefined;
}

export type Field = NumberField | OctetsField | SkippedField;

/** One compiled field. */
interface Step {
  readonly label: string;
  readonly isOptional: boolean;
  /** The number of octets; undefined: all that are left. */
  readonly bytes: number | undefined;
  readonly read: (
    view: DataView,
    at: number,
    end: number,
    into: { [name: string]: PayloadValue },
  ) => Misfit | undefined;
  /** Returns the octets of the field; undefined: the command does not contain it. */
  readonly write: (from: PayloadObject) => Uint8Array | Misfit | undefined;
}

export function compileFields(fields: readonly Field[]): Required<PayloadCodec> {
  const steps = fields.map(stepOf);
  const only = fields.length === 1 ? fields[0] : undefined;
  const soleName = only && only.type !== "skip" && !("bits" in only && only.bits) ? only.name : undefined;
  return { read: (payload) => readAll(steps, payload), write: (value) => writeAll(steps, soleName, value) };
}

function readAll(steps: readonly Step[], payload: Uint8Array): Reading {
  const view = new DataView(payload.buffer, payload.byteOffset, payload.byteLength);
  const into = newObject();
  let at = 0;
  for (const step of steps) {
    const left = payload.byteLength - at;
    if (step.isOptional && left === 0) break;
    const bytes = step.bytes ?? left;
    if (bytes > left)
      return misfit(`${step.label} takes ${countOf(bytes, "octet")} from octet ${at} on, and ${left} are there`);
    const wrong = step.read(view, at, at + bytes, into);
    if (wrong) return wrong;
    at += bytes;
  }
  const left = payload.byteLength - at;
  if (left > 0) return misfit(`${countOf(left, "octet")} too many: the last field ends before octet ${at}`);
  return { ok: true, value: into };
}

function writeAll(steps: readonly Step[], soleName: string | undefined, value: PayloadValue): Writing {
  const isAlone = soleName !== undefined && !isObject(value);
  if (!isAlone && !isObject(value)) return misfit("it must be an object with the fields by name");
  const from: PayloadObject = isObject(value) ? value : { [soleName ?? ""]: value };
  const parts: Uint8Array[] = [];
  let length = 0;
  let missing: string | undefined;
  for (const step of steps) {
    const octets = step.write(from);
    if (octets === undefined) {
      if (!step.isOptional) return misfit(`${step.label} is missing`);
      missing ??= step.label;
      continue;
    }
    if (!(octets instanceof Uint8Array)) return octets;
    if (missing !== undefined) return misfit(`${missing} is missing, and ${step.label} comes behind it`);
    parts.push(octets);
    length += octets.byteLength;
  }
  const payload = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    payload.set(part, at);
    at += part.byteLength;
  }
  return { ok: true, payload };
}

function stepOf(field: Field): Step {
  const isOptional = field.optional === true;
  if (field.type === "skip") {
    const octets = new Uint8Array(field.length ?? 0);
    return {
      label: "what is skipped",
      isOptional,
      bytes: field.length,
      read: () => undefined,
      // A command cannot contain a gap. An optional gap is therefore left out.
      write: () => (isOptional ? undefined : octets),
    };
  }
  if (!isNumberField(field)) return octetsStep(field, isOptional);
  return field.bits ? bitsStep(field, field.bits, isOptional) : numberStep(field, isOptional);
}

function octetsStep(field: OctetsField, isOptional: boolean): Step {
  const { name, length } = field;
  const isText = field.type === "text";
  return {
    label: name,
    isOptional,
    bytes: length,
    read: (view, at, end, into) => {
      const octets = new Uint8Array(view.buffer, view.byteOffset + at, end - at);
      if (!isText) {
        into[name] = toHex(octets);
        return undefined;
      }
      const zero = octets.indexOf(0);
      const text = textIn(zero < 0 ? octets : octets.subarray(0, zero));
      if (text === undefined) return misfit(`${name} from octet ${at} on is no text in UTF-8`);
      into[name] = text;
      return undefined;
    },
    write: (from) => {
      const value = memberOf(from, name);
      if (value === undefined) return undefined;
      if (typeof value !== "string") return misfit(`${name} must be a text${isText ? "" : " in hexadecimal"}`);
      const octets = isText ? utf8.encode(value) : fromHex(value);
      if (!octets) return misfit(`${name} must be a text in hexadecimal`);
      if (length === undefined) return octets;
      if (octets.byteLength > length || (!isText && octets.byteLength < length))
        return misfit(`${name} has ${countOf(octets.byteLength, "octet")}, and ${length} is its length`);
      const padded = new Uint8Array(length);
      padded.set(octets);
      return padded;
    },
  };
}

const utf8 = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function textIn(octets: Uint8Array): string | undefined {
  try {
    return strict.decode(octets);
  } catch {
    return undefined;
  }
}

function numberStep(field: NumberField, isOptional: boolean): Step {
  const { name, scale = 1, offset = 0, values } = field;
  const format = numberFormat(field.type);
  const digits = Math.max(digitsOf(scale), digitsOf(offset));
  const power = 10 ** digits;
  const isPlain = scale === 1 && offset === 0;
  const is64 = format.bytes === 8 && !format.isFloat;
  const numbers = namesToNumbers(values);
  const scaled = (raw: number) => {
    if (isPlain) return raw;
    const value = raw * scale + offset;
    return format.isFloat ? value : Math.round(value * power) / power;
  };
  return {
    label: name,
    isOptional,
    bytes: format.bytes,
    read: (view, at, _end, into) => {
      const raw = format.get(view, at);
      if (is64 && !Number.isSafeInteger(raw)) return misfit(`${name} at octet ${at} is beyond 2^53`);
      const value = scaled(raw);
      // JSON has no infinity and no "not a number".
      into[name] = (values && ownName(values, raw)) ?? (Number.isFinite(value) ? value : null);
      return undefined;
    },
    write: (from) => {
      const given = memberOf(from, name) ?? field.default;
      if (given === undefined) return undefined;
      const named = typeof given === "string" ? numbers.get(given) : undefined;
      const value = typeof given === "boolean" ? Number(given) : given;
      if (named === undefined && typeof value !== "number") return misfit(`${name} ${mustBe(numbers)}`);
      const raw = named ?? (Number(value) - offset) / scale;
      return numberOctets(name, format, raw, [scaled(format.min), scaled(format.max)]);
    },
  };
}

function numberOctets(
  name: string,
  format: NumberFormat,
  raw: number,
  range: readonly [number, number],
): Uint8Array | Misfit {
  const octets = new Uint8Array(format.bytes);
  const number = format.isFloat ? raw : Math.round(raw);
  if (Number.isNaN(number) || number < format.min || number > format.max) {
    const [low, high] = [Math.min(...range), Math.max(...range)];
    return misfit(`${name} must be from ${low} to ${high}`);
  }
  format.set(new DataView(octets.buffer), 0, number);
  return octets;
}

function bitsStep(field: NumberField, bits: readonly BitField[], isOptional: boolean): Step {
  const format = numberFormat(field.type);
  const parts = bits.map((each) => {
    const width = each.width ?? 1;
    return { ...each, width, divisor: 2 ** each.bit, size: 2 ** width, numbers: namesToNumbers(each.values) };
  });
  const isSigned = field.type.startsWith("i");
  const wrap = 2 ** (8 * format.bytes);
  return {
    label: field.name,
    isOptional,
    bytes: format.bytes,
    read: (view, at, _end, into) => {
      const raw = format.get(view, at);
      const number = raw < 0 ? raw + wrap : raw;
      for (const { name, divisor, size, width, values } of parts) {
        const part = Math.floor(number / divisor) % size;
        into[name] = (values && ownName(values, part)) ?? (width === 1 ? part === 1 : part);
      }
      return undefined;
    },
    write: (from) => {
      let number = 0;
      let said = 0;
      for (const { name, divisor, size, numbers } of parts) {
        const value = memberOf(from, name);
        if (value === undefined) continue;
        said++;
        const part = typeof value === "string" ? numbers.get(value) : Number(value);
        if (part === undefined || !Number.isInteger(part) || part < 0 || part >= size)
          return misfit(`${name} must be ${size === 2 ? "true or false" : `from 0 to ${size - 1}`}`);
        number += part * divisor;
      }
      if (said === 0) {
        if (field.default === undefined) return undefined;
        number = field.default;
      }
      return numberOctets(field.name, format, isSigned && number > format.max ? number - wrap : number, [
        format.min,
        format.max,
      ]);
    },
  };
}

export function isNumberField(field: Field): field is NumberField {
  return field.type !== "bytes" && field.type !== "text" && field.type !== "skip";
}

/**
 * Checks that all bits are within the number, and that no bit is in two parts. Undefined: the declaration is correct.
 */
export function wrongBits({ type, bits = [] }: Pick<NumberField, "type" | "bits">): string | undefined {
  const { bytes, isFloat } = numberFormat(type);
  if (bits.length > 0 && (isFloat || bytes > 4)) return `${type} has no bits that can be named: use u8 to u32`;
  const taken = new Set<number>();
  for (const { name, bit, width = 1 } of bits) {
    if (bit + width > 8 * bytes) return `${name} ends at bit ${bit + width - 1}, and ${type} has ${8 * bytes}`;
    for (let i = bit; i < bit + width; i++) {
      if (taken.has(i)) return `bit ${i} is in ${name} and in another one`;
      taken.add(i);
    }
  }
  return undefined;
}

function ownName(values: Readonly<Record<string, string>>, number: number): string | undefined {
  const key = String(number);
  return Object.hasOwn(values, key) ? values[key] : undefined;
}

function namesToNumbers(values: Readonly<Record<string, string>> = {}): ReadonlyMap<string, number> {
  return new Map(Object.entries(values).map(([number, name]) => [name, Number(number)]));
}

function mustBe(numbers: ReadonlyMap<string, number>): string {
  const names = [...numbers.keys()].slice(0, 10).join(", ");
  return names === "" ? "must be a number" : `must be a number or one of ${names}`;
}

/** The number of digits after the decimal point; 0.05 has two. */
function digitsOf(number: number): number {
  const text = String(number);
  const exponent = /e([+-]\d+)$/.exec(text);
  const digits = /\.(\d+)/.exec(text)?.[1]?.length ?? 0;
  return Math.min(15, Math.max(0, digits - Number(exponent?.[1] ?? 0)));
}
