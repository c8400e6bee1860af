/**
 * The bonds of a transport. They and the options decide how a link to a device must be encrypted. This class uses no file and no
 * clock: `BondsEdges.changed` stores the bonds.
 */
import { type BluetoothAddress, type Bond, isOf, isResolvable } from "../../pairing/bond.ts";
import type { PairingCrypto } from "../../pairing/crypto.ts";
import { matcher } from "./admission.ts";
import type { Device } from "./device.ts";
import type { WantedSecurity } from "./link-security.ts";
import type { BleOptions } from "./options.ts";

type Passkey = NonNullable<BleOptions["bonding"]["passkey"]>;

export interface KeptBond extends Bond {
  /** Date of the pairing, for display. */
  readonly since: string;
  /** The name that the device advertised then. */
  readonly name: string;
}

export interface BondsEdges {
  readonly aes: PairingCrypto["aes"];
  /** Six digits. @throws when they cannot be read. */
  readPasskey(source: Passkey): number;
  /** Date for display. */
  today(): string;
  changed(bonds: readonly KeptBond[]): void;
}

/** The security that the link needs; undefined: none. A refusal says why no link is made. */
export type Verdict = { readonly security: WantedSecurity | undefined } | { readonly refusal: string };

/**
 * Each attempt with a wrong passkey reveals some of its bits to the other side. After so many consecutive wrong
 * attempts, at any devices, the passkey is not used again until it is changed, or until an attempt that was already
 * begun succeeds.
 */
const wrongMax = 5;

export class Bonds {
  readonly #options: Pick<BleOptions, "pairing" | "bonding">;
  readonly #edges: BondsEdges;
  readonly #rules: readonly {
    readonly fits: ReturnType<typeof matcher>;
    readonly pairing: BleOptions["pairing"];
    readonly passkey: Passkey | undefined;
  }[];
  readonly #bonds = new Map<string, KeptBond>();
  /** Wrong attempts in a row, by passkey. */
  readonly #wrong = new Map<number, number>();

  constructor(options: Pick<BleOptions, "pairing" | "bonding">, edges: BondsEdges) {
    this.#options = options;
    this.#edges = edges;
    this.#rules = options.bonding.devices.map((rule) => ({
      fits: matcher(rule),
      pairing: rule.pairing,
      passkey: rule.passkey,
    }));
  }

  /** Adds the bonds of an earlier run. */
  restore(kept: readonly KeptBond[]): void {
    for (const bond of kept) this.#bonds.set(bond.identity.address, bond);
  }

  all(): readonly KeptBond[] {
    return [...this.#bonds.values()];
  }

  of(device: BluetoothAddress): KeptBond | undefined {
    const direct = this.#bonds.get(device.address);
    if (direct?.identity.type === device.type) return direct;
    if (!isResolvable(device)) return undefined;
    return this.all().find((bond) => isOf(bond, device, this.#edges.aes));
  }

  /** Finds a bond if the type of the address is not known: for a device that was connected before a restart. */
  ofAddress(address: string): KeptBond | undefined {
    return this.#bonds.get(address) ?? this.of({ address, type: "random" });
  }

  verdict(device: Device): Verdict {
    const { address, addressType: type, name, services, rssi } = device;
    const rule = this.#rules.find(({ fits }) => fits({ address, name, services, rssi }));
    const pairing = rule?.pairing ?? this.#options.pairing;
    const bond = this.of({ address, type });
    if (bond) {
      if (pairing !== "passkey" || bond.authenticated) return { security: { bond } };
      return {
        refusal: `its bond was made without a passkey, which is required now: remove the bond (mqtt-sn-gateway ble unbond ${bond.identity.address})`,
      };
    }
    if (pairing === "none") return { security: undefined };
    if (this.#bonds.size >= this.#options.bonding.bondsMax) {
      return { refusal: `it is not paired: there are ${this.#bonds.size} bonds already (bonding.bondsMax)` };
    }
    const takesLegacy = this.#options.bonding.legacy;
    if (pairing === "just-works") return { security: { pairing: { method: pairing, passkey: 0, takesLegacy } } };
    const read = this.#passkey(rule?.passkey ?? this.#options.bonding.passkey);
    if ("refusal" in read) return read;
    return { security: { pairing: { method: pairing, passkey: read.passkey, takesLegacy } } };
  }

  #passkey(source: Passkey | undefined): { readonly passkey: number } | { readonly refusal: string } {
    if (!source)
      return { refusal: "it must be paired with a passkey, and none is configured for it (bonding.passkey)" };
    let passkey: number;
    try {
      passkey = this.#edges.readPasskey(source);
    } catch (error) {
      return { refusal: error instanceof Error ? error.message : String(error) };
    }
    if ((this.#wrong.get(passkey) ?? 0) < wrongMax) return { passkey };
    return {
      refusal: `its passkey was wrong ${wrongMax} times in a row and is not tried any more: give it another one, or restart the gateway`,
    };
  }

  /** The result of an attempt with a passkey. */
  tried({ pairing }: WantedSecurity, wasRight: boolean): void {
    if (pairing?.method !== "passkey") return;
    if (wasRight) this.#wrong.delete(pairing.passkey);
    else this.#wrong.set(pairing.passkey, (this.#wrong.get(pairing.passkey) ?? 0) + 1);
  }

  /** @returns false: this identity has a bond already, and another device must not replace it. */
  add(bond: Bond, name: string): boolean {
    if (this.#bonds.has(bond.identity.address)) return false;
    this.#bonds.set(bond.identity.address, { ...bond, name, since: this.#edges.today() });
    this.#edges.changed(this.all());
    return true;
  }

  /** @returns false: there was no such bond. */
  remove(identity: string): boolean {
    if (!this.#bonds.delete(identity)) return false;
    this.#edges.changed(this.all());
    return true;
  }
}
