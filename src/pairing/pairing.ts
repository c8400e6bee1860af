/**
 * Pairing as the central: LE legacy pairing and LE Secure Connections, without a comparison (just works) or with a passkey that both sides
 * know. [Bluetooth Core 5.4, 3.H.2.3] Packets go in, steps come out; no socket, no clock. Out-of-band data and numeric comparison are not
 * supported, because nobody watches a display of the gateway.
 */
import { addressOctets, type BluetoothAddress, type Bond, isLasting, isOf, isResolvable } from "./bond.ts";
import type { KeyPair, PairingCrypto } from "./crypto.ts";
import { codes, failureInWords, failures, ioCapabilities, keyBits, lengths, requirements } from "./messages.ts";
import { isSame, joined, reversed } from "./octets.ts";
import { c1, f4, f5, f6, s1 } from "./toolbox.ts";

export interface PairingOptions {
  readonly method: "just-works" | "passkey";
  /** 0 to 999999; with `passkey` only. */
  readonly passkey: number;
  /** True: a device without Secure Connections may pair, too. */
  readonly takesLegacy: boolean;
  readonly own: BluetoothAddress;
  readonly device: BluetoothAddress;
}

/** The reason for a failed pairing; further details are in words. */
export type PairingFault = "refused" | "passkey" | "insecure" | "not-kept" | "broken";

export type PairingStep =
  | { readonly is: "send"; readonly packet: Uint8Array }
  /** Encrypt the link with this key, high octet first, and then call `encrypted`. */
  | { readonly is: "encrypt"; readonly key: Uint8Array }
  | { readonly is: "bonded"; readonly bond: Bond }
  | { readonly is: "failed"; readonly fault: PairingFault; readonly say: string };

const keyOctets = 16;
const passkeyBits = 20;
/** The public key of the standard's debug pair: its private key is printed there. [3.H.2.3.5.6.1] */
const debugX = "20b003d2f297be2c5e2c83a7e9f9a5b9eff49111acf4fddbcc0301480e359de6";

/** The message or event that is expected next. */
type Stage = "response" | "confirm" | "random" | "publicKey" | "check" | "encryption" | "keys" | "over";

export class Pairing {
  readonly #options: PairingOptions;
  readonly #crypto: PairingCrypto;
  readonly #request: Uint8Array;
  #response: Uint8Array = new Uint8Array();
  #stage: Stage = "response";
  #steps: PairingStep[] = [];
  #isSecure = false;
  /** The keys that the device must still send. */
  #due = new Set<number>();
  #ownRandom: Uint8Array = new Uint8Array();
  #confirm: Uint8Array = new Uint8Array();
  #pair: KeyPair | undefined;
  #devicePublic: Uint8Array = new Uint8Array();
  #shared: Uint8Array = new Uint8Array();
  #round = 0;
  #expectedCheck: Uint8Array = new Uint8Array();
  #longTermKey: Uint8Array | undefined;
  #diversifier = 0;
  #random: Uint8Array = new Uint8Array(8);
  #identityKey: Uint8Array | undefined;
  #identity: BluetoothAddress | undefined;

