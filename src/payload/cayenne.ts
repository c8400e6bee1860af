/**
 * Cayenne Low Power Payload: a list of readings, each with channel (1), type (1) and value, high octet first. The name
 * of a reading has type and channel: `temperature_3`. Types are those of IPSO smart objects minus 3200, and a few later
 * ones.
 */
import {
  isObject,
  type Misfit,
  memberOf,
  misfit,
  newObject,
  type PayloadCodec,
  type PayloadValue,
  type Reading,
  type Writing,
} from "./value.ts";

interface Part {
  readonly name?: string;
  readonly bytes: 1 | 2 | 3 | 4;
  readonly signed: boolean;
  /** The value is the number divided by this, which is exact to the last digit. */
  readonly divisor: number;
}

interface CayenneType {
  readonly id: number;
  readonly name: string;
  readonly unit?: string;
  /** The parts of the value. A single part without a name is the value itself. */
  readonly parts: readonly Part[];
}

const one = (bytes: Part["bytes"], divisor = 1, signed = false): readonly Part[] => [{ bytes, signed, divisor }];
const three = (names: readonly [string, string, string], divisor: number): readonly Part[] =>
  names.map((name) => ({ name, bytes: 2, signed: true, divisor }));

export const cayenneTypes: readonly CayenneType[] = [
  { id: 0, name: "digital_in", parts: one(1) },
  { id: 1, name: "digital_out", parts: one(1) },
  { id: 2, name: "analog_in", parts: one(2, 100, true) },
  { id: 3, name: "analog_out", parts: one(2, 100, true) },
  { id: 100, name: "generic", parts: one(4) },
  { id: 101, name: "illuminance", unit: "lx", parts: one(2) },
  { id: 102, name: "presence", parts: one(1) },
  { id: 103, name: "temperature", unit: "°C", parts: one(2, 10, true) },
  { id: 104, name: "humidity", unit: "%", parts: one(1, 2) },
  { id: 113, name: "accelerometer", unit: "G", parts: three(["x", "y", "z"], 1_000) },
  { id: 115, name: "pressure", unit: "hPa", parts: one(2, 10) },
  { id: 116, name: "voltage", unit: "V", parts: one(2, 100) },
  { id: 117, name: "current", unit: "A", parts: one(2, 1_000) },
  { id: 118, name: "frequency", unit: "Hz", parts: one(4) },
  { id: 120, name: "percentage", unit: "%", parts: one(1) },
  { id: 121, name: "altitude", unit: "m", parts: one(2, 1, true) },
  { id: 125, name: "concentration", unit: "ppm", parts: one(2) },
  { id: 128, name: "power", unit: "W", parts: one(2) },
  { id: 130, name: "distance", unit: "m", parts: one(4, 1_000) },
  { id: 131, name: "energy", unit: "kWh", parts: one(4, 1_000) },
  { id: 132, name: "direction", unit: "°", parts: one(2) },
  { id: 133, name: "unix_time", unit: "s", parts: one(4) },
  { id: 134, name: "gyrometer", unit: "°/s", parts: three(["x", "y", "z"], 100) },
  {
    id: 136,
    name: "gps",
    parts: [
      { name: "latitude", bytes: 3, signed: true, divisor: 10_000 },
      { name: "longitude", bytes: 3, signed: true, divisor: 10_000 },
      { name: "altitude", bytes: 3, signed: true, divisor: 100 },
    ],
  },
  { id: 142, name: "switch", parts: one(1) },
];

const byId = new Map(cayenneTypes.map((type) => [type.id, type]));
const byName = new Map(cayenneTypes.map((type) => [type.name, type]));

export const cayenne: Required<PayloadCodec> = { read, write };

function read(payload: Uint8Array): Reading {
  const into = newObject();
  for (let at = 0; at < payload.byteLength; ) {
    const channel = payload[at] ?? 0;
    const id = payload[at + 1];
    if (id === undefined) return misfit(`channel ${channel} at octet ${at} has no type`);
    const type = byId.get(id);
    if (!type) return misfit(`type ${id} at octet ${at + 1} is none that is known`);
    const start = at + 2;
    const bytes = bytesOf(type);
    if (start + bytes > payload.byteLength)
      return misfit(
        `${type.name}_${channel} takes ${bytes} octets from octet ${start} on, and ${payload.byteLength - start} are there`,
      );
    into[`${type.name}_${channel}`] = valueAt(type, payload, start);
    at = start + bytes;
  }
  return { ok: true, value: into };
}

const bytesOf = ({ parts }: CayenneType) => parts.reduce((sum, { bytes }) => sum + bytes, 0);

function valueAt({ parts }: CayenneType, payload: Uint8Array, start: number): PayloadValue {
  const [first] = parts;
  if (first && first.name === undefined) return numberAt(first, payload, start);
  const into = newObject();
  let at = start;
  for (const part of parts) {
    into[part.name ?? ""] = numberAt(part, payload, at);
    at += part.bytes;
  }
  return into;
}

function numberAt({ bytes, signed, divisor }: Part, payload: Uint8Array, at: number): number {
  let number = 0;
  for (let i = 0; i < bytes; i++) number = number * 256 + (payload[at + i] ?? 0);
  if (signed && number >= 2 ** (8 * bytes - 1)) number -= 2 ** (8 * bytes);
  return number / divisor;
}

/** Encodes values for `digital_out_1`, `analog_out_2` and similar names, in the order of the object. */
function write(value: PayloadValue): Writing {
  if (!isObject(value)) return misfit("it must be an object as in { analog_out_2: 1.5 }");
  const octets: number[] = [];
  for (const name of Object.keys(value)) {
    const [, typeName = "", channel = ""] = /^(.+)_(\d{1,3})$/.exec(name) ?? [];
    const type = byName.get(typeName);
    if (!type || Number(channel) > 255) return misfit(`${name} is no type and channel, as in analog_out_2`);
    octets.push(Number(channel), type.id);
    const wrong = pushValue(octets, name, type, memberOf(value, name));
    if (wrong) return wrong;
  }
  return { ok: true, payload: Uint8Array.from(octets) };
}

function pushValue(
  octets: number[],
  name: string,
  { parts }: CayenneType,
  value: PayloadValue | undefined,
): Misfit | undefined {
  for (const part of parts) {
    const own = part.name === undefined ? value : partOf(value, part.name);
    const number = typeof own === "boolean" ? Number(own) : own;
    if (typeof number !== "number") return misfit(`${name}${part.name ? `.${part.name}` : ""} must be a number`);
    const { bytes, signed, divisor } = part;
    const raw = Math.round(number * divisor);
    const max = signed ? 2 ** (8 * bytes - 1) - 1 : 2 ** (8 * bytes) - 1;
    const min = signed ? -max - 1 : 0;
    if (!(raw >= min && raw <= max)) return misfit(`${name} must be from ${min / divisor} to ${max / divisor}`);
    for (let i = bytes - 1; i >= 0; i--)
      octets.push(Math.floor((raw < 0 ? raw + 2 ** (8 * bytes) : raw) / 256 ** i) % 256);
  }
  return undefined;
}

function partOf(value: PayloadValue | undefined, name: string): PayloadValue | undefined {
  return value !== undefined && isObject(value) ? memberOf(value, name) : undefined;
}
