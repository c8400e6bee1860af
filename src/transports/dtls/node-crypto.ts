/** The cryptographic functions of Node, in the form that `src/secure` needs. */
import {
  type CipherCCMTypes,
  type CipherGCMTypes,
  createCipheriv,
  createDecipheriv,
  createECDH,
  createHash,
  createHmac,
  createSecretKey,
  type ECDH,
  randomBytes,
} from "node:crypto";
import type { Aead, AeadName, Crypto, KeyAgreement } from "../../secure/crypto.ts";

export const nodeCrypto: Crypto = {
  random: (octets) => randomBytes(octets),
  hash: (...parts) => {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part);
    return hash.digest();
  },
  hmac: (key) => {
    // The key object is made once: some versions of Node prepare raw keys at each use, at five times the cost.
    const secret = createSecretKey(key);
    return (...parts) => {
      const hmac = createHmac("sha256", secret);
      for (const part of parts) hmac.update(part);
      return hmac.digest();
    };
  },
  agreement: () => {
    const pair = createECDH("prime256v1");
    return agreementWith(pair, pair.generateKeys());
  },
  agreementOf: (secretHalf) => {
    const pair = createECDH("prime256v1");
    try {
      pair.setPrivateKey(secretHalf);
    } catch {
      return undefined;
    }
    return agreementWith(pair, pair.getPublicKey());
  },
  aead: (name, key) => (name === "aes-128-gcm" ? gcm(key) : ccm(name, key)),
};

function agreementWith(pair: ECDH, point: Uint8Array): KeyAgreement {
  return {
    point,
    secretHalf: () => pair.getPrivateKey(),
    secret: (theirs) => {
      // Other forms of a point were not negotiated.
      if (theirs.length !== 65 || theirs[0] !== 4) return undefined;
      try {
        return pair.computeSecret(theirs);
      } catch {
        return undefined; // not on the curve: any sender can cause this
      }
    },
  };
}

function ccm(name: Exclude<AeadName, "aes-128-gcm">, rawKey: Uint8Array): Aead {
  const key = createSecretKey(rawKey);
  const cipherName: CipherCCMTypes = "aes-128-ccm";
  const authTagLength = name === "aes-128-ccm-8" ? 8 : 16;
  return {
    seal: (nonce, about, text) => {
      const cipher = createCipheriv(cipherName, key, nonce, { authTagLength });
      cipher.setAAD(about, { plaintextLength: text.length });
      return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
    },
    open: (nonce, about, sealed) => {
      const length = sealed.length - authTagLength;
      if (length < 0) return undefined;
      const decipher = createDecipheriv(cipherName, key, nonce, { authTagLength });
      decipher.setAuthTag(sealed.subarray(length));
      decipher.setAAD(about, { plaintextLength: length });
      try {
        const text = decipher.update(sealed.subarray(0, length));
        decipher.final();
        return text;
      } catch {
        return undefined; // the tag does not match: any sender can cause this
      }
    },
  };
}

function gcm(rawKey: Uint8Array): Aead {
  const key = createSecretKey(rawKey);
  const cipherName: CipherGCMTypes = "aes-128-gcm";
  const authTagLength = 16;
  return {
    seal: (nonce, about, text) => {
      const cipher = createCipheriv(cipherName, key, nonce, { authTagLength });
      cipher.setAAD(about);
      return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
    },
    open: (nonce, about, sealed) => {
      const length = sealed.length - authTagLength;
      if (length < 0) return undefined;
      const decipher = createDecipheriv(cipherName, key, nonce, { authTagLength });
      decipher.setAuthTag(sealed.subarray(length));
      decipher.setAAD(about);
      try {
        const text = decipher.update(sealed.subarray(0, length));
        decipher.final();
        return text;
      } catch {
        return undefined; // the tag does not match: any sender can cause this
      }
    },
  };
}
