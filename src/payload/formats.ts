/** The formats that have a name. */
import { readBthome } from "./bthome.ts";
import { cayenne } from "./cayenne.ts";
import { cbor } from "./cbor.ts";
import { json } from "./json.ts";
import { senmlCbor, senmlJson } from "./senml.ts";
import { misfit, newObject, type PayloadCodec, type PayloadValue } from "./value.ts";

export const formatNames = ["cayenne", "bthome", "senml-json", "senml-cbor", "cbor", "json"] as const;
export type FormatName = (typeof formatNames)[number];

/**
 * The objects of BTHome v2 without the octet of device information and without encryption, because MQTT-SN carries them
 * itself.
 */
const bthome: PayloadCodec = {
  read: (payload) => {
    const { readings, isWhole } = readBthome(payload);
    if (!isWhole) return misfit(`an object that is not known, or that is cut off, after ${readings.length} good ones`);
    const into = newObject();
    for (const { name, value } of readings) into[name] = value as PayloadValue;
    return { ok: true, value: into };
  },
};

export const formats: Readonly<Record<FormatName, PayloadCodec>> = {
  cayenne,
  bthome,
  "senml-json": senmlJson,
  "senml-cbor": senmlCbor,
  cbor,
  json,
};
