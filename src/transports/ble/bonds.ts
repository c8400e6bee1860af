/**
 * The bonds of a transport, and what a link to a device is to be because of them and of the options. No file, no clock: what
 * changed is told to whoever keeps them.
 */
import { type BluetoothAddress, type Bond, isOf, isResolvable } from "../../pairing/bond.ts";
import type { PairingCrypto } from "../../pairing/crypto.ts";
import { matcher } from "./admission.ts";
import type { Device } from "./device.ts";
import type { WantedSecurity } from "./link-security.ts";
import type { BleOptions } from "./options.ts";

type Passkey = NonNullable<BleOptions["bonding"]["passkey"]>;

export interface KeptBond extends Bond {
  /** When it was made, for people. */
  readonly since: string;
  /** What the device called itself then. */
  readonly name: string;
}

export interface BondsEdges {
  readonly aes: PairingCrypto["aes"];
  /** Six digits. @throws when they cannot be read. */
  readPasskey(source: Passkey): number;
  /** For people. */
  today(): string;
  changed(bonds: readonly KeptBond[]): void;
}

/** What to ask for; undefined: nothing, the link stays as it is. */
export type Verdict = { readonly security: WantedSecurity | undefined } | { readonly refusal: string };

/**
 * Each attempt with a wrong passkey tells some of its bits to whoever answers. After so many a row it is not tried any
 * more, at any device, until it is another or one device had it right.
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
  /** Attempts in a row in which it was wrong, by passkey. */
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

  /** Those of an earlier run. */
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

  /** The same where the kind of address is not known: of a device that was connected before a restart. */
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
        refusal: `its bond was made without a passkey, and one is demanded now: remove it (mqtt-sn-gateway ble unbond ${bond.identity.address})`,
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
      return { refusal: "it is to be paired with a passkey, and none is configured for it (bonding.passkey)" };
    let passkey: number;
    try {
      passkey = this.#edges.readPasskey(source);
    } catch (error) {
      return { refusal: error instanceof Error ? error.message : String(error) };
    }
    if ((this.#wrong.get(passkey) ?? 0) < wrongMax) return { passkey };
    return {
      refusal: `its passkey was wrong ${wrongMax} times in a row and is not tried any more: give it another, or start the gateway anew`,
    };
  }

  /** It was tried, and fitted or did not. */
  tried({ pairing }: WantedSecurity, wasRight: boolean): void {
    if (pairing?.method !== "passkey") return;
    if (wasRight) this.#wrong.delete(pairing.passkey);
    else this.#wrong.set(pairing.passkey, (this.#wrong.get(pairing.passkey) ?? 0) + 1);
  }

  /** False: there is a bond of that identity, and another device does not take its place. */
  add(bond: Bond, name: string): boolean {
    if (this.#bonds.has(bond.identity.address)) return false;
    this.#bonds.set(bond.identity.address, { ...bond, name, since: this.#edges.today() });
    this.#edges.changed(this.all());
    return true;
  }

  /** False: it was not there. */
  remove(identity: string): boolean {
    if (!this.#bonds.delete(identity)) return false;
    this.#edges.changed(this.all());
    return true;
  }
}
