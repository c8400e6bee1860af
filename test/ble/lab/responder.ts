/**
 * The device's side of pairing, for tests: everything can be done wrong on purpose. It shares the toolbox with the gateway
 * (which is held against the standard's own data in test/unit/pairing), and nothing else.
 */
import { createECDH, randomBytes } from "node:crypto";
import { joined, reversed } from "../../../src/pairing/octets.ts";
import { ah, c1, f4, f5, f6, s1 } from "../../../src/pairing/toolbox.ts";
import { pairingCrypto } from "../../../src/transports/ble/pairing-crypto.ts";

export interface ResponderOptions {
  /** It shows this number; without one it has neither display nor keys. */
  readonly passkey?: number;
  /** Default true; false: legacy pairing. */
  readonly secureConnections?: boolean;
  /** It changes its address, and is known by this one. */
  readonly identity?: { readonly irk: Uint8Array; readonly address: string };
  /** Sends nothing more after it received a message with this code. */
  readonly hangsAt?: number;
  /** Refuses to pair with this reason. */
  readonly refuses?: number;
  /** Instead of what it would say: the same change to each of its messages. */
  readonly change?: (pdu: Uint8Array) => Uint8Array;
  readonly keyOctets?: number;
  readonly keepsBonds?: boolean;
}

/** What it has in flash: stays when its radio is switched off. */
export interface Flash {
  longTermKey?: Uint8Array;
  random?: Uint8Array;
  diversifier?: number;
}

const { aes } = pairingCrypto;

export class Responder {
  readonly #options: ResponderOptions;
  readonly #flash: Flash;
  readonly #send: (pdu: Uint8Array) => void;
  /** Seven octets each: of the gateway, of the device. */
  readonly #ends: readonly [Uint8Array, Uint8Array];
  #request: Uint8Array = new Uint8Array(7);
  #response: Uint8Array = new Uint8Array(7);
  #isPairing = false;
  #isSilent = false;
  #key: Uint8Array = new Uint8Array(16);
  #nonce: Uint8Array = new Uint8Array(16);
  #heardConfirm: Uint8Array = new Uint8Array(16);
  #pair = createECDH("prime256v1");
  #own: Uint8Array = new Uint8Array();
  #other: Uint8Array = new Uint8Array();
  #shared: Uint8Array = new Uint8Array();
  #round = 0;
  #check: { readonly expected: Uint8Array; readonly own: Uint8Array } | undefined;

  constructor(
    options: ResponderOptions,
    flash: Flash,
    ends: readonly [Uint8Array, Uint8Array],
    send: (pdu: Uint8Array) => void,
  ) {
    this.#options = options;
    this.#flash = flash;
    this.#ends = ends;
    this.#send = (pdu) => send(options.change?.(pdu) ?? pdu);
  }

