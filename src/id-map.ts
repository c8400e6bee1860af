/**
 * A map whose keys are ids: packet ids, MsgIds, topic ids. Entries are added and removed with every message, in nearly the order in which
 * they were added. Like `SmallMap` it needs almost no memory while it is empty, and little with one entry.
 *
 * Why not `Map`: when many of its entries were deleted, it moves the others into a new table, and the old table refers to the new one. Once
 * an old table has survived long enough to be left to the major garbage collection, it keeps each later one alive, with everything in it.
 * With 1,000 messages in flight, every sixth allocated octet was kept and copied. This map reuses the place of a
 * deleted entry, and nothing refers to a deleted entry.
 *
 * Iteration is in the order in which the entries were set. An entry that is deleted during an iteration does not appear; an entry that is
 * set during it does.
 */
export class IdMap<Value> {
  /** The entry, while there is only one; the value `undefined` is not allowed. */
  #onlyId = 0;
  #only: Value | undefined = undefined;
  /** All entries, from the second on. */
  #many: IdTable<Value> | undefined = undefined;

  get size(): number {
    if (this.#many) return this.#many.size;
    return this.#only === undefined ? 0 : 1;
  }

  get(id: number): Value | undefined {
    if (this.#many) return this.#many.get(id);
    return this.#onlyId === id ? this.#only : undefined;
  }

  has(id: number): boolean {
    return this.get(id) !== undefined;
  }

  set(id: number, value: Value & NonNullable<unknown>): this {
    if (this.#many) this.#many.set(id, value);
    else if (this.#only === undefined || this.#onlyId === id) {
      this.#onlyId = id;
      this.#only = value;
    } else {
      this.#many = new IdTable();
      this.#many.set(this.#onlyId, this.#only);
      this.#many.set(id, value);
      this.#only = undefined;
    }
    return this;
  }

  delete(id: number): boolean {
    return this.take(id) !== undefined;
  }

  /** Deletes the entry, and returns its value. */
  take(id: number): Value | undefined {
    if (this.#many) {
      const value = this.#many.take(id);
      if (this.#many.size === 0) this.#many = undefined;
      return value;
    }
    if (this.#onlyId !== id) return undefined;
    const value = this.#only;
    this.#only = undefined;
    return value;
  }

  clear(): void {
    this.#only = undefined;
    this.#many = undefined;
  }

  *[Symbol.iterator](): IterableIterator<readonly [number, Value]> {
    if (this.#many) yield* this.#many.entries();
    else if (this.#only !== undefined) yield [this.#onlyId, this.#only];
  }

  *keys(): IterableIterator<number> {
    for (const [id] of this) yield id;
  }

  *values(): IterableIterator<Value> {
    for (const [, value] of this) yield value;
  }
}

/** Stands in place of a slot if there is none. */
const none = -1;

/** Offsets in the links of a slot. The id is at this one. */
const idAt = 0;
/** The next slot of the same bucket. */
const besideAt = 1;
/** The slots that were set before and after this one; of a free slot, `newerAt` is the next free one. */
const olderAt = 2;
const newerAt = 3;
const linksPerSlot = 4;

const capacityAtFirst = 4;

/** The slots of entries. Each is found by its id, and linked with the slots that were set before and after it. */
class IdTable<Value> {
  size = 0;
  /** Slots, and as many buckets: a power of two. */
  #capacity = 0;
  #links: number[] = [];
  #values: (Value | undefined)[] = [];
  /**
   * The number of the set operation that stored each entry. An iteration whose place was deleted continues after it.
   */
  #orders: number[] = [];
  /** The first slot of each bucket. Ids are used one after the other, so their last bits distribute them well. */
  #buckets: number[] = [];
  #free = none;
  #oldest = none;
  #newest = none;
  #sets = 0;

  constructor() {
    this.#layOut(capacityAtFirst);
  }

  get(id: number): Value | undefined {
    const slot = this.#find(id);
    return slot === none ? undefined : this.#values[slot];
  }

  set(id: number, value: Value): void {
    const slot = this.#find(id);
    if (slot !== none) {
      this.#values[slot] = value;
      return;
    }
    if (this.#free === none) this.#grow();
    this.#append(id, value, this.#sets++);
  }

  take(id: number): Value | undefined {
    const bucket = id & (this.#capacity - 1);
    let before = none;
    let slot = this.#buckets[bucket] ?? none;
    while (slot !== none && this.#link(slot, idAt) !== id) {
      before = slot;
      slot = this.#link(slot, besideAt);
    }
    if (slot === none) return undefined;
    const beside = this.#link(slot, besideAt);
    if (before === none) this.#buckets[bucket] = beside;
    else this.#setLink(before, besideAt, beside);
    const older = this.#link(slot, olderAt);
    const newer = this.#link(slot, newerAt);
    if (older === none) this.#oldest = newer;
    else this.#setLink(older, newerAt, newer);
    if (newer === none) this.#newest = older;
    else this.#setLink(newer, olderAt, older);
    const value = this.#values[slot];
    this.#values[slot] = undefined;
    this.#orders[slot] = none;
    this.#setLink(slot, newerAt, this.#free);
    this.#free = slot;
    this.size--;
    return value;
  }

  *entries(): IterableIterator<readonly [number, Value]> {
    let slot = this.#oldest;
    while (slot !== none) {
      const order = this.#orders[slot] ?? none;
      yield [this.#link(slot, idAt), this.#values[slot] as Value];
      slot = this.#orders[slot] === order ? this.#link(slot, newerAt) : this.#firstBehind(order);
    }
  }

  #firstBehind(order: number): number {
    let slot = this.#oldest;
    while (slot !== none && (this.#orders[slot] ?? none) <= order) slot = this.#link(slot, newerAt);
    return slot;
  }

  #find(id: number): number {
    let slot = this.#buckets[id & (this.#capacity - 1)] ?? none;
    while (slot !== none && this.#link(slot, idAt) !== id) slot = this.#link(slot, besideAt);
    return slot;
  }

  #append(id: number, value: Value, order: number): void {
    const slot = this.#free;
    this.#free = this.#link(slot, newerAt);
    const bucket = id & (this.#capacity - 1);
    this.#setLink(slot, idAt, id);
    this.#setLink(slot, besideAt, this.#buckets[bucket] ?? none);
    this.#setLink(slot, olderAt, this.#newest);
    this.#setLink(slot, newerAt, none);
    this.#buckets[bucket] = slot;
    if (this.#newest === none) this.#oldest = slot;
    else this.#setLink(this.#newest, newerAt, slot);
    this.#newest = slot;
    this.#values[slot] = value;
    this.#orders[slot] = order;
    this.size++;
  }

  #grow(): void {
    const entries = [...this.entries()];
    const orders = entries.map(([id]) => this.#orders[this.#find(id)] ?? none);
    this.#layOut(this.#capacity * 2);
    for (const [at, [id, value]] of entries.entries()) this.#append(id, value, orders[at] ?? none);
  }

  /** Makes so many slots, all of them free. */
  #layOut(capacity: number): void {
    this.#capacity = capacity;
    this.#links = new Array<number>(capacity * linksPerSlot).fill(none);
    this.#values = new Array<Value | undefined>(capacity).fill(undefined);
    this.#orders = new Array<number>(capacity).fill(none);
    this.#buckets = new Array<number>(capacity).fill(none);
    for (let slot = 0; slot < capacity; slot++) this.#setLink(slot, newerAt, slot + 1 < capacity ? slot + 1 : none);
    this.#free = 0;
    this.#oldest = none;
    this.#newest = none;
    this.size = 0;
  }

  #link(slot: number, which: number): number {
    return this.#links[slot * linksPerSlot + which] ?? none;
  }

  #setLink(slot: number, which: number, to: number): void {
    this.#links[slot * linksPerSlot + which] = to;
  }
}
