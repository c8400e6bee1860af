/**
 * The objects of BTHome v2 as its public description lists them: id, the name in publications, and the encoding. If one
 * quantity has objects in several units, the unit is part of the name; otherwise the unit is the one beside it.
 * docs/guide/bthome.md shows this table.
 */
export type ObjectForm =
  | {
      readonly form: "number";
      readonly bytes: 1 | 2 | 3 | 4;
      readonly signed: boolean;
      /** The value of one step of the number. */
      readonly step: number;
      readonly decimals: number;
    }
  /** One octet: 0 or 1. */
  | { readonly form: "boolean" }
  /** One octet (button), or two (dimmer). */
  | { readonly form: "button" | "dimmer" }
  /** One octet with the length, and as many octets. */
  | { readonly form: "text" | "raw" }
  /** Octets of a version number, the last part first. */
  | { readonly form: "version"; readonly bytes: 3 | 4 };

export type BthomeObject = {
  readonly id: number;
  readonly name: string;
  readonly unit: string;
} & ObjectForm;

const steps = [1, 0.1, 0.01, 0.001, 0.0001, 0.00001, 0.000001];

function numbers(
  rows: readonly (readonly [id: number, name: string, unit: string, bytes: string, decimals: number])[],
) {
  return rows.map(([id, name, unit, kind, decimals]): BthomeObject => {
    const bytes = Number(kind.slice(1)) as 1 | 2 | 3 | 4;
    return {
      id,
      name,
      unit,
      form: "number",
      bytes,
      signed: kind.startsWith("s"),
      step: steps[decimals] ?? 1,
      decimals,
    };
  });
}

/** u: unsigned, s: signed; then octets and decimals. */
const measured = numbers([
  [0x00, "packet_id", "", "u1", 0],
  [0x01, "battery", "%", "u1", 0],
  [0x02, "temperature", "°C", "s2", 2],
  [0x03, "humidity", "%", "u2", 2],
  [0x04, "pressure", "hPa", "u3", 2],
  [0x05, "illuminance", "lx", "u3", 2],
  [0x06, "mass_kg", "kg", "u2", 2],
  [0x07, "mass_lb", "lb", "u2", 2],
  [0x08, "dew_point", "°C", "s2", 2],
  [0x09, "count", "", "u1", 0],
  [0x0a, "energy", "kWh", "u3", 3],
  [0x0b, "power", "W", "u3", 2],
  [0x0c, "voltage", "V", "u2", 3],
  [0x0d, "pm2_5", "µg/m³", "u2", 0],
  [0x0e, "pm10", "µg/m³", "u2", 0],
  [0x12, "co2", "ppm", "u2", 0],
  [0x13, "tvoc", "µg/m³", "u2", 0],
  [0x14, "moisture", "%", "u2", 2],
  [0x2e, "humidity", "%", "u1", 0],
  [0x2f, "moisture", "%", "u1", 0],
  [0x3d, "count", "", "u2", 0],
  [0x3e, "count", "", "u4", 0],
  [0x3f, "rotation", "°", "s2", 1],
  [0x40, "distance_mm", "mm", "u2", 0],
  [0x41, "distance_m", "m", "u2", 1],
  [0x42, "duration", "s", "u3", 3],
  [0x43, "current", "A", "u2", 3],
  [0x44, "speed", "m/s", "u2", 2],
  [0x45, "temperature", "°C", "s2", 1],
  [0x46, "uv_index", "", "u1", 1],
  [0x47, "volume_l", "l", "u2", 1],
  [0x48, "volume_ml", "ml", "u2", 0],
  [0x49, "volume_flow_rate", "m³/h", "u2", 3],
  [0x4a, "voltage", "V", "u2", 1],
  [0x4b, "gas", "m³", "u3", 3],
  [0x4c, "gas", "m³", "u4", 3],
  [0x4d, "energy", "kWh", "u4", 3],
  [0x4e, "volume_l", "l", "u4", 3],
  [0x4f, "water", "l", "u4", 3],
  [0x50, "timestamp", "s since 1970", "u4", 0],
  [0x51, "acceleration", "m/s²", "u2", 3],
  [0x52, "gyroscope", "°/s", "u2", 3],
  [0x55, "volume_storage", "l", "u4", 3],
  [0x56, "conductivity", "µS/cm", "u2", 0],
  [0x57, "temperature", "°C", "s1", 0],
  [0x59, "count", "", "s1", 0],
  [0x5a, "count", "", "s2", 0],
  [0x5b, "count", "", "s4", 0],
  [0x5c, "power", "W", "s4", 2],
  [0x5d, "current", "A", "s2", 3],
  [0x5e, "direction", "°", "u2", 2],
  [0x5f, "precipitation", "mm", "u2", 1],
  [0x60, "channel", "", "u1", 0],
  [0x61, "rotational_speed", "1/min", "u2", 0],
  [0x62, "speed", "m/s", "s4", 6],
  [0x63, "acceleration", "m/s²", "s4", 6],
  [0x64, "light_level", "", "u1", 0],
  [0xf0, "device_type", "", "u2", 0],
]);

/** The first of several consecutive ids. */
const firstOfRun = 0x15;
const runOfBooleans = [
  "battery_low",
  "battery_charging",
  "carbon_monoxide",
  "cold",
  "connectivity",
  "door",
  "garage_door",
  "gas_detected",
  "heat",
  "light",
  "lock_open",
  "moisture_detected",
  "motion",
  "moving",
  "occupancy",
  "plug",
  "presence",
  "problem",
  "running",
  "safety",
  "smoke",
  "sound",
  "tamper",
  "vibration",
  "window",
];

const booleans: readonly BthomeObject[] = [
  { id: 0x0f, name: "generic", unit: "", form: "boolean" },
  { id: 0x10, name: "power_on", unit: "", form: "boolean" },
  { id: 0x11, name: "opening", unit: "", form: "boolean" },
  ...runOfBooleans.map((name, i): BthomeObject => ({ id: firstOfRun + i, name, unit: "", form: "boolean" })),
];

const others: readonly BthomeObject[] = [
  { id: 0x3a, name: "button", unit: "", form: "button" },
  { id: 0x3c, name: "dimmer", unit: "", form: "dimmer" },
  { id: 0x53, name: "text", unit: "", form: "text" },
  { id: 0x54, name: "raw", unit: "", form: "raw" },
  { id: 0x58, name: "temperature", unit: "°C", form: "number", bytes: 1, signed: true, step: 0.35, decimals: 2 },
  { id: 0xf1, name: "firmware_version", unit: "", form: "version", bytes: 4 },
  { id: 0xf2, name: "firmware_version", unit: "", form: "version", bytes: 3 },
];

export const bthomeObjects: ReadonlyMap<number, BthomeObject> = new Map(
  [...measured, ...booleans, ...others].sort((a, b) => a.id - b.id).map((object) => [object.id, object]),
);
