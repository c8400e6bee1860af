/**
 * All deadlines of the gateway. A deadline has an owner and a name, and costs nothing while it waits. Deadlines that
 * are due in the same millisecond share a slot, a heap contains only the slots, and a cancelled deadline leaves nothing
 * behind.
 *
 * The silence of a client is checked only when its deadline is due (session/client-life.ts), so a datagram does not
 * move a deadline.
 */
import type { Found } from "./assert.ts";
import type { Instant } from "./types.ts";

export class Deadline<Owner, Name extends string> {
  readonly owner: Owner;
  readonly name: Name;
  /** Undefined while not armed. Set by `Deadlines` only. */
  at: Instant | undefined = undefined;
  /** The position in the slot. */
  index = 0;

  constructor(owner: Owner, name: Name) {
    this.owner = owner;
    this.name = name;
  }
}

type AnyDeadline = Deadline<unknown, string>;

export class Deadlines<D extends AnyDeadline> {
  readonly #slots = new Map<Instant, D[]>();
  /** Binary heap of slot times. The time of an emptied slot stays in the heap until it is due. */
  readonly #heap: Instant[] = [];
  #armed = 0;

  /** The number of armed deadlines. */
  get size(): number {
    return this.#armed;
  }

  /** Arms or moves a deadline. The time is rounded up to whole milliseconds, so a deadline is never early. */
  set(deadline: D, at: Instant): void {
    const slotAt = Math.ceil(at);
    if (deadline.at === slotAt) return;
    this.clear(deadline);
    let slot = this.#slots.get(slotAt);
    if (!slot) {
      slot = [];
      this.#slots.set(slotAt, slot);
      push(this.#heap, slotAt);
    }
    deadline.at = slotAt;
    deadline.index = slot.push(deadline) - 1;
    this.#armed++;
  }

  clear(deadline: D): void {
    if (deadline.at === undefined) return;
    const slot = this.#slots.get(deadline.at);
    deadline.at = undefined;
    this.#armed--;
    const last = slot?.pop();
    if (!slot || !last || last === deadline) return;
    slot[deadline.index] = last;
    last.index = deadline.index;
  }

  /** The time of the earliest slot that has a deadline. */
  next(): Instant | undefined {
    for (let at = this.#heap[0]; at !== undefined; at = this.#heap[0]) {
      if (this.#slots.get(at)?.length) return at;
      this.#slots.delete(at);
      pop(this.#heap);
    }
    return undefined;
  }

  /** Takes one deadline that is due. It is not armed any more. */
  takeDue(now: Instant): D | undefined {
    const at = this.next();
    if (at === undefined || at > now) return undefined;
    const deadline = this.#slots.get(at)?.pop();
    if (!deadline) return undefined;
    deadline.at = undefined;
    this.#armed--;
    return deadline;
  }

  /** Calls `each` with every armed deadline, and checks that it is in the right slot. For tests. */
  check(each: (deadline: D) => void, found: Found): void {
    let armed = 0;
    for (const [at, slot] of this.#slots) {
      armed += slot.length;
      if (slot.length > 0 && (this.#heap[0] ?? Number.POSITIVE_INFINITY) > at)
        found(`the deadlines of ${at} come too late: the heap begins with ${this.#heap[0]}`);
      slot.forEach((deadline, index) => {
        if (deadline.at !== at || deadline.index !== index)
          found(`a deadline "${deadline.name}" stands at ${at}, and says that it stands at ${deadline.at}`);
        each(deadline);
      });
    }
    if (armed !== this.#armed) found(`${armed} deadlines are armed, ${this.#armed} are counted`);
  }
}

function push(heap: Instant[], value: Instant): void {
  let i = heap.push(value) - 1;
  while (i > 0) {
    const parent = (i - 1) >> 1;
    const above = heap[parent] as Instant;
    if (above <= value) break;
    heap[i] = above;
    i = parent;
  }
  heap[i] = value;
}

function pop(heap: Instant[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let i = 0;
  for (;;) {
    let child = 2 * i + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && (heap[child + 1] as Instant) < (heap[child] as Instant)) child++;
    if ((heap[child] as Instant) >= last) break;
    heap[i] = heap[child] as Instant;
    i = child;
  }
  heap[i] = last;
}
