/**
 * The queue of backlogs for all clients together: whose is next, and when. session/backlog-drain.ts decides what is
 * sent.
 */
import { Deadline } from "../deadlines.ts";
import type { Effect } from "../effect.ts";
import type { Session } from "./session.ts";

export class DrainQueue {
  /** Sessions whose backlog may have something to send, in the order of their turns. */
  readonly waiting = new Set<Session>();
  /** So many publications may be sent from backlogs now. */
  credit = 0;
  /** Publications that were sent from backlogs so far. */
  turns = 0;
  readonly deadline: Deadline<"gateway", "drain"> = new Deadline("gateway", "drain");
  /** Reads of backlogs, to be requested after the writes of this turn. */
  readonly reads: Extract<Effect, { kind: "fetch" }>[] = [];
}
