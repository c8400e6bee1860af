/**
 * A map that costs almost nothing while it is empty, and little with one entry. Each session has several tables, most
 * of them are nearly always empty, and an empty `Map` takes 200 octets. From the second entry on it is a `Map`.
 *
 * Entries are iterated in the order in which they were set. An entry that is set during an iteration may be left out.
 */
export class SmallMap<Key, Value> {
  /** The entry, while there is only one. */
  #only: readonly [Key, Value] | undefined = undefined;
  /** All entries, from the second on. */
  #many: Map<Key, Value> | undefined = undefined;

  get size(): number {
    if (this.#many) return this.#many.size;
    return this.#only ? 1 : 0;
  }

  get(key: Key): Value | undefined {
    if (this.#many) return this.#many.get(key);
    return this.#only && this.#only[0] === key ? this.#only[1] : undefined;
  }

  has(key: Key): boolean {
    return this.#many ? this.#many.has(key) : this.#only !== undefined && this.#only[0] === key;
  }

  set(key: Key, value: Value): this {
    if (this.#many) this.#many.set(key, value);
    else if (!this.#only || this.#only[0] === key) this.#only = [key, value];
    else {
      this.#many = new Map([this.#only, [key, value]]);
      this.#only = undefined;
    }
    return this;
  }

  delete(key: Key): boolean {
    if (this.#many) {
      const wasThere = this.#many.delete(key);
      if (this.#many.size === 0) this.#many = undefined;
      return wasThere;
    }
    if (!this.#only || this.#only[0] !== key) return false;
    this.#only = undefined;
    return true;
  }

  clear(): void {
    this.#only = undefined;
    this.#many = undefined;
  }

  [Symbol.iterator](): IterableIterator<readonly [Key, Value]> {
    if (this.#many) return this.#many.entries();
    return (this.#only ? [this.#only] : []).values();
  }

  keys(): IterableIterator<Key> {
    if (this.#many) return this.#many.keys();
    return (this.#only ? [this.#only[0]] : []).values();
  }

  values(): IterableIterator<Value> {
    if (this.#many) return this.#many.values();
    return (this.#only ? [this.#only[1]] : []).values();
  }
}
