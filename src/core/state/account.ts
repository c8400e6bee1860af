/**
 * What the gateway owes the broker on behalf of one client: accepted from it, and not at the broker yet. It belongs to
 * the client and not to an MQTT session: several clients may share one of those.
 */
import { Backlog } from "./backlog.ts";

export class Account {
  /** Accepted and not sent yet. */
  readonly backlog = new Backlog();
  /** Accepted publications that are on their way. */
  accepted = 0;

  /** Publications that the client was answered for and the broker has not finished with. */
  get owed(): number {
    return this.accepted + this.backlog.count;
  }
}
