/** The cipher suites: a pre-shared key, and a cipher that also authenticates. Others are not spoken. */
import type { AeadName } from "./crypto.ts";

export type SuiteName = "ccm8" | "ccm" | "gcm";

export interface Suite {
  readonly name: SuiteName;
  /** As it goes over the wire. */
  readonly id: number;
  readonly aead: AeadName;
  readonly keyOctets: number;
  readonly tagOctets: number;
}

export const suites: Readonly<Record<SuiteName, Suite>> = {
  /** TLS_PSK_WITH_AES_128_CCM_8 [RFC 6655 4], what RFC 7252 asks of constrained devices. */
  ccm8: { name: "ccm8", id: 0xc0a8, aead: "aes-128-ccm-8", keyOctets: 16, tagOctets: 8 },
  /** TLS_PSK_WITH_AES_128_CCM [RFC 6655 4] */
  ccm: { name: "ccm", id: 0xc0a4, aead: "aes-128-ccm", keyOctets: 16, tagOctets: 16 },
  /** TLS_PSK_WITH_AES_128_GCM_SHA256 [RFC 5487 2] */
  gcm: { name: "gcm", id: 0x00a8, aead: "aes-128-gcm", keyOctets: 16, tagOctets: 16 },
};
