/**
 * Encrypts and decrypts records with native/aead.c, if it was compiled: the results are those of node:crypto, without
 * its four objects for each record. node:crypto does everything else.
 */
import { createRequire } from "node:module";
import type { Aead, AeadName, Crypto } from "../../secure/crypto.ts";
import { nodeCrypto } from "./node-crypto.ts";

/** The functions of the compiled part (native/aead.c). */
export interface NativeAead {
  readonly arena: Uint8Array;
  work(kind: number, sealing: number, aboutOctets: number, textOctets: number): number;
}

/** Offsets in the arena; native/aead.c has the same numbers. */
const atNonce = 16;
const atAbout = 32;
const aboutOctetsMax = 64;
const atText = atAbout + aboutOctetsMax;
const keyOctets = 16;
const nonceOctets = 12;

const kinds: Readonly<Record<AeadName, { readonly kind: number; readonly tagOctets: number }>> = {
  "aes-128-ccm-8": { kind: 0, tagOctets: 8 },
  "aes-128-ccm": { kind: 1, tagOctets: 16 },
  "aes-128-gcm": { kind: 2, tagOctets: 16 },
};

/** The compiled part; undefined: it does not exist, or Node's OpenSSL does not offer the functions that it needs. */
export function loadNativeAead(): NativeAead | undefined {
  try {
    const native = createRequire(import.meta.url)("../../../native/build/aead.node") as Partial<NativeAead>;
    return native.work === undefined ? undefined : (native as NativeAead);
  } catch {
    return undefined; // not compiled: no compiler, or the package was installed without running scripts
  }
}

/** `without`: used if there is no compiled part, and for functions that it does not have. */
export function withNativeAead(native: NativeAead | undefined, without: Crypto = nodeCrypto): Crypto {
  return native ? { ...without, aead: (name, key) => aeadBy(native, name, key, without.aead) } : without;
}

function aeadBy(native: NativeAead, name: AeadName, key: Uint8Array, without: Crypto["aead"]): Aead {
  const { kind, tagOctets } = kinds[name];
  const { arena } = native;
  const textOctetsMax = arena.length - atText - tagOctets;
  const own = Uint8Array.from(key);
  let other: Aead | undefined;
  const others = () => (other ??= without(name, own));
  /** False: the lengths do not fit. A text without octets is not accepted by each version of OpenSSL. */
  const lay = (nonce: Uint8Array, about: Uint8Array, text: Uint8Array, octets: number): boolean => {
    if (octets < 1 || octets > textOctetsMax || about.length < 1 || about.length > aboutOctetsMax) return false;
    if (nonce.length !== nonceOctets || own.length !== keyOctets) return false;
    arena.set(own);
    arena.set(nonce, atNonce);
    arena.set(about, atAbout);
    arena.set(text, atText);
    return true;
  };
  return {
    seal: (nonce, about, text) => {
      const { length } = text;
      if (!lay(nonce, about, text, length)) return others().seal(nonce, about, text);
      if (native.work(kind, 1, about.length, length) !== 1) throw new RangeError("a record cannot be sealed");
      return arena.subarray(atText, atText + length + tagOctets);
    },
    open: (nonce, about, sealed) => {
      const length = sealed.length - tagOctets;
      if (!lay(nonce, about, sealed, length)) return others().open(nonce, about, sealed);
      return native.work(kind, 0, about.length, length) === 1 ? arena.slice(atText, atText + length) : undefined;
    },
  };
}
