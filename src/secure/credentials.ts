/** Certificates, as a handshake uses them. The caller decides how they are read, and which are accepted. */

/** Reasons for refusing a certificate. The alert is the answer to the device. [RFC 5246 7.2.2] */
export const certificateRefusals = {
  none: { alert: 40, say: "it shows no certificate" },
  malformed: { alert: 42, say: "what it shows is not a certificate" },
  "is-authority": { alert: 42, say: "its certificate is that of an authority" },
  "not-p256": { alert: 43, say: "the key of its certificate is not on P-256" },
  "other-use": { alert: 43, say: "its certificate is not for clients" },
  expired: { alert: 45, say: "its certificate has expired" },
  "not-yet-valid": { alert: 45, say: "its certificate is not valid yet" },
  "no-name": { alert: 46, say: "its certificate has no name" },
  "unknown-authority": {
    alert: 48,
    say: "no authority that is configured issued its certificate, nor is its key pinned",
  },
  "bad-exchange": { alert: 47, say: "its part of the key exchange is not on P-256" },
  "wrong-signature": { alert: 51, say: "it does not have the key of its certificate" },
} as const;

export type CertificateRefusal = keyof typeof certificateRefusals;

/** A certificate that is valid, if the client proves that it has the private key. */
export interface Accepted {
  readonly identity: string;
  /** The public key that proves the certificate: the context ends when this key is not configured any more. */
  readonly trust: Uint8Array;
  /** ECDSA with SHA-256, in DER. */
  verify(signed: Uint8Array, signature: Uint8Array): boolean;
}

export interface Credentials {
  /** The gateway's certificates, its own first, in DER. */
  readonly chain: readonly Uint8Array[];
  /** Signs with the gateway's own key: ECDSA on P-256 with SHA-256, in DER. */
  sign(bytes: Uint8Array): Uint8Array;
  /** Judges the certificates of a client, its own first, in DER. */
  judge(chain: readonly Uint8Array[]): Accepted | CertificateRefusal;
}
