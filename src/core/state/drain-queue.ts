/** Whose backlog is sent next, and when, for all clients together. session/backlog-drain.ts decides what is sent. */
import { Deadline } from "../deadlines.ts";
import type { Effect } from "../effect.ts";
import type { Session } from "./session.ts";

export class DrainQueue {
  /** Sessions whose backlog may have something to send, whose turn it is first. */
  readonly waiting = new Set<Session>();
  /** Publications that may leave the backlogs now. */
  credit = 0;
  /** Publications that have left the backlogs. */
  turns = 0;
  readonly deadline: Deadline<"gateway", "drain"> = new Deadline("gateway", "drain");
  /** Reads of backlogs, to be asked for behind what this turn writes. */
  readonly reads: Extract<Effect, { kind: "fetch" }>[] = [];
}
