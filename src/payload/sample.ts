/** Makes an example of each declaration, so that a person sees its result before a device sends data. */
import type { Field } from "./fields.ts";
import { isNumberField } from "./fields.ts";
import type { FormatName } from "./formats.ts";
import { numberFormat } from "./numbers.ts";
import { fromHex } from "./value.ts";

/** The value of every number in a sample. It fits into each type, and shows the effect of a scale. */
const sampleNumber = 100;

const ofFormat: Readonly<Record<FormatName, string>> = {
  cayenne: "036700d7056860", // temperature 21.5, humidity 48
  bthome: "0161026608", // battery 97 %, temperature 21.50
  "senml-json": "5b7b226e223a2274222c2276223a32312e357d5d",
  "senml-cbor": "81a200617402f94d60",
  cbor: "a16174f94d60",
  json: "7b2274223a32312e357d",
};

export function sampleOfFormat(format: FormatName): Uint8Array {
  return fromHex(ofFormat[format]) ?? new Uint8Array(0);
}

export function sampleOfFields(fields: readonly Field[]): Uint8Array {
  return Uint8Array.from(fields.flatMap((field) => [...sampleOf(field)]));
}

function sampleOf(field: Field): Uint8Array {
  if (!isNumberField(field)) {
    const octets = new Uint8Array(field.length ?? 4);
    if (field.type === "text") octets.set(new TextEncoder().encode("text").subarray(0, octets.byteLength));
    return octets;
  }
  const { bytes, set } = numberFormat(field.type);
  const octets = new Uint8Array(bytes);
  set(new DataView(octets.buffer), 0, sampleNumber);
  return octets;
}
