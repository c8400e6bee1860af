/** Who comes with a wrong key is told to the operator: a line for each identity and hour, and not without end. */
import type { Instant } from "../../core/types.ts";

const hourMs = 3_600_000;
/** Identities in one hour: anybody can think of more. */
const namedMax = 50;

export class BadKeyLog {
  #since: Instant = Number.NEGATIVE_INFINITY;
  readonly #named = new Set<string>();

  /** The line; undefined: it was said, or there are too many. */
  line(bad: { identity: string; place: string; isKnown: boolean }, now: Instant): string | undefined {
    if (now - this.#since >= hourMs) {
      this.#since = now;
      this.#named.clear();
    }
    const { identity, place, isKnown } = bad;
    if (this.#named.has(identity) || this.#named.size > namedMax) return undefined;
    this.#named.add(identity);
    if (this.#named.size > namedMax) return `and more identities with wrong keys; the next are named in an hour`;
    const who = JSON.stringify(identity);
    return isKnown ? `${who} at ${place}: the key does not match` : `${who} at ${place}: there is no such identity`;
  }
}
