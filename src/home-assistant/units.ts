/** The kind of sensor for each unit. https://www.home-assistant.io/integrations/sensor/#device-class */

/** Units that determine the measured quantity. */
const byUnit: Readonly<Record<string, string>> = {
  "°C": "temperature",
  "°F": "temperature",
  K: "temperature",
  hPa: "atmospheric_pressure",
  mbar: "atmospheric_pressure",
  Pa: "pressure",
  kPa: "pressure",
  bar: "pressure",
  psi: "pressure",
  V: "voltage",
  mV: "voltage",
  A: "current",
  mA: "current",
  W: "power",
  kW: "power",
  Wh: "energy",
  kWh: "energy",
  MWh: "energy",
  Hz: "frequency",
  kHz: "frequency",
  lx: "illuminance",
  dB: "sound_pressure",
  dBm: "signal_strength",
  "W/m²": "irradiance",
  "µg/m³": "pm25",
  mm: "distance",
  cm: "distance",
  m: "distance",
  km: "distance",
  kg: "weight",
  g: "weight",
  L: "volume_storage",
  "m³/h": "volume_flow_rate",
  "m/s": "speed",
  "km/h": "speed",
};

/** The allowed values of a declaration's `kind`, with the device class of Home Assistant. */
const sensorKinds: ReadonlySet<string> = new Set([
  ...Object.values(byUnit),
  "apparent_power",
  "aqi",
  "area",
  "battery",
  "carbon_dioxide",
  "carbon_monoxide",
  "conductivity",
  "data_rate",
  "data_size",
  "duration",
  "gas",
  "humidity",
  "moisture",
  "nitrogen_dioxide",
  "ozone",
  "ph",
  "pm1",
  "pm10",
  "power_factor",
  "precipitation",
  "precipitation_intensity",
  "volatile_organic_compounds",
  "water",
  "wind_direction",
  "wind_speed",
]);

const binaryKinds: ReadonlySet<string> = new Set([
  "battery",
  "battery_charging",
  "carbon_monoxide",
  "cold",
  "connectivity",
  "door",
  "garage_door",
  "gas",
  "heat",
  "light",
  "lock",
  "moisture",
  "motion",
  "moving",
  "occupancy",
  "opening",
  "plug",
  "power",
  "presence",
  "problem",
  "running",
  "safety",
  "smoke",
  "sound",
  "tamper",
  "update",
  "vibration",
  "window",
]);

/** Classes that are refused with any other unit. */
const onlyWith: Readonly<Record<string, readonly string[]>> = {
  battery: ["%"],
  humidity: ["%"],
  moisture: ["%"],
  carbon_dioxide: ["ppm"],
  carbon_monoxide: ["ppm", "mg/m³"],
  power_factor: ["%"],
};

/** The device class; undefined: Home Assistant has none for the kind, or it does not fit the unit. */
export function sensorClass(unit: string | undefined, kind: string | undefined): string | undefined {
  if (kind !== undefined) {
    const units = onlyWith[kind];
    if (sensorKinds.has(kind) && (units === undefined || (unit !== undefined && units.includes(unit)))) return kind;
  }
  return unit === undefined ? undefined : byUnit[unit];
}

/** Home Assistant treats values that only increase differently from values that go up and down. */
export function stateClass(deviceClass: string | undefined): "measurement" | "total_increasing" {
  return deviceClass !== undefined && ["energy", "gas", "water"].includes(deviceClass)
    ? "total_increasing"
    : "measurement";
}

export function binaryClass(kind: string | undefined): string | undefined {
  return kind !== undefined && binaryKinds.has(kind) ? kind : undefined;
}
