/** What the connections of all links over TCP share, as far as it exists here. */
import type { TcpReads } from "./tcp-reads.ts";
import type { TcpRing } from "./tcp-ring.ts";

export interface Together {
  /** Sends octets of many connections with one system call. */
  readonly ring?: TcpRing | undefined;
  /** Reads many connections in one wake-up. */
  readonly reads?: TcpReads | undefined;
}
