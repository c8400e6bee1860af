/**
 * Encryption of one link, with the existing bond or by pairing. Packets and events of the controller are inputs,
 * packets and the result are outputs; no socket, no clock.
 */
import type { Bond } from "../../pairing/bond.ts";
import type { PairingCrypto } from "../../pairing/crypto.ts";
import { Pairing, type PairingFault, type PairingOptions, type PairingStep } from "../../pairing/pairing.ts";
import { type HciPacket, startEncryption } from "./hci-packets.ts";
import { disconnectReason } from "./reasons.ts";

/** The security that a link must have. With a bond, its key is used; otherwise the device is paired. */
export interface WantedSecurity {
  readonly bond?: Bond;
  readonly pairing?: Pick<PairingOptions, "method" | "passkey" | "takesLegacy">;
}

/** Reasons why a link is not encrypted: those of pairing, and three more. */
export const securityFaults = [
  "refused",
  "passkey",
  "insecure",
  "not-kept",
  "broken",
  /** The device has lost the bond. */
  "bond-lost",
  /** The device's key differs from the gateway's. */
  "bond-wrong",
  "no-answer",
] as const satisfies readonly (PairingFault | string)[];

/** The longest time for encrypting a link: twenty rounds of a passkey at a slow interval. */
export const securingMsMax = 30_000;

export type SecurityFault = (typeof securityFaults)[number];

export interface SecurityOutput {
  command(packet: Buffer): void;
  packet(payload: Buffer): void;
  /** `bond`: the device was paired just now. */
  secured(bond?: Bond): void;
  failed(fault: SecurityFault, say: string): void;
  /** The procedure makes progress, so its deadline begins again. */
  moved(): void;
}

const keyMissing = 0x06;
const authenticationFailed = 0x05;
const checkFailed = 0x3d;
const none = new Uint8Array(8);

export class LinkSecurity {
  readonly #handle: number;
  readonly #bond: Bond | undefined;
  readonly #pairing: Pairing | undefined;
  readonly #out: SecurityOutput;
  #stage: "begun" | "secured" | "failed" = "begun";

  constructor(
    handle: number,
    { bond, pairing }: WantedSecurity,
    ends: Pick<PairingOptions, "own" | "device">,
    crypto: PairingCrypto,
    out: SecurityOutput,
  ) {
    this.#handle = handle;
    this.#bond = bond;
    this.#out = out;
    this.#pairing = bond || !pairing ? undefined : new Pairing({ ...pairing, ...ends }, crypto);
  }

  start(): void {
    this.#out.moved();
    if (this.#bond) {
      const { longTermKey, random, diversifier } = this.#bond;
      this.#out.command(startEncryption(this.#handle, { key: longTermKey, random, diversifier }));
    } else this.#perform(this.#pairing?.start() ?? []);
  }

  /**
   * Handles a packet of the Security Manager. A packet outside a procedure gets no answer: it was answered, or the link
   * is encrypted.
   */
  receive(payload: Uint8Array): void {
    if (this.#stage === "begun") this.#perform(this.#pairing?.receive(payload) ?? []);
  }

  onEncryption({ status, isOn }: Pick<Extract<HciPacket, { is: "encryption" }>, "status" | "isOn">): void {
    if (this.#stage === "secured" && (status !== 0 || !isOn)) {
      return this.#fail("broken", "it ended the encryption of its link");
    }
    if (this.#stage !== "begun") return;
    if (status === 0 && isOn) {
      this.#out.moved();
      if (this.#pairing) return this.#perform(this.#pairing.encrypted());
      this.#stage = "secured";
      return this.#out.secured();
    }
    this.#notEncrypted(status);
  }

  /** The controller did not begin with the encryption. */
  onRefused(status: number): void {
    if (this.#stage === "begun") this.#notEncrypted(status);
  }

  /** The link ended. */
  onEnd(reason: number): void {
    if (this.#stage !== "begun") return;
    const isOfKeys = reason === keyMissing || reason === checkFailed || reason === authenticationFailed;
    if (isOfKeys) return this.#notEncrypted(reason);
    const what = this.#bond ? "while its link was being encrypted" : "while it was pairing";
    this.#fail("broken", `the link ended ${what}: ${disconnectReason(reason)}`);
  }

  #notEncrypted(status: number): void {
    if (!this.#bond)
      return this.#fail("broken", `after pairing its link was not encrypted: ${disconnectReason(status)}`);
    const { address } = this.#bond.identity;
    const remedy = `if you reset it or changed its firmware, remove its bond (mqtt-sn-gateway ble unbond ${address}), then it is paired again; if not, another device may use its address`;
    if (status === keyMissing) return this.#fail("bond-lost", `it has lost its bond with this gateway: ${remedy}`);
    this.#fail("bond-wrong", `the key of its bond does not match (${disconnectReason(status)}): ${remedy}`);
  }

  #fail(fault: SecurityFault, say: string): void {
    this.#stage = "failed";
    this.#out.failed(fault, say);
  }

  #perform(steps: readonly PairingStep[]): void {
    this.#out.moved();
    for (const step of steps) {
      switch (step.is) {
        case "send":
          this.#out.packet(Buffer.from(step.packet));
          break;
        case "encrypt":
          this.#out.command(startEncryption(this.#handle, { key: step.key, random: none, diversifier: 0 }));
          break;
        case "bonded":
          this.#stage = "secured";
          this.#out.secured(step.bond);
          break;
        case "failed":
          this.#fail(step.fault, step.fault === "passkey" ? step.say : `pairing failed: ${step.say}`);
          break;
      }
    }
  }
}
