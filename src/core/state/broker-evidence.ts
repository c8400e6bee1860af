/**
 * What all connections to one broker show of it. A client alone on its connection, with one packet to send, has no witness: whether it is
 * this packet, or a broker that closes for everybody, is seen at the connections of others.
 */
import type { Instant } from "../types.ts";
import { searchFigures } from "./search-figures.ts";

export class BrokerEvidence {
  #answeredAt: Instant = Number.NEGATIVE_INFINITY;
  #lastEnd: { readonly on: object; readonly at: Instant } | undefined;
  /** The last end of another connection than that. */
  #otherEndAt: Instant = Number.NEGATIVE_INFINITY;

  /** A packet was answered, on whatever connection. */
  noteAnswered(now: Instant): void {
    this.#answeredAt = now;
  }

  /** The broker ended this connection while something that it was asked was not answered. */
  noteEnd(on: object, now: Instant): void {
    if (this.#lastEnd && this.#lastEnd.on !== on) this.#otherEndAt = this.#lastEnd.at;
    this.#lastEnd = { on, at: now };
  }

  /**
   * Lately the broker has ended another connection in the same way, and has answered nobody since: an end of this one says nothing of the
   * packet that was sent.
   */
  isDoubtful(on: object, now: Instant): boolean {
    const other = this.#lastEnd && this.#lastEnd.on !== on ? this.#lastEnd.at : this.#otherEndAt;
    return other > this.#answeredAt && now - other <= searchFigures.doubtMs;
  }
}
