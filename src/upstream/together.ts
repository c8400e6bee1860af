/** What the connections of all links over TCP share, as far as it exists here. */
import type { QuickAck } from "./quick-ack.ts";
import type { TcpReads } from "./tcp-reads.ts";
import type { TcpRing } from "./tcp-ring.ts";

export interface Together {
  /** Sends octets of many connections with one system call. */
  readonly ring?: TcpRing | undefined;
  /** Reads many connections in one wake-up. */
  readonly reads?: TcpReads | undefined;
  /** Acknowledges at once what brokers send. */
  readonly quickAck?: Pick<QuickAck, "acknowledge"> | undefined;
}
