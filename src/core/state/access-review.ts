/**
 * Which sessions are still to be checked after the access rules were changed. Sessions keep their rows while they are
 * parked and when they are needed again, so the rows are gone through.
 */
import { Deadline } from "../deadlines.ts";

export class AccessReview {
  /** When the next slice is checked. */
  readonly deadline: Deadline<"gateway", "review"> = new Deadline("gateway", "review");
  /** The next row, and the one behind the last. */
  #next = 0;
  #end = 0;

  get isOpen(): boolean {
    return this.#next < this.#end;
  }

  /** From the first row on, also if an earlier review has not ended. */
  begin(rows: number): void {
    this.#next = 0;
    this.#end = rows;
  }

  next(): number {
    return this.#next++;
  }

  isToCome(row: number): boolean {
    return row >= this.#next && row < this.#end;
  }
}
