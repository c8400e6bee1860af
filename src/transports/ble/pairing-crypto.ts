/** The cryptographic functions of pairing, implemented with Node. */
import { createCipheriv, createECDH, randomBytes } from "node:crypto";
import type { PairingCrypto } from "../../pairing/crypto.ts";

/** The first octet of an uncompressed point. */
const uncompressed = 4;

export const pairingCrypto: PairingCrypto = {
  aes: (key, block) => createCipheriv("aes-128-ecb", key, null).setAutoPadding(false).update(block),
  random: (octets) => randomBytes(octets),
  newKeyPair: () => {
    const pair = createECDH("prime256v1");
    return {
      publicKey: pair.generateKeys().subarray(1),
      sharedWith: (publicKey) => {
        try {
          return pair.computeSecret(Buffer.concat([Buffer.of(uncompressed), publicKey]));
        } catch {
          return undefined; // not on the curve: any sender can cause this
        }
      },
    };
  },
};
