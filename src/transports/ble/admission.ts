/** Which devices the gateway connects to. */
import type { Advertisement } from "./advertisement.ts";
import type { BleOptions } from "./options.ts";
import { normalUuid } from "./uuid.ts";

type Rule = NonNullable<BleOptions["allow"]>[number];
type Known = Pick<Advertisement, "address" | "name" | "services" | "rssi">;

/** Undefined: the device may connect; otherwise the reason in plain words. */
export type Admit = (device: Known) => string | undefined;

export function createAdmission(options: Pick<BleOptions, "allow" | "deny" | "service" | "rssiMin">): Admit {
  const allow = (options.allow ?? [{ service: options.service }]).map(matcher);
  const deny = options.deny.map(matcher);
  return (device) => {
    if (deny.some((matches) => matches(device))) return "an entry of deny fits it";
    if (!allow.some((matches) => matches(device))) return "no entry of allow fits it";
    if (device.rssi < options.rssiMin) return `weaker than ${options.rssiMin} dBm`;
    return undefined;
  };
}

/** True if the rule names the device; a rule without names fits all. */
export function matcher(rule: Rule): (device: Known) => boolean {
  const address = rule.address === undefined ? undefined : glob(rule.address);
  const name = rule.name === undefined ? undefined : glob(rule.name);
  const service = rule.service === undefined ? undefined : normalUuid(rule.service);
  return (device) =>
    (address?.test(device.address) ?? true) &&
    (name === undefined || (device.name !== undefined && name.test(device.name))) &&
    (service === undefined || device.services.includes(service));
}

function glob(pattern: string): RegExp {
  const parts = [...pattern].map((char) => {
    if (char === "*") return ".*";
    if (char === "?") return ".";
    return char.replace(/[\\^$.|+()[\]{}]/, "\\$&");
  });
  return new RegExp(`^${parts.join("")}$`, "isu");
}
