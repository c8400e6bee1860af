/** Which clients wait for retained messages over a shared connection, and until when. See broker/retained.ts. */
import { Deadline } from "../deadlines.ts";
import type { Instant } from "../types.ts";
import type { RetainedWait } from "./exchanges.ts";
import type { Session } from "./session.ts";

export class RetainedWaits {
  /** Whose SUBSCRIBE the broker has answered, longest ago first: all wait equally long. */
  readonly #list: RetainedWait<Session>[] = [];
  readonly deadline: Deadline<"gateway", "retained"> = new Deadline("gateway", "retained");

  add(wait: RetainedWait<Session>, until: Instant): void {
    wait.until = until;
    this.#list.push(wait);
  }

  /** Who waits, in the order in which they have waited enough. */
  all(): readonly RetainedWait<Session>[] {
    return this.#list;
  }

  /** All wait longer by this time, because no retained messages could be delivered meanwhile. */
  prolong(ms: number): void {
    for (const wait of this.#list) if (wait.until !== undefined) wait.until += ms;
  }

  /** When the first one ends; undefined = none waits. */
  get next(): Instant | undefined {
    return this.#list[0]?.until;
  }

  /** Those who have waited long enough; they are not in here any more. */
  takeDue(now: Instant): readonly RetainedWait<Session>[] {
    let over = 0;
    for (const { until = 0 } of this.#list) {
      if (until > now) break;
      over++;
    }
    return this.#list.splice(0, over);
  }
}
