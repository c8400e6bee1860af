/**
 * When is something that a client does not answer repeated enough for others to go? After a whole round; in a wake-up, when
 * the client asks for the second time; and after so many copies as three rounds have, after each one more. Of a REGISTER one
 * round is enough: the client may have been told the id before, and have no code for it.
 */
export class Repeated {
  readonly #perRound: number;
  /** Copies of each message ever sent, by a name for it. */
  readonly #total = new Map<string, number>();

  readonly #keptBack: number;

  /** `perRound`: the first copy and N_retry more. `keptBack`: of those, what the gateway may count and never have sent. */
  constructor(perRound: number, keptBack = 0) {
    this.#perRound = perRound;
    this.#keptBack = keptBack;
  }

  /** What was sent last, and how often in a row, for any address of the client. */
  #last = "";
  #inRow = 0;

  sent(what: string): void {
    this.#total.set(what, (this.#total.get(what) ?? 0) + 1);
    this.#inRow = what === this.#last ? this.#inRow + 1 : 1;
    this.#last = what;
  }

  /** Asked before the next is noted. */
  isEnough(what: string, isAwake: boolean): boolean {
    const rounds = /^r/i.test(what) ? 1 : 3;
    const isOld = (this.#total.get(what) ?? 0) >= rounds * this.#perRound - this.#keptBack;
    const needed = (isOld ? 1 : isAwake ? 2 : this.#perRound) - this.#keptBack;
    return (what === this.#last ? this.#inRow : 0) >= Math.max(1, needed);
  }
}
