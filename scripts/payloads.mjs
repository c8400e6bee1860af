/**
 * npm run test:payloads -- --payloads 1000000 --seed 1: so many random payloads for each format that has a name, and for layouts of
 * fields. None may throw, change what it was given, or make something that is no JSON; and none may ask for memory by a length that
 * only a payload states: every array, buffer and text that is made while a payload is read is watched. Prints a table in the form of
 * docs/measurements/figures, and ends with 1 where something was found.
 *
 * A third of the payloads is noise, a third begins as the format does, and a third is a good payload with some octets changed, cut
 * off or put in. `npm test` has the short form (test/property/payloads.test.ts).
 */
import { execFileSync } from "node:child_process";
import { cpus } from "node:os";
import { parseArgs } from "node:util";
import { compileFields } from "../dist/payload/fields.js";
import { formatNames, formats } from "../dist/payload/formats.js";
import { numberTypes } from "../dist/payload/numbers.js";
import { diceOf } from "./dice.mjs";

const { values } = parseArgs({
  options: { payloads: { type: "string", default: "1000000" }, seed: { type: "string", default: "1" } },
});
const total = Number(values.payloads);
const payloadBytesMax = 90;
/** Elements of what one payload may make at once: more than any payload of that size has a right to. */
const elementsMax = 4_096;
/** Fields of a layout, and payloads for each. */
const fieldsMax = 8;
const perLayout = 1_000;

const { random, int } = diceOf(values.seed);
const pick = (from) => from[int(from.length)];

/** What was asked for by its length while a payload was read. */
let largest = 0;
const note = (length) => {
  if (typeof length === "number" && length > largest) largest = length;
};
const watchedConstructor = (original) =>
  new Proxy(original, {
    construct: (target, given, as) => {
      note(given[0]);
      return Reflect.construct(target, given, as === proxies.get(target) ? target : as);
    },
    apply: (target, self, given) => {
      note(given[0]);
      return Reflect.apply(target, self, given);
    },
  });
const proxies = new Map();
const { Array: PlainArray, Uint8Array: PlainUint8Array } = globalThis;
for (const name of ["Array", "ArrayBuffer", "Uint8Array", "Uint16Array", "Uint32Array", "Float64Array"]) {
  const proxy = watchedConstructor(globalThis[name]);
  proxies.set(globalThis[name], proxy);
  globalThis[name] = proxy;
}
for (const [owner, name, at] of [
  [Buffer, "alloc", 0],
  [Buffer, "allocUnsafe", 0],
  [String.prototype, "repeat", 0],
  [String.prototype, "padStart", 0],
  [String.prototype, "padEnd", 0],
]) {
  const original = owner[name];
  owner[name] = function watched(...given) {
    note(given[at]);
    return original.apply(this, given);
  };
}

largest = 0;
new Array(7);
Buffer.alloc(8);
if (largest !== 8) throw new Error("what is asked for is not seen");

const text = (value) => [...new TextEncoder().encode(JSON.stringify(value))];
const hex = (digits) => [...Buffer.from(digits, "hex")];
/** Good ones, and how they begin. */
const samples = {
  cayenne: [
    hex("0367011005 6700ff".replace(" ", "")),
    hex("018806765ff2960a0003e8"),
    hex("0671 04d2fb2e0000".replace(" ", "")),
  ],
  bthome: [hex("016102660802ca09"), hex("0009530548656c6c6f"), hex("540568656c6c6f3c0103")],
  "senml-json": [
    text([
      { bn: "room:", bt: 1276020076, n: "v", u: "V", v: 120.1 },
      { n: "a", t: -1, v: 1.3 },
      { n: "b", vb: false },
    ]),
  ],
  "senml-cbor": [hex("82a32162643a00617402f94d60a200617808420102")],
  cbor: [hex("a26161016162820203"), hex("bf6161f5ff"), hex("9f01029f0304ffff"), hex("a16174fb4035800000000000")],
  json: [text({ a: [1, 2.5, { b: "c" }], d: null, e: true }), text("ü€😀")],
};
/** What states a length far beyond what follows. */
const greedy = [
  "9b7fffffffffffffff",
  "5b7fffffffffffffff",
  "bb00000000ffffffff",
  "7affffffff",
  "9affffffff",
  "53ff",
  "54ff",
].map(hex);