  constructor(options: PairingOptions, crypto: PairingCrypto) {
    this.#options = options;
    this.#crypto = crypto;
    const withPasskey = options.method === "passkey";
    this.#request = Uint8Array.of(
      codes.request,
      withPasskey ? ioCapabilities.keyboardOnly : ioCapabilities.noInputNoOutput,
      0,
      requirements.bonding | requirements.secureConnections | (withPasskey ? requirements.mitm : 0),
      keyOctets,
      0,
      keyBits.encryption | keyBits.identity,
    );
  }

  start(): readonly PairingStep[] {
    this.#send(this.#request);
    return this.#take();
  }

  /** Handles a whole packet of the device. */
  receive(packet: Uint8Array): readonly PairingStep[] {
    const code = packet[0] ?? 0;
    if (this.#stage === "over" || code === codes.keypress) return [];
    // A request for a pairing that has already begun gets this pairing.
    if (code === codes.securityRequest) return [];
    if (packet.length !== lengths[code]) this.#fail(failures.invalid, "broken", "its message is invalid");
    else if (code === codes.failed) this.#onFailed(packet[1] ?? 0);
    else this.#onPacket(code, packet.subarray(1), packet);
    return this.#take();
  }

  /** The link is encrypted now, as the step `encrypt` requested. */
  encrypted(): readonly PairingStep[] {
    if (this.#stage !== "encryption") return [];
    this.#stage = "keys";
    this.#endIfComplete();
    return this.#take();
  }

  #onPacket(code: number, data: Uint8Array, packet: Uint8Array): void {
    const stage = this.#stage;
    if (stage === "response" && code === codes.response) return this.#onResponse(packet);
    if (stage === "publicKey" && code === codes.publicKey) return this.#onPublicKey(data);
    if (stage === "confirm" && code === codes.confirm) return this.#onConfirm(data);
    if (stage === "random" && code === codes.random) return this.#onRandom(reversed(data));
    if (stage === "check" && code === codes.check) return this.#onCheck(reversed(data));
    if (stage === "keys" && this.#onKey(code, data)) return this.#endIfComplete();
    this.#fail(failures.unspecified, "broken", "its messages are not in the order of pairing");
  }

  #onResponse(response: Uint8Array): void {
    const [, io = 0, outOfBand = 0, asked = 0, keySize = 0, ownKeys = 0, deviceKeys = 0] = response;
    this.#response = Uint8Array.from(response);
    this.#isSecure = (asked & requirements.secureConnections) !== 0;
    const { method, takesLegacy } = this.#options;
    if (ownKeys !== 0 || (deviceKeys & ~(keyBits.encryption | keyBits.identity)) !== 0 || io > 4 || outOfBand > 1) {
      return this.#fail(failures.invalid, "broken", "its answer is invalid");
    }
    if (!this.#isSecure && !takesLegacy) {
      return this.#fail(
        failures.authentication,
        "insecure",
        "it knows legacy pairing only, and bonding.legacy does not allow that",
      );
    }
    if (keySize !== keyOctets) {
      return this.#fail(failures.keySize, "insecure", `it wants a key of ${keySize} octets, and 16 are required`);
    }
    if (method === "passkey" && io === ioCapabilities.noInputNoOutput) {
      return this.#fail(
        failures.authentication,
        "insecure",
        "it has no passkey (its IO capability is NoInputNoOutput), and this gateway requires one",
      );
    }
    if ((asked & requirements.bonding) === 0) {
      return this.#fail(failures.authentication, "not-kept", "it does not keep bonds");
    }
    if (!this.#isSecure && (deviceKeys & keyBits.encryption) === 0) {
      return this.#fail(failures.authentication, "not-kept", "it gives no long-term key");
    }
    const { device } = this.#options;
    if (!isLasting(device) && !(isResolvable(device) && (deviceKeys & keyBits.identity) !== 0)) {
      return this.#fail(
        failures.authentication,
        "not-kept",
        "it changes its address and gives no identity key, so it could not be recognized again",
      );
    }
    if (!this.#isSecure && (deviceKeys & keyBits.encryption) !== 0) {
      this.#due.add(codes.longTermKey).add(codes.centralIdentification);
    }
    if ((deviceKeys & keyBits.identity) !== 0) this.#due.add(codes.identityKey).add(codes.identityAddress);
    if (this.#isSecure) return this.#beginSecure();
    this.#ownRandom = this.#crypto.random(keyOctets);
    this.#stage = "confirm";
    this.#send(joined([codes.confirm], reversed(this.#legacyConfirm(this.#ownRandom))));
  }

  #beginSecure(): void {
    this.#pair = this.#crypto.newKeyPair();
    this.#stage = "publicKey";
    const { publicKey } = this.#pair;
    this.#send(joined([codes.publicKey], reversed(publicKey.subarray(0, 32)), reversed(publicKey.subarray(32))));
  }

  #onPublicKey(data: Uint8Array): void {
    const x = reversed(data.subarray(0, 32));
    this.#devicePublic = joined(x, reversed(data.subarray(32)));
    const isOwn = isSame(x, this.#ownX());
    const isDebug = [...x].map((octet) => octet.toString(16).padStart(2, "0")).join("") === debugX;
    const shared = isOwn || isDebug ? undefined : this.#pair?.sharedWith(this.#devicePublic);
    if (!shared) {
      const say = isDebug ? "it uses the debug key of the standard, which is public" : "its public key is invalid";
      return this.#fail(failures.invalid, isDebug ? "insecure" : "broken", say);
    }
    this.#shared = shared;
    if (this.#options.method === "passkey") return this.#nextRound();
    this.#stage = "confirm";
  }

  /** Begins the round for one bit of the passkey. */
  #nextRound(): void {
    this.#ownRandom = this.#crypto.random(keyOctets);
    this.#stage = "confirm";
    const value = this.#secureConfirm(this.#ownX(), this.#deviceX(), this.#ownRandom);
    this.#send(joined([codes.confirm], reversed(value)));
  }

  #onConfirm(data: Uint8Array): void {
    this.#confirm = reversed(data);
    // In legacy pairing both sides make the value by the same rule. An attacker could return the gateway's own value
    // and random number, so an equal value is refused.
    const isOurs = !this.#isSecure && isSame(this.#confirm, this.#legacyConfirm(this.#ownRandom));
    if (isOurs) return this.#fail(failures.confirm, ...this.#mismatch());
    if (this.#isSecure && this.#options.method === "just-works") this.#ownRandom = this.#crypto.random(keyOctets);
    this.#stage = "random";
    this.#send(joined([codes.random], reversed(this.#ownRandom)));
  }

  #onRandom(random: Uint8Array): void {
    const expected = this.#isSecure
      ? this.#secureConfirm(this.#deviceX(), this.#ownX(), random)
      : this.#legacyConfirm(random);
    if (!isSame(expected, this.#confirm)) return this.#fail(failures.confirm, ...this.#mismatch());
    if (!this.#isSecure) {
      this.#stage = "encryption";
      return this.#push({ is: "encrypt", key: s1(this.#aes, this.#passkey(), random, this.#ownRandom) });
    }
    this.#round++;
    if (this.#options.method === "passkey" && this.#round < passkeyBits) return this.#nextRound();
    this.#sendCheck(random);
  }

  #sendCheck(random: Uint8Array): void {
    const [own, device] = [addressOctets(this.#options.own), addressOctets(this.#options.device)];
    const { macKey, ltk } = f5(this.#aes, this.#shared, [this.#ownRandom, random], [own, device]);
    this.#longTermKey = ltk;
    const r = this.#passkey();
    const check = f6(this.#aes, macKey, [this.#ownRandom, random], r, ioOf(this.#request), [own, device]);
    this.#expectedCheck = f6(this.#aes, macKey, [random, this.#ownRandom], r, ioOf(this.#response), [device, own]);
    this.#stage = "check";
    this.#send(joined([codes.check], reversed(check)));
  }

  #onCheck(check: Uint8Array): void {
    const key = this.#longTermKey;
    if (!key || !isSame(check, this.#expectedCheck)) return this.#fail(failures.check, ...this.#mismatch());
    this.#stage = "encryption";
    this.#push({ is: "encrypt", key });
  }

  /** False: the message is no key, or was not expected. */
  #onKey(code: number, data: Uint8Array): boolean {
    if (!this.#due.delete(code)) return false;
    switch (code) {
      case codes.longTermKey:
        this.#longTermKey = reversed(data);
        return true;
      case codes.centralIdentification:
        this.#diversifier = (data[0] ?? 0) | ((data[1] ?? 0) << 8);
        this.#random = Uint8Array.from(data.subarray(2));
        return true;
      case codes.identityKey:
        this.#identityKey = reversed(data);
        return true;
      default: {
        const octets = reversed(data.subarray(1));
        const address = [...octets].map((octet) => octet.toString(16).padStart(2, "0")).join(":");
        this.#identity = { address, type: data[0] === 1 ? "random" : "public" };
        return true;
      }
    }
  }

  #endIfComplete(): void {
    const key = this.#longTermKey;
    if (this.#due.size > 0 || !key) return;
    const { device, method } = this.#options;
    const identityKey = this.#identityKey?.some((octet) => octet !== 0) ? this.#identityKey : undefined;
    const bond: Bond = {
      identity: this.#identity ?? device,
      ...(identityKey && { identityKey }),
      longTermKey: key,
      random: this.#random,
      diversifier: this.#diversifier,
      secureConnections: this.#isSecure,
      authenticated: method === "passkey",
    };
    // A device that always uses one address has no other identity. Otherwise any device could take the identity of
    // another.
    if (!isLasting(bond.identity) || !isOf(bond, device, this.#aes)) {
      return this.#fail(failures.invalid, "broken", "the identity that it gives is that of another device");
    }
    this.#stage = "over";
    this.#push({ is: "bonded", bond });
  }

  #onFailed(reason: number): void {
    this.#stage = "over";
    const isPasskey = this.#options.method === "passkey" && (reason === failures.confirm || reason === failures.check);
    if (isPasskey) return this.#push({ is: "failed", fault: "passkey", say: "the passkey is wrong" });
    this.#push({ is: "failed", fault: "refused", say: `it refuses to pair: ${failureInWords(reason)}` });
  }

  #mismatch(): [PairingFault, string] {
    return this.#options.method === "passkey"
      ? ["passkey", "the passkey is wrong"]
      : ["broken", "its values do not match: another device may be between the two"];
  }

  #fail(reason: number, fault: PairingFault, say: string): void {
    this.#stage = "over";
    this.#send(Uint8Array.of(codes.failed, reason));
    this.#push({ is: "failed", fault, say });
  }

  #legacyConfirm(random: Uint8Array): Uint8Array {
    const [initiator, responder] = [addressOctets(this.#options.own), addressOctets(this.#options.device)];
    const said = { request: reversed(this.#request), response: reversed(this.#response) };
    return c1(this.#aes, this.#passkey(), random, said, { initiator, responder });
  }

  #secureConfirm(u: Uint8Array, v: Uint8Array, random: Uint8Array): Uint8Array {
    const { method, passkey } = this.#options;
    const bit = method === "passkey" ? 0x80 | ((passkey >> this.#round) & 1) : 0;
    return f4(this.#aes, u, v, random, bit);
  }

  /** The passkey as a value of 128 bits; zero if there is none. */
  #passkey(): Uint8Array {
    const value = new Uint8Array(keyOctets);
    if (this.#options.method === "passkey") new DataView(value.buffer).setUint32(12, this.#options.passkey);
    return value;
  }

  get #aes(): PairingCrypto["aes"] {
    return this.#crypto.aes;
  }

  #ownX(): Uint8Array {
    return this.#pair?.publicKey.subarray(0, 32) ?? new Uint8Array();
  }

  #deviceX(): Uint8Array {
    return this.#devicePublic.subarray(0, 32);
  }

  #send(packet: Uint8Array): void {
    this.#push({ is: "send", packet });
  }

  #push(step: PairingStep): void {
    this.#steps.push(step);
  }

  #take(): readonly PairingStep[] {
    const steps = this.#steps;
    this.#steps = [];
    return steps;
  }
}

/** The features of one side in the form that f6 needs: requirements, out-of-band data, abilities. */
function ioOf(said: Uint8Array): Uint8Array {
  return Uint8Array.of(said[3] ?? 0, said[2] ?? 0, said[1] ?? 0);
}
