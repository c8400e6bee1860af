/**
 * A first-in, first-out queue that is fast also with 100,000 entries. The `shift` of a large array moves all other
 * entries. The queue keeps no reference to an entry that was taken out.
 */
export class Queue<Value extends object> {
  #values: (Value | undefined)[] = [];
  /** The index of the first value. */
  #head = 0;

  get length(): number {
    return this.#values.length - this.#head;
  }

  get first(): Value | undefined {
    return this.#values[this.#head];
  }

  push(value: Value): void {
    this.#values.push(value);
  }

  /** Removes and returns the first value. */
  shift(): Value | undefined {
    const { first } = this;
    if (!first) return undefined;
    this.#values[this.#head++] = undefined;
    if (this.#head === this.#values.length) this.clear();
    else if (this.#head >= 32 && this.#head * 2 >= this.#values.length) {
      this.#values.copyWithin(0, this.#head);
      this.#values.length -= this.#head;
      this.#head = 0;
    }
    return first;
  }

  /** Removes this value, wherever it is. */
  remove(value: Value): void {
    const at = this.#values.indexOf(value, this.#head);
    if (at >= 0) this.#values.splice(at, 1);
  }

  clear(): void {
    this.#values.length = 0;
    this.#head = 0;
  }

  /** All values in order. The queue must not be changed during the iteration. */
  *[Symbol.iterator](): IterableIterator<Value> {
    for (let at = this.#head; at < this.#values.length; at++) {
      const value = this.#values[at];
      if (value) yield value;
    }
  }
}
