/**
 * The ticket or session id that a broker gave for a resumed handshake, for one identity. It is only in memory, and is
 * never logged: anybody who has it can act as the gateway. [RFC 8446 2.2; RFC 5077]
 *
 * A resumed connection shows no certificate, so nothing checks whether it was revoked or has expired. Therefore there is a whole handshake
 * once a day, and when the certificate expires.
 */
import { performance } from "node:perf_hooks";

const wholeEveryMs = 86_400_000;

export class TlsSession {
  readonly #now: () => number;
  readonly #wallClock: () => number;
  #ticket: Buffer | undefined;
  /** The time of the last whole handshake, by `now`. */
  #wholeAt = Number.NEGATIVE_INFINITY;
  #certificateEndsAt = Number.POSITIVE_INFINITY;
  #isGivenUp = false;

  /** `now`: monotonic milliseconds; `wallClock`: milliseconds since 1970. */
  constructor(now: () => number = () => performance.now(), wallClock: () => number = Date.now) {
    this.#now = now;
    this.#wallClock = wallClock;
  }

  /** The ticket for the next connection or connections; undefined: they make a whole handshake. */
  offer(): Buffer | undefined {
    const isOver = this.#now() - this.#wholeAt >= wholeEveryMs || this.#wallClock() >= this.#certificateEndsAt;
    return isOver ? undefined : this.#ticket;
  }

  /**
   * A whole handshake was made. The argument is the expiry time of the broker's certificate in milliseconds since 1970;
   * undefined: no certificate was shown.
   */
  noteWhole(certificateEndsAt: number | undefined): void {
    this.#wholeAt = this.#now();
    this.#certificateEndsAt = certificateEndsAt ?? Number.POSITIVE_INFINITY;
  }

  /** Replaces the ticket. */
  keep(ticket: Buffer): void {
    if (!this.#isGivenUp) this.#ticket = ticket;
  }

  forget(): void {
    this.#ticket = undefined;
  }

  /** The broker gives tickets, but fails when they are used. No ticket is offered any more. */
  giveUp(): void {
    this.#isGivenUp = true;
    this.forget();
  }
}
