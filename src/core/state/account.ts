/**
 * Publications of one client that the gateway has accepted for the broker and that the broker does not have yet. They
 * belong to the client and not to an MQTT session, because several clients may share one MQTT session.
 */
import type { Tally } from "../counters.ts";
import { Backlog } from "./backlog.ts";

export class Account {
  /** Accepted publications that are not sent yet. */
  readonly backlog: Backlog;
  /** Accepted publications that are in flight. */
  accepted = 0;
  /** When a publication of the backlog was sent last, as a count over all clients (`DrainQueue.turns`). */
  drainedAt = 0;

  /** `total`: the sum of all clients' backlogs. */
  constructor(total: Tally) {
    this.backlog = new Backlog(total);
  }

  /** Publications that were acknowledged to the client and that the broker has not finished with. */
  get unforwarded(): number {
    return this.accepted + this.backlog.count;
  }
}
