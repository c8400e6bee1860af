/** Which clients wait for retained messages over a shared connection, and until when. See broker/retained.ts. */
import { Deadline } from "../deadlines.ts";
import type { Instant } from "../types.ts";
import type { RetainedWait } from "./exchanges.ts";
import type { Session } from "./session.ts";

export class RetainedWaits {
  /** Clients whose SUBSCRIBE the broker has answered, the oldest answer first. All wait for the same time. */
  readonly #list: RetainedWait<Session>[] = [];
  readonly deadline: Deadline<"gateway", "retained"> = new Deadline("gateway", "retained");

  add(wait: RetainedWait<Session>, until: Instant): void {
    wait.until = until;
    wait.session.retainedWaits++;
    this.#list.push(wait);
  }

  /** All waits, in the order in which they end. */
  all(): readonly RetainedWait<Session>[] {
    return this.#list;
  }

  /** Makes all waits longer by this time, because no retained messages could be delivered meanwhile. */
  prolong(ms: number): void {
    for (const wait of this.#list) if (wait.until !== undefined) wait.until += ms;
  }

  /** When the first wait ends; undefined = there is none. */
  get next(): Instant | undefined {
    return this.#list[0]?.until;
  }

  /** Removes and returns the waits that have ended. */
  takeDue(now: Instant): readonly RetainedWait<Session>[] {
    let over = 0;
    for (const { until = 0, session } of this.#list) {
      if (until > now) break;
      session.retainedWaits--;
      over++;
    }
    return this.#list.splice(0, over);
  }
}
