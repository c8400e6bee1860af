import type { Durations } from "../durations.ts";
import type { WireOctets } from "./wire-octets.ts";

/** Counters over all links of an upstream. */
export interface LinkCounters {
  droppedCongested: number;
  /** Connections that the gateway ended because the broker sent more than `receiveMaximum` allows. */
  receiveMaximumExceeded: number;
  packetsIn: number;
  packetsOut: number;
  /**
   * Octets from and to the broker after it accepted CONNECT; octets for connecting and for the keep-alive are not
   * counted.
   */
  bytesIn: number;
  bytesOut: number;
  /**
   * All octets, as TCP carries them, including the gateway's own connections to these brokers, and probes for a better
   * one.
   */
  readonly wire: WireOctets;
  /** TLS handshakes: whole ones, and resumed ones. */
  readonly tls: { full: number; resumed: number };
  /** Durations from a publication at QoS 1 or 2 to the broker's PUBACK or PUBREC. */
  readonly acknowledgement: Durations;
  /** The expiry time of the certificate that the broker showed last, milliseconds since 1970. */
  brokerCertificateEndsAt: number | undefined;
}
