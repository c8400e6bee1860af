/** Values to which octets refer by a number. A value is kept as long as something refers to it. */
export class Interned<Value> {
  readonly #numbers = new Map<Value, number>();
  readonly #values: { value: Value; uses: number }[] = [];
  readonly #free: number[] = [];

  /** The number of values in use. */
  get size(): number {
    return this.#numbers.size;
  }

  /** Adds one reference to this value. Returns the value's number. */
  use(value: Value): number {
    const known = this.#numbers.get(value);
    const entry = known === undefined ? undefined : this.#values[known];
    if (known !== undefined && entry) {
      entry.uses++;
      return known;
    }
    const number = this.#free.pop() ?? this.#values.length;
    this.#values[number] = { value, uses: 1 };
    this.#numbers.set(value, number);
    return number;
  }

  get(number: number): Value | undefined {
    return this.#values[number]?.value;
  }

  /** Removes one reference to the value with this number. */
  release(number: number): void {
    const entry = this.#values[number];
    if (!entry || --entry.uses > 0) return;
    this.#numbers.delete(entry.value);
    delete this.#values[number];
    this.#free.push(number);
  }
}
