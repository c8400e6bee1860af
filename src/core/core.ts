/** The core as the runtime sees it. `gateway-core.ts` is the only implementation; tests may use another one. */
import type { Effect } from "./effect.ts";
import type { Input } from "./input.ts";
import type { Instant, PeerId } from "./types.ts";

export interface Core {
  /** Takes what happened and returns what is to be done, in order. Never throws for anything a peer or broker did. */
  handle(input: Input, now: Instant): readonly Effect[];
  /** Does what has become due, a bounded number at a time. Too early or too often does nothing. */
  timeout(now: Instant): readonly Effect[];
  /** When `timeout` is wanted next. */
  nextDeadline(): Instant | undefined;
  /** Whether the device at this peer has sent CONNECT and has no answer yet. Then messages of its earlier connection are not for it. */
  isConnecting(peer: PeerId): boolean;
}
