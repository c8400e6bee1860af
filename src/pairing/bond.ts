/** The result of a pairing that is kept: the keys with which device and gateway recognize each other. */
import type { PairingCrypto } from "./crypto.ts";
import { isSame } from "./octets.ts";
import { ah } from "./toolbox.ts";

export type AddressType = "public" | "random";

export interface BluetoothAddress {
  /** Lower case, with colons. */
  readonly address: string;
  readonly type: AddressType;
}

/** Keys with the high octet first. */
export interface Bond {
  /** The device's identity, at any address that it uses. */
  readonly identity: BluetoothAddress;
  /** Resolves the device's private addresses; absent: the device always uses the same address. */
  readonly identityKey?: Uint8Array;
  readonly longTermKey: Uint8Array;
  /**
   * With `random` and `diversifier` the device finds its key again; all zero with Secure Connections. `random`: eight
   * octets, as transmitted.
   */
  readonly random: Uint8Array;
  readonly diversifier: number;
  readonly secureConnections: boolean;
  /** True: the pairing used a passkey, so no attacker was between the two sides. */
  readonly authenticated: boolean;
}

/** Seven octets: type, then address, high octet first. */
export function addressOctets({ address, type }: BluetoothAddress): Uint8Array {
  const octets = address.split(":").map((pair) => Number.parseInt(pair, 16));
  return Uint8Array.from([type === "random" ? 1 : 0, ...octets]);
}

/** True if the device keeps this address: a public one, or a random one of the static kind. [6.B.1.3] */
export function isLasting({ address, type }: BluetoothAddress): boolean {
  return type === "public" || kindOf(address) === staticKind;
}

export function isResolvable({ address, type }: BluetoothAddress): boolean {
  return type === "random" && kindOf(address) === resolvableKind;
}

/** True if the device with its present address is the owner of this bond. */
export function isOf(bond: Bond, device: BluetoothAddress, aes: PairingCrypto["aes"]): boolean {
  if (bond.identity.address === device.address) return bond.identity.type === device.type;
  if (!bond.identityKey || !isResolvable(device)) return false;
  const octets = addressOctets(device).subarray(1);
  return isSame(ah(aes, bond.identityKey, octets.subarray(0, 3)), octets.subarray(3));
}

const staticKind = 3;
const resolvableKind = 1;

function kindOf(address: string): number {
  return Number.parseInt(address.slice(0, 2), 16) >> 6;
}
