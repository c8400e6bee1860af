/** The inputs and effects of the server. */
import { type CertificateRefusal, certificateRefusals } from "./credentials.ts";
import type { ProofKind, Suite, SuiteName } from "./suites.ts";

/** Milliseconds on a monotonic clock. */
export type Instant = number;

/** A handshake after the first flight of the gateway, so that another gateway can continue it; see begun.ts. */
export interface Begun {
  readonly address: string;
  readonly suite: Suite;
  readonly clientRandom: Uint8Array;
  readonly serverRandom: Uint8Array;
  readonly isExtended: boolean;
  readonly cid: Uint8Array | undefined;
  readonly peerCid: Uint8Array | undefined;
  /** All messages so far: from ClientHello to ServerHelloDone. */
  readonly transcript: Uint8Array;
  /** The next numbers of the server's messages and of its records without encryption. */
  readonly messageNext: number;
  readonly plainNext: number;
  /** The secret half of the key pair for this handshake; undefined: the suite is one with a pre-shared key. */
  readonly secretHalf: Uint8Array | undefined;
  /** Milliseconds since the handshake began. */
  readonly ageMs: number;
}

export type SecureInput =
  /** `address`: the destination of answers. The part after its last colon differs between programs of one host. */
  | { readonly kind: "datagram"; readonly address: string; readonly bytes: Uint8Array }
  | { readonly kind: "send"; readonly identity: string; readonly bytes: Uint8Array }
  /** The answer to `askKey`; undefined: no device has this identity. */
  | { readonly kind: "key"; readonly token: number; readonly key: Uint8Array | undefined }
  | { readonly kind: "persisted"; readonly token: number; readonly ok: boolean }
  /** The records that an earlier run stored. Given before any datagram. */
  | { readonly kind: "restored"; readonly records: readonly Uint8Array[] }
  /** A handshake that another gateway of the fleet began, with a client that has this identity. */
  | { readonly kind: "adopt"; readonly identity: string; readonly begun: Begun }
  /** The key of this identity is not valid any more. */
  | { readonly kind: "forget"; readonly identity: string }
  | { readonly kind: "timeout" }
  /** The end: state that is only in memory is stored. */
  | { readonly kind: "stop" };

/** `record` undefined: the stored record of this identity is deleted. */
export interface SecureChange {
  readonly identity: string;
  readonly record: Uint8Array | undefined;
}

export type ClosedReason =
  | "the device ended it"
  | "its key was removed"
  | "it was idle"
  | "too many"
  | "its numbers are used up";

export type SecureEffect =
  | { readonly kind: "transmit"; readonly address: string; readonly bytes: Uint8Array }
  | {
      readonly kind: "deliver";
      readonly identity: string;
      readonly bytes: Uint8Array;
      /** No record with a higher number was received before. */
      readonly isNewest: boolean;
    }
  /** The client has named itself, and its handshake ends here: another gateway continues it. */
  | { readonly kind: "named"; readonly identity: string; readonly begun: Begun }
  | { readonly kind: "askKey"; readonly identity: string; readonly token: number }
  | {
      readonly kind: "opened";
      readonly identity: string;
      readonly address: string;
      readonly suite: SuiteName;
      readonly by: ProofKind;
      /** The device keeps its context when its address changes. */
      readonly hasCid: boolean;
    }
  | { readonly kind: "closed"; readonly identity: string; readonly reason: ClosedReason }
  /** Store all changes or none; `persisted` answers, in the order of these effects. */
  | { readonly kind: "persist"; readonly changes: readonly SecureChange[]; readonly token: number }
  /** A device showed a certificate that was refused. */
  | { readonly kind: "badCertificate"; readonly address: string; readonly refusal: CertificateRefusal }
  /** A device used this identity and does not have its key. `isKnown`: the identity exists. */
  | { readonly kind: "badKey"; readonly identity: string; readonly address: string; readonly isKnown: boolean };

/** Counters since the start. */
export interface SecureCounters {
  handshakesDone: number;
  /** Handshakes that were given up because the other side did not continue. */
  handshakesExpired: number;
  /** Handshakes without a common suite, or without DTLS 1.2. */
  handshakesUnsuitable: number;
  /** Handshakes that were refused because there was no room. */
  handshakesRefused: number;
  /** Handshakes whose context could not be stored. */
  handshakesNotStored: number;
  badKeys: number;
  certificatesRefused: Record<CertificateRefusal, number>;
  cookies: number;
  /** ClientHellos beyond the limit. */
  hellosBeyond: number;
  /** Addresses that contexts moved to. */
  moved: number;
  replays: number;
  /** Records that are invalid, unexpected or not authentic. */
  badRecords: number;
  /** Messages that could not leave: no context, or no number that may be used. */
  unsent: number;
}

export function newCounters(): SecureCounters {
  return {
    handshakesDone: 0,
    handshakesExpired: 0,
    handshakesUnsuitable: 0,
    handshakesRefused: 0,
    handshakesNotStored: 0,
    badKeys: 0,
    certificatesRefused: noRefusals(),
    cookies: 0,
    hellosBeyond: 0,
    moved: 0,
    replays: 0,
    badRecords: 0,
    unsent: 0,
  };
}

function noRefusals(): Record<CertificateRefusal, number> {
  const counts: Partial<Record<CertificateRefusal, number>> = {};
  for (const refusal of Object.keys(certificateRefusals)) counts[refusal as CertificateRefusal] = 0;
  return counts as Record<CertificateRefusal, number>;
}