  get #isSecure(): boolean {
    return this.#options.secureConnections ?? true;
  }

  receive(pdu: Uint8Array): void {
    const code = pdu[0] ?? 0;
    if (code === this.#options.hangsAt) this.#isSilent = true;
    if (this.#isSilent) return;
    const data = pdu.subarray(1);
    if (code === 0x01) return this.#onRequest(pdu);
    if (code === 0x0c) return this.#onPublicKey(data);
    if (code === 0x03) return this.#onConfirm(reversed(data));
    if (code === 0x04) return this.#onRandom(reversed(data));
    if (code === 0x0d) return this.#onCheck(reversed(data));
  }

  /** The key for what the gateway's controller asks for; undefined: there is none. */
  keyFor(random: Uint8Array, diversifier: number): Uint8Array | undefined {
    if (this.#isPairing) return this.#key;
    const { longTermKey, random: own = new Uint8Array(8), diversifier: ownDiversifier = 0 } = this.#flash;
    return Buffer.from(random).equals(own) && diversifier === ownDiversifier ? longTermKey : undefined;
  }

  /** Gives its keys. */
  encrypted(): void {
    if (!this.#isPairing) return;
    this.#isPairing = false;
    if (this.#isSecure) this.#flash.longTermKey = this.#key;
    else {
      this.#flash.longTermKey = randomBytes(16);
      this.#flash.random = randomBytes(8);
      this.#flash.diversifier = 0x1234;
      this.#send(joined([0x06], reversed(this.#flash.longTermKey)));
      this.#send(joined([0x07, 0x34, 0x12], this.#flash.random));
    }
    const { identity } = this.#options;
    if (!identity) return;
    this.#send(joined([0x08], reversed(identity.irk)));
    this.#send(joined([0x09, 0x01], reversed(Buffer.from(identity.address.replaceAll(":", ""), "hex"))));
  }

  #onRequest(pdu: Uint8Array): void {
    const { passkey, refuses, keyOctets = 16, keepsBonds = true, identity } = this.#options;
    if (refuses !== undefined) return this.#send(Uint8Array.of(0x05, refuses));
    this.#isPairing = true;
    this.#round = 0;
    this.#request = Uint8Array.from(pdu);
    const requirements = (keepsBonds ? 1 : 0) | (passkey === undefined ? 0 : 4) | (this.#isSecure ? 8 : 0);
    const keys = (this.#isSecure ? 0 : 1) | (identity ? 2 : 0);
    this.#response = Uint8Array.of(0x02, passkey === undefined ? 3 : 0, 0, requirements, keyOctets, 0, keys);
    this.#send(this.#response);
  }

  #onPublicKey(data: Uint8Array): void {
    this.#other = joined(reversed(data.subarray(0, 32)), reversed(data.subarray(32)));
    this.#own = this.#pair.generateKeys().subarray(1);
    this.#shared = this.#pair.computeSecret(Buffer.concat([Buffer.of(4), this.#other]));
    this.#send(joined([0x0c], reversed(this.#own.subarray(0, 32)), reversed(this.#own.subarray(32))));
    if (!this.#hasPasskey) {
      this.#nonce = randomBytes(16);
      this.#send(joined([0x03], reversed(this.#confirm(this.#own, this.#other, this.#nonce))));
    }
  }

  /** The gateway enters what this device shows. */
  get #hasPasskey(): boolean {
    return this.#options.passkey !== undefined && this.#request[1] === 2;
  }

  #onConfirm(value: Uint8Array): void {
    this.#heardConfirm = value;
    this.#nonce = randomBytes(16);
    const own = this.#isSecure ? this.#confirm(this.#own, this.#other, this.#nonce) : this.#legacyConfirm(this.#nonce);
    this.#send(joined([0x03], reversed(own)));
  }

  #onRandom(random: Uint8Array): void {
    if (!this.#isSecure) {
      if (!same(this.#legacyConfirm(random), this.#heardConfirm)) return this.#send(Uint8Array.of(0x05, 0x04));
      this.#key = s1(aes, this.#passkey(), this.#nonce, random);
      return this.#send(joined([0x04], reversed(this.#nonce)));
    }
    if (this.#hasPasskey) {
      if (!same(this.#confirm(this.#other, this.#own, random), this.#heardConfirm)) {
        return this.#send(Uint8Array.of(0x05, 0x04));
      }
      this.#round++;
    }
    this.#send(joined([0x04], reversed(this.#nonce)));
    if (this.#hasPasskey && this.#round < 20) return;
    const [gateway, device] = this.#ends;
    const { macKey, ltk } = f5(aes, this.#shared, [random, this.#nonce], [gateway, device]);
    this.#key = ltk;
    const r = this.#hasPasskey ? this.#passkey() : new Uint8Array(16);
    this.#check = {
      expected: f6(aes, macKey, [random, this.#nonce], r, ioOf(this.#request), [gateway, device]),
      own: f6(aes, macKey, [this.#nonce, random], r, ioOf(this.#response), [device, gateway]),
    };
  }

  #onCheck(value: Uint8Array): void {
    if (!this.#check || !same(value, this.#check.expected)) return this.#send(Uint8Array.of(0x05, 0x0b));
    this.#send(joined([0x0d], reversed(this.#check.own)));
  }

  #confirm(u: Uint8Array, v: Uint8Array, nonce: Uint8Array): Uint8Array {
    const bit = this.#hasPasskey ? 0x80 | (((this.#options.passkey ?? 0) >> this.#round) & 1) : 0;
    return f4(aes, u.subarray(0, 32), v.subarray(0, 32), nonce, bit);
  }

  #legacyConfirm(nonce: Uint8Array): Uint8Array {
    const key = this.#hasPasskey ? this.#passkey() : new Uint8Array(16);
    const said = { request: reversed(this.#request), response: reversed(this.#response) };
    return c1(aes, key, nonce, said, { initiator: this.#ends[0], responder: this.#ends[1] });
  }

  #passkey(): Uint8Array {
    const value = Buffer.alloc(16);
    value.writeUInt32BE(this.#hasPasskey ? (this.#options.passkey ?? 0) : 0, 12);
    return value;
  }
}

/** A private address that this key resolves. */
export function privateAddress(irk: Uint8Array): string {
  const prand = randomBytes(3);
  prand[0] = ((prand[0] ?? 0) & 0x3f) | 0x40;
  const octets = joined(prand, ah(aes, irk, prand));
  return [...octets].map((octet) => octet.toString(16).padStart(2, "0")).join(":");
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.from(a).equals(b);
}

function ioOf(said: Uint8Array): Uint8Array {
  return Uint8Array.of(said[3] ?? 0, said[2] ?? 0, said[1] ?? 0);
}
