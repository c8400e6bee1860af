/** The parts of the gateway that check.ts and the other check files read. `Context` has them. */
import type { Found } from "../assert.ts";
import type { Counters } from "../counters.ts";
import type { CoreOptions } from "../options.ts";
import type { Instant, LinkId, PeerId } from "../types.ts";
import type { DrainQueue } from "./drain-queue.ts";
import type { Link } from "./link.ts";
import type { PendingConnect } from "./pending-connect.ts";
import type { RetainedWaits } from "./retained-waits.ts";
import type { Session } from "./session.ts";
import type { SessionTable } from "./session-table.ts";
import type { Upstreams } from "./upstream.ts";

export interface Checked {
  readonly options: CoreOptions;
  readonly now: Instant;
  readonly stopping: boolean;
  /** How long a CONNECT may be open. */
  readonly repetitionMs: number;
  readonly storeFails: boolean;
  /** How long the gateway repeats a message to this client without an answer. */
  roundMs(session: Session): number;
  readonly journal: { readonly enabled: boolean };
  readonly counters: Counters;
  readonly deadlines: {
    check(each: (deadline: { readonly owner: unknown; readonly name: string }) => void, found: Found): void;
  };
  readonly sessions: SessionTable;
  /** The sessions whose outboxes were checked at the end of the turn. */
  readonly touched: readonly Session[];
  readonly pendingConnects: ReadonlyMap<PeerId, PendingConnect<Session>>;
  readonly links: ReadonlyMap<LinkId, Link>;
  readonly upstreams: Upstreams<Session>;
  readonly drain: DrainQueue;
  readonly retainedWaits: RetainedWaits;
}
