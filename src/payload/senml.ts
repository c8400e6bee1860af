/**
 * SenML: records of name and value that share a base name, unit, time and value. [RFC 8428] Given as an object of names and
 * values; where a name comes more than once, as a list of { time, value }. Times are as they were sent: below 2^28 relative
 * to now, in seconds. [RFC 8428 4.5.3]
 */
import { decodeCbor } from "./cbor.ts";
import { parseJson } from "./json.ts";
import { misfit, newObject, type PayloadCodec, type PayloadValue, type Reading, toHex } from "./value.ts";

/** Labels in CBOR. [RFC 8428 6, Table 4] */
const labels = new Map<unknown, string>([
  [-1, "bver"],
  [-2, "bn"],
  [-3, "bt"],
  [-4, "bu"],
  [-5, "bv"],
  [-6, "bs"],
  [0, "n"],
  [1, "u"],
  [2, "v"],
  [3, "vs"],
  [4, "vb"],
  [5, "s"],
  [6, "t"],
  [7, "ut"],
  [8, "vd"],
]);
/** Versions up to this are read. [RFC 8428 4.4] */
const versionMax = 10;

interface Resolved {
  readonly name: string;
  readonly time: number;
  readonly value: PayloadValue;
}

export const senmlJson: PayloadCodec = {
  read: (payload) => {
    const parsed = parseJson(payload);
    if (!parsed.ok) return parsed;
    if (!Array.isArray(parsed.value)) return misfit("SenML is an array of records");
    return resolve(parsed.value.map((record) => (isRecord(record) ? new Map(Object.entries(record)) : undefined)));
  },
};

export const senmlCbor: PayloadCodec = {
  read: (payload) => {
    const decoded = decodeCbor(payload);
    if (!decoded.ok) return misfit(decoded.why);
    if (!Array.isArray(decoded.item)) return misfit("SenML is an array of records");
    return resolve(decoded.item.map((record) => (record instanceof Map ? named(record) : undefined)));
  },
};

const isRecord = (value: unknown): value is object =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function named(record: ReadonlyMap<unknown, unknown>): Map<string, unknown> {
  return new Map([...record].map(([key, value]) => [labels.get(key) ?? String(key), value]));
}

function resolve(records: readonly (ReadonlyMap<string, unknown> | undefined)[]): Reading {
  let baseName = "";
  let baseTime = 0;
  let baseValue = 0;
  const resolved: Resolved[] = [];
  for (const [i, record] of records.entries()) {
    if (!record) return misfit(`record ${i} is no map`);
    // A label that must be understood ends with an underscore. [RFC 8428 4.4]
    for (const label of record.keys())
      if (label.endsWith("_")) return misfit(`record ${i} has ${label}, which is not known`);
    const version = record.get("bver");
    if (version !== undefined && !(typeof version === "number" && version <= versionMax))
      return misfit(`record ${i} is of a version that is not known`);
    baseName = textOr(record.get("bn"), baseName);
    baseTime = numberOr(record.get("bt"), baseTime);
    baseValue = numberOr(record.get("bv"), baseValue);
    const value = valueIn(record, baseValue);
    if (value === undefined) continue; // the record has only base values
    const name = baseName + textOr(record.get("n"), "");
    if (!/^[A-Za-z0-9][A-Za-z0-9\-:._/]*$/.test(name)) return misfit(`record ${i} has no name as SenML wants it`);
    resolved.push({ name, time: baseTime + numberOr(record.get("t"), 0), value });
  }
  return { ok: true, value: byName(resolved) };
}

function valueIn(record: ReadonlyMap<string, unknown>, baseValue: number): PayloadValue | undefined {
  const number = record.get("v");
  if (typeof number === "number") return finite(number + baseValue);
  const text = record.get("vs");
  if (typeof text === "string") return text;
  const truth = record.get("vb");
  if (typeof truth === "boolean") return truth;
  const data = record.get("vd");
  if (typeof data === "string") return data;
  if (data instanceof Uint8Array) return toHex(data);
  const sum = record.get("s");
  return typeof sum === "number" ? finite(sum) : undefined;
}

const finite = (number: number) => (Number.isFinite(number) ? number : null);
const textOr = (value: unknown, otherwise: string) => (typeof value === "string" ? value : otherwise);
const numberOr = (value: unknown, otherwise: number) => (typeof value === "number" ? value : otherwise);

function byName(resolved: readonly Resolved[]): PayloadValue {
  const lists = new Map<string, Resolved[]>();
  for (const each of resolved) {
    const list = lists.get(each.name);
    if (list) list.push(each);
    else lists.set(each.name, [each]);
  }
  const into = newObject();
  for (const [name, list] of lists) {
    const [first] = list;
    if (list.length === 1 && first) into[name] = first.value;
    else into[name] = list.map(({ time, value }) => ({ time, value }));
  }
  return into;
}
