/**
 * Sends PINGREQ only if nothing else was written, with growing pauses, for lines that are paid by the octet. The
 * longest pause is the keep alive of CONNECT, so the broker accepts the pauses. The caller checks that an answer comes.
 */
import { performance } from "node:perf_hooks";

export class IdlePings {
  readonly #mostMs: number;
  readonly #ping: () => void;
  readonly #now: () => number;
  #pauseMs: number;
  #writtenAt: number;
  #timer: NodeJS.Timeout;

  /**
   * `firstSeconds`: the first pause; each further one is twice as long. `mostSeconds`: the keep alive that the broker
   * uses.
   */
  constructor(
    firstSeconds: number,
    mostSeconds: number,
    ping: () => void,
    now: () => number = () => performance.now(),
  ) {
    this.#mostMs = mostSeconds * 1_000;
    this.#pauseMs = Math.min(firstSeconds * 1_000, this.#mostMs);
    this.#ping = ping;
    this.#now = now;
    this.#writtenAt = now();
    this.#timer = setTimeout(lookIfIdle, this.#pauseMs, this);
  }

  /** A packet was written, perhaps PINGREQ. The pause begins again. */
  noteWritten(): void {
    this.#writtenAt = this.#now();
  }

  look(): void {
    const leftMs = this.#writtenAt + this.#pauseMs - this.#now();
    if (leftMs > 1) {
      this.#timer = setTimeout(lookIfIdle, leftMs, this);
      return;
    }
    // The connection is idle, so earlier packets were answered.
    this.#pauseMs = Math.min(2 * this.#pauseMs, this.#mostMs);
    this.#timer = setTimeout(lookIfIdle, this.#pauseMs, this);
    this.#ping();
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

function lookIfIdle(pings: IdlePings): void {
  pings.look();
}
