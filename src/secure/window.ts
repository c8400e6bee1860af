/** Which numbers of the last 64 came already: a record that comes twice is taken once. [RFC 6347 4.1.2.6] */

const width = 64;
const half = 32;

export class ReplayWindow {
  #top: number;
  /** Bit i: top - i came. */
  #low: number;
  /** Bit i: top - 32 - i came. */
  #high: number;

  /** `top`: all up to this number count as come. */
  constructor(top = -1) {
    this.#top = top;
    this.#low = -1;
    this.#high = -1;
  }

  /** The highest that came; -1: none. */
  get top(): number {
    return this.#top;
  }

  /** Asked before the record is opened; says nothing of whether it is authentic. */
  isFresh(seq: number): boolean {
    const back = this.#top - seq;
    if (back < 0) return true;
    if (back >= width) return false;
    return back < half ? (this.#low & (1 << back)) === 0 : (this.#high & (1 << (back - half))) === 0;
  }

  /** An authentic record came. Answers whether it is newer than every one before. */
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
