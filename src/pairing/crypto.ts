/**
 * The cryptographic functions that pairing needs. The caller provides them: this folder has no random numbers and no
 * ciphers.
 */

export interface PairingCrypto {
  /** AES-128 of one block of 16 octets. */
  aes(key: Uint8Array, block: Uint8Array): Uint8Array;
  random(octets: number): Uint8Array;
  /** A new pair on P-256. */
  newKeyPair(): KeyPair;
}

export interface KeyPair {
  /** X and Y, 32 octets each, high octet first. */
  readonly publicKey: Uint8Array;
  /** The secret shared with the owner of this public key; undefined: that is no point on the curve. */
  sharedWith(publicKey: Uint8Array): Uint8Array | undefined;
}
