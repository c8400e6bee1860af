/**
 * Publications of one client that the gateway has accepted for the broker and that are not at the broker yet. They
 * belong to the client and not to an MQTT session, because several clients may share one MQTT session.
 */
import type { Tally } from "../counters.ts";
import { Backlog } from "./backlog.ts";

export class Account {
  /** Accepted and not sent yet. */
  readonly backlog: Backlog;
  /** Accepted publications that are in flight. */
  accepted = 0;
  /** When one of the backlog was sent last: a count over all clients (`DrainQueue.turns`). */
  drainedAt = 0;

  /** `total`: what waits in all backlogs together. */
  constructor(total: Tally) {
    this.backlog = new Backlog(total);
  }

  /** Publications that the client was answered for and the broker has not finished with. */
  get unforwarded(): number {
    return this.accepted + this.backlog.count;
  }
}
