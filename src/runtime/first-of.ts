/** The first `max` of many items in an order, without keeping the others. */
export class FirstOf<T> {
  readonly #max: number;
  readonly #compare: (a: T, b: T) => number;
  readonly #items: T[] = [];

  constructor(max: number, compare: (a: T, b: T) => number) {
    this.#max = max;
    this.#compare = compare;
  }

  /** In their order. */
  get items(): readonly T[] {
    return this.#items;
  }

  add(item: T): void {
    const items = this.#items;
    const last = items.at(-1);
    if (items.length >= this.#max && (last === undefined || this.#compare(item, last) >= 0)) return;
    items.splice(this.#placeOf(item), 0, item);
    if (items.length > this.#max) items.pop();
  }

  /** Behind all that are equal. */
  #placeOf(item: T): number {
    let from = 0;
    let to = this.#items.length;
    while (from < to) {
      const middle = (from + to) >>> 1;
      const other = this.#items[middle];
      if (other !== undefined && this.#compare(item, other) < 0) to = middle;
      else from = middle + 1;
    }
    return from;
  }
}
