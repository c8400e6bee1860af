/**
 * A table of numbers by row, 0 where none was set. It grows by further pages of 16,384 numbers, and is never copied: for tables of a million
 * rows, the copies that growing left behind took 80 octets for each row of the process's memory.
 */

const pageBits = 14;
const pageLength = 1 << pageBits;
const inPage = pageLength - 1;
/** The first page begins with so many, because many tables stay small. */
const least = 16;

/** How each number is kept. */
type Page = Int32Array | Float64Array;

export class Numbers {
  readonly #pages: Page[];
  readonly #newPage: (length: number) => Page;

  /** `kind`: `Int32Array` for whole numbers of 32 bits. */
  constructor(kind: Int32ArrayConstructor | Float64ArrayConstructor) {
    this.#newPage = (length) => new kind(length);
    this.#pages = [new kind(least)];
  }

  get(row: number): number {
    const at = row & inPage;
    const page = this.#pageOf(row);
    return page && at < page.length ? (page[at] ?? 0) : 0;
  }

  /** `row`: a whole number from 0 on. Makes room for it. */
  set(row: number, number: number): void {
    const at = row & inPage;
    const page = this.#pageOf(row);
    if (page && at < page.length) page[at] = number;
    else {
      this.#reach(row);
      this.set(row, number);
    }
  }

  /** No access beyond the end of a table: V8 makes slower code where it has seen one. */
  #pageOf(row: number): Page | undefined {
    const page = row >>> pageBits;
    return page < this.#pages.length ? this.#pages[page] : undefined;
  }

  #reach(row: number): void {
    const [first] = this.#pages;
    if (first && first.length < pageLength) {
      const wanted = Math.max(row + 1, first.length + (first.length >> 1));
      const larger = this.#newPage(Math.min(wanted, pageLength));
      larger.set(first);
      this.#pages[0] = larger;
    }
    for (let page = this.#pages.length; page <= row >>> pageBits; page++) this.#pages[page] = this.#newPage(pageLength);
  }
}
