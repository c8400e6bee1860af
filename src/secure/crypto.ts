/** The only access to cryptography. Everything else in this folder can be tested without random numbers. */

export type AeadName = "aes-128-ccm-8" | "aes-128-ccm" | "aes-128-gcm";

/** The cipher of one direction, with one key. Nonces have 12 octets. */
export interface Aead {
  /** The encrypted text, followed by its tag. Must be copied immediately, because the next call may overwrite it. */
  seal(nonce: Uint8Array, about: Uint8Array, text: Uint8Array): Uint8Array;
  /** Undefined: the tag does not match. */
  open(nonce: Uint8Array, about: Uint8Array, sealed: Uint8Array): Uint8Array | undefined;
}

export interface KeyAgreement {
  /** Our public point, uncompressed: 65 octets. */
  readonly point: Uint8Array;
  /** Our secret number, with which `agreementOf` makes the same key pair again. */
  secretHalf(): Uint8Array;
  /** The shared secret; undefined: the other side's point is not on the curve. */
  secret(theirs: Uint8Array): Uint8Array | undefined;
}

export interface Crypto {
  /** Unpredictable. */
  random(octets: number): Uint8Array;
  /** SHA-256 over all parts. */
  hash(...parts: readonly Uint8Array[]): Uint8Array;
  /** HMAC with SHA-256; the key is prepared once. */
  hmac(key: Uint8Array): (...parts: readonly Uint8Array[]) => Uint8Array;
  aead(name: AeadName, key: Uint8Array): Aead;
  /** A fresh key pair on P-256, for one handshake. */
  agreement(): KeyAgreement;
  /** A key pair that another gateway of the fleet has made; undefined: the octets are not its secret half. */
  agreementOf(secretHalf: Uint8Array): KeyAgreement | undefined;
}
