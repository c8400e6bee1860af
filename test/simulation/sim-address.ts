import type { PeerId } from "../../src/core/types.ts";

/** Addresses are `sim/<client>:number`. */
export function clientAt(address: PeerId): string {
  return address.slice("sim/".length, address.lastIndexOf(":"));
}
