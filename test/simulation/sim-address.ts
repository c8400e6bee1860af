import type { PeerId } from "../../src/core/types.ts";

/** Addresses are `sim/<client>:number`; where devices have keys a peer is its client, wherever it is: `sim/<client>`. */
export function clientAt(address: PeerId): string {
  const colon = address.lastIndexOf(":");
  return address.slice("sim/".length, colon < 0 ? undefined : colon);
}
