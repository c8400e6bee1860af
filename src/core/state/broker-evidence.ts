/**
 * What all connections to one broker tell about it. If a client is alone on its connection and has one packet to send,
 * there is no witness. Other connections then show whether the broker closes because of this packet, or closes all
 * connections.
 */
import type { Instant } from "../types.ts";
import { searchFigures } from "./search-figures.ts";

export class BrokerEvidence {
  #answeredAt: Instant = Number.NEGATIVE_INFINITY;
  #lastEnd: { readonly on: object; readonly at: Instant } | undefined;
  /** The last end of another connection than the one in `#lastEnd`. */
  #otherEndAt: Instant = Number.NEGATIVE_INFINITY;

  /** A packet was answered, on any connection. */
  noteAnswered(now: Instant): void {
    this.#answeredAt = now;
  }

  /** The broker ended this connection while a packet was unanswered. */
  noteEnd(on: object, now: Instant): void {
    if (this.#lastEnd && this.#lastEnd.on !== on) this.#otherEndAt = this.#lastEnd.at;
    this.#lastEnd = { on, at: now };
  }

  /**
   * Whether an end of this connection tells nothing about the packet that was sent: the broker has recently ended
   * another connection in the same way, and has answered no packet since.
   */
  isDoubtful(on: object, now: Instant): boolean {
    const other = this.#lastEnd && this.#lastEnd.on !== on ? this.#lastEnd.at : this.#otherEndAt;
    return other > this.#answeredAt && now - other <= searchFigures.doubtMs;
  }
}
