/**
 * A flood of ClientHellos that are beyond `hellosPerSecondMax`: most of it is dropped by the kernel, by a filter on the socket, before
 * it fills the socket's buffer and costs the gateway anything. Which ones is chance, so who begins a handshake in the middle of it has the
 * share of the limit that he had before. Devices that are in are not touched. Where the compiled part is not there nothing is dropped so.
 */

/** Counts of ClientHellos without a cookie (`first`) and with one (`second`). */
export interface Hellos {
  readonly first: number;
  readonly second: number;
}

/** More ClientHellos than so many times the limit are a flood. So many times the limit are then passed. */
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
