/** Reports devices with a wrong key or an invalid certificate to the operator: one line for each identity and hour, with a limit in all. */
import type { Instant } from "../../core/types.ts";

const hourMs = 3_600_000;
/** Identities in one hour. There is a limit, because attackers can invent more. */
const namedMax = 50;

export class BadKeyLog {
  #since: Instant = Number.NEGATIVE_INFINITY;
  readonly #named = new Set<string>();

  /** The line to log; undefined: it was logged before, or there are too many. */
  line(bad: { identity: string; place: string; isKnown: boolean }, now: Instant): string | undefined {
    const { identity, place, isKnown } = bad;
    const who = `${JSON.stringify(identity)} at ${place}`;
    return this.once(identity, isKnown ? `${who}: the key does not match` : `${who}: there is no such identity`, now);
  }

  /** As `line`, for any other refused device. There is one line for each `who`. */
  once(who: string, line: string, now: Instant): string | undefined {
    if (now - this.#since >= hourMs) {
      this.#since = now;
      this.#named.clear();
    }
    if (this.#named.has(who) || this.#named.size > namedMax) return undefined;
    this.#named.add(who);
    return this.#named.size > namedMax
      ? "and more devices that are refused; the log names further ones in an hour"
      : line;
  }
}
