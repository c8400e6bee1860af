/**
 * The cipher suites: how the two sides prove their identity, and a cipher that also authenticates. Other suites are not
 * supported.
 */
import type { AeadName } from "./crypto.ts";

export type SuiteName = "ccm8" | "ccm" | "gcm";

/** The kind of proof that a device uses. */
export type ProofKind = "psk" | "certificate";

export interface Suite {
  readonly name: SuiteName;
  readonly by: ProofKind;
  /** The number of the suite in the handshake. */
  readonly id: number;
  readonly aead: AeadName;
  readonly keyOctets: number;
  readonly tagOctets: number;
}

const ciphers = {
  ccm8: { name: "ccm8", aead: "aes-128-ccm-8", keyOctets: 16, tagOctets: 8 },
  ccm: { name: "ccm", aead: "aes-128-ccm", keyOctets: 16, tagOctets: 16 },
  gcm: { name: "gcm", aead: "aes-128-gcm", keyOctets: 16, tagOctets: 16 },
} as const;

/** Suites with a pre-shared key. */
export const suites: Readonly<Record<SuiteName, Suite>> = {
  /** TLS_PSK_WITH_AES_128_CCM_8 [RFC 6655 4], what RFC 7252 asks of constrained devices. */
  ccm8: { ...ciphers.ccm8, by: "psk", id: 0xc0a8 },
  /** TLS_PSK_WITH_AES_128_CCM [RFC 6655 4] */
  ccm: { ...ciphers.ccm, by: "psk", id: 0xc0a4 },
  /** TLS_PSK_WITH_AES_128_GCM_SHA256 [RFC 5487 2] */
  gcm: { ...ciphers.gcm, by: "psk", id: 0x00a8 },
};

/** Suites with certificates on both sides, and ephemeral keys on P-256. */
export const certificateSuites: Readonly<Record<SuiteName, Suite>> = {
  /** TLS_ECDHE_ECDSA_WITH_AES_128_CCM_8 [RFC 7251 2], what RFC 7252 asks of constrained devices. */
  ccm8: { ...ciphers.ccm8, by: "certificate", id: 0xc0ae },
  /** TLS_ECDHE_ECDSA_WITH_AES_128_CCM [RFC 7251 2] */
  ccm: { ...ciphers.ccm, by: "certificate", id: 0xc0ac },
  /** TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256 [RFC 5289 3.2] */
  gcm: { ...ciphers.gcm, by: "certificate", id: 0xc02b },
};
