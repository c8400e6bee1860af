/**
 * During a flood of ClientHellos beyond `hellosPerSecondMax`, the kernel drops most of them by a filter on the socket,
 * before they fill the socket's buffer and cost the gateway anything. The choice is random, so a client that begins a
 * handshake during a flood has the same share of the limit as before. Devices with a context are not affected. Without
 * the compiled part nothing is dropped in this way.
 */

/** Counts of ClientHellos without a cookie (`first`) and with one (`second`). */
export interface Hellos {
  readonly first: number;
  readonly second: number;
}

/**
 * If there are more ClientHellos than this multiple of the limit, it is a flood. Then this multiple of the limit is
 * passed.
 */
const letInTimes = 2;

export class HelloThinning {
  readonly #perSecondMax: number;
  #shares: Hellos = { first: 1, second: 1 };
  /** The number that the kernel has dropped, estimated from those that it passed. */
  dropped = 0;

  constructor(perSecondMax: number) {
    this.#perSecondMax = perSecondMax;
  }

  get isOn(): boolean {
    return this.#shares.first < 1 || this.#shares.second < 1;
  }

  /** `came`: ClientHellos that arrived during the last `ms`. @returns the shares to pass from now on, 0 to 1. */
  judge(came: Hellos, ms: number): Hellos {
    this.#shares = { first: this.#judge("first", came, ms), second: this.#judge("second", came, ms) };
    return this.#shares;
  }

  /** The kernel cannot drop any, so all are passed. */
  cannot(): void {
    this.#shares = { first: 1, second: 1 };
  }

  #judge(kind: keyof Hellos, came: Hellos, ms: number): number {
    const before = this.#shares[kind];
    const all = came[kind] / before;
    this.dropped += Math.round(all - came[kind]);
    const wanted = letInTimes * this.#perSecondMax * (ms / 1_000);
    return all <= wanted ? 1 : wanted / all;
  }
}
