/** The core's interface for the runtime. `gateway-core.ts` is the only implementation; tests may use another one. */
import type { Effect } from "./effect.ts";
import type { Input } from "./input.ts";
import type { Instant, PeerId } from "./types.ts";

export interface Core {
  /**
   * Handles one input, and returns its effects in order. Never throws because of anything that a peer or broker did.
   */
  handle(input: Input, now: Instant): readonly Effect[];
  /** Handles the deadlines that are due, up to a limit. Has no effect if none is due. */
  timeout(now: Instant): readonly Effect[];
  /** The time of the next call of `timeout`; undefined: no deadline is set. */
  nextDeadline(): Instant | undefined;
  /**
   * True if the device at this peer has sent CONNECT and has no answer yet. It must not get messages of its earlier
   * connection then.
   */
  isConnecting(peer: PeerId): boolean;
}
