/** What the search for a packet that the broker does not take (`suspects.ts`) is told, and what it answers. */
import type { Instant, KnownPause } from "../types.ts";

/** The packets that may be sent now. The caller asks again at `until`, if nothing happens before. */
export type Choice<Packet> =
  | { readonly kind: "ping" }
  | { readonly kind: "hold"; readonly until: Instant | undefined }
  | { readonly kind: "flow"; readonly until: Instant | undefined }
  | { readonly kind: "test"; readonly packets: readonly Packet[] };

/**
 * The pause before the next attempt. `next`: twice the last one, as after any attempt without success. The others are
 * set by the search.
 */
export type Pause = "next" | KnownPause;

export interface EndOfConnection {
  /** The broker ended the connection. */
  readonly blames: boolean;
  /** The broker gave a reason that concerns a packet. */
  readonly named: boolean;
  /** Something came from the broker after CONNACK. */
  readonly showedLife: boolean;
  /** The broker ends other connections too, and answers no packets. */
  readonly isDoubtful?: boolean;
}
