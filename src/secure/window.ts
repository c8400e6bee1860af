/**
 * Remembers which of the last 64 numbers were received, so that a repeated record is accepted once. [RFC 6347 4.1.2.6]
 */

const width = 64;
const half = 32;

export class ReplayWindow {
  #top: number;
  /** Bit i: number top - i was received. */
  #low: number;
  /** Bit i: number top - 32 - i was received. */
  #high: number;

  /** `top`: all numbers up to this one count as received. */
  constructor(top = -1) {
    this.#top = top;
    this.#low = -1;
    this.#high = -1;
  }

  /** The highest number that was received; -1: none. */
  get top(): number {
    return this.#top;
  }

  /** Called before the record is decrypted, so it does not prove that the record is authentic. */
  isFresh(seq: number): boolean {
    const back = this.#top - seq;
    if (back < 0) return true;
    if (back >= width) return false;
    return back < half ? (this.#low & (1 << back)) === 0 : (this.#high & (1 << (back - half))) === 0;
  }

  /** Notes an authentic record. True: its number is the highest so far. */
  take(seq: number): boolean {
    const ahead = seq - this.#top;
    if (ahead <= 0) {
      const back = -ahead;
      if (back < half) this.#low |= 1 << back;
      else if (back < width) this.#high |= 1 << (back - half);
      return false;
    }
    if (ahead >= width) this.#low = this.#high = 0;
    else if (ahead >= half) {
      this.#high = ahead === half ? this.#low : this.#low << (ahead - half);
      this.#low = 0;
    } else {
      this.#high = (this.#high << ahead) | (this.#low >>> (half - ahead));
      this.#low <<= ahead;
    }
    this.#low |= 1;
    this.#top = seq;
    return true;
  }
}
