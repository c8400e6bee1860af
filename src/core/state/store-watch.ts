/** The state of the store: which commits it has answered, and whether it fails. See inputs/store-trouble.ts. */
import { Deadline } from "../deadlines.ts";
import type { CommitToken, Instant } from "../types.ts";

export class StoreWatch {
  /** The store did not accept the last commit, or has not answered a commit for too long. */
  fails = false;
  /** All commits up to this one are answered. */
  answered: CommitToken = 0;
  /** Since when an answer of the store is missing. */
  busySince: Instant | undefined;
  readonly probe: Deadline<"gateway", "probe"> = new Deadline("gateway", "probe");

  /** `last`: the last commit that was requested. */
  noteAnswer(token: CommitToken, last: CommitToken, now: Instant): void {
    this.answered = Math.max(this.answered, token);
    this.busySince = last > this.answered ? now : undefined;
  }
}