function payloadOf(good) {
  const kind = random();
  if (kind < 1 / 3) return noise(payloadBytesMax);
  if (kind < 2 / 3) {
    const begin = random() < 0.2 ? pick(greedy) : pick(good).slice(0, 1 + int(6));
    return [...begin, ...noise(payloadBytesMax - begin.length)];
  }
  const changed = [...pick(good)];
  for (let i = 1 + int(3); i > 0; i--) {
    const at = int(changed.length + 1);
    const how = random();
    if (how < 0.4 && at < changed.length) changed[at] = int(256);
    else if (how < 0.6 && at < changed.length) changed[at] ^= 1 << int(8);
    else if (how < 0.8) changed.splice(at, 0, ...(random() < 0.2 ? pick(greedy) : [int(256)]));
    else changed.length = Math.max(1, at);
  }
  return changed;
}
const noise = (max) => PlainArray.from({ length: int(max) }, () => int(256));

const found = [];
const blame = (what, payload, why) => {
  if (found.length < 20) found.push(`${what}: ${Buffer.from(payload).toString("hex")}: ${why}`);
};

/** @returns whether it fits; undefined: it threw */
function judge(what, codec, payload) {
  const before = Buffer.from(payload);
  largest = 0;
  let reading;
  try {
    reading = codec.read(payload);
  } catch (error) {
    blame(what, payload, `threw ${error}`);
    return {};
  }
  if (largest > elementsMax) blame(what, payload, `asked for ${largest} elements`);
  if (!before.equals(payload)) blame(what, before, "was changed");
  if (reading.ok && typeof JSON.stringify(reading.value) !== "string") blame(what, payload, "is no JSON");
  if (!reading.ok && !reading.why) blame(what, payload, "nothing says why it does not fit");
  return { ok: reading.ok, largest };
}

const rows = [];
function run(what, next) {
  let [fits, most] = [0, 0];
  const rssBefore = process.memoryUsage().rss;
  let rss = rssBefore;
  const began = performance.now();
  for (let i = 0; i < total; i++) {
    const { codec, payload } = next(i);
    const { ok, largest: asked = 0 } = judge(what, codec, payload);
    if (ok) fits++;
    if (asked > most) most = asked;
    if (i % 10_000 === 0) rss = Math.max(rss, process.memoryUsage().rss);
  }
  const seconds = (performance.now() - began) / 1_000;
  console.error(`${what}: ${total} payloads in ${seconds.toFixed(0)} s, ${found.length} faults so far`);
  rows.push([
    what,
    total.toLocaleString("en"),
    `${((100 * fits) / total).toFixed(1)} %`,
    most.toLocaleString("en"),
    `${Math.round((rss - rssBefore) / 2 ** 20)} MB`,
  ]);
}

for (const format of formatNames)
  run(format, () => ({ codec: formats[format], payload: PlainUint8Array.from(payloadOf(samples[format])) }));

let codec;
run("fields", (i) => {
  if (i % perLayout === 0) codec = compileFields(layout());
  return { codec, payload: PlainUint8Array.from(noise(40)) };
});

/** Numbers first, since only the last field may take all that is left. */
function layout() {
  const fields = PlainArray.from({ length: 1 + int(fieldsMax) }, (_, at) => ({
    name: `f${at}`,
    type: pick(numberTypes),
    ...(random() < 0.5 && { scale: pick([0.1, 0.01, 2]) }),
    ...(random() < 0.3 && { offset: pick([-40, 0.5]) }),
  }));
  const ends = [[], [{ name: "rest", type: "bytes" }], [{ name: "rest", type: "text" }], [{ type: "skip", length: 3 }]];
  return [...fields, ...pick(ends)];
}

for (const each of found) console.error(each);
const commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
console.log(
  JSON.stringify(
    {
      machine: `${cpus().length} cores (${cpus()[0]?.model}), Node ${process.versions.node}`,
      date: new Date().toISOString().slice(0, 10),
      commit,
      command: `npm run test:payloads -- --payloads ${total} --seed ${values.seed}`,
      seed: values.seed,
      note: found.length === 0 ? "No fault was found." : `${found.length} faults were found.`,
      columns: ["format", "payloads", "fit", "largest length asked for at once", "memory that came to it"],
      rows,
    },
    null,
    2,
  ),
);
process.exit(found.length === 0 ? 0 : 1);
