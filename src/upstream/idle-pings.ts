/**
 * Sends PINGREQ only if nothing else was written, with growing pauses: for a line that is paid by the octet. The broker was told the
 * longest pause as keep alive, so it accepts the pauses. The caller checks that an answer comes.
 */
import { performance } from "node:perf_hooks";

export class IdlePings {
  readonly #mostMs: number;
  readonly #ping: () => void;
  readonly #now: () => number;
  #pauseMs: number;
  #writtenAt: number;
  #timer: NodeJS.Timeout;

  /** `firstSeconds`: the first pause, each is twice the one before; `mostSeconds`: the keep alive that counts at the broker. */
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

  /** Something is written, also a PINGREQ: the pause begins again. */
  noteWritten(): void {
    this.#writtenAt = this.#now();
  }

  look(): void {
    const leftMs = this.#writtenAt + this.#pauseMs - this.#now();
    if (leftMs > 1) {
      this.#timer = setTimeout(lookIfIdle, leftMs, this);
      return;
    }
    // The connection stands still, so what was asked before was answered.
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
