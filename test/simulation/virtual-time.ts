/** Virtual time: everything that will happen, in order of its time; ties in order of planning, so a run replays. */
import type { Instant } from "../../src/core/types.ts";
import type { Clock } from "../../src/runtime/clock.ts";

interface Planned {
  readonly at: Instant;
  readonly order: number;
  readonly what: () => void;
}

export class VirtualTime {
  #now: Instant = 0;
  #order = 0;
  readonly #heap: Planned[] = [];

  now(): Instant {
    return this.#now;
  }

  plan(inMs: number, what: () => void): void {
    const heap = this.#heap;
    const item = { at: this.#now + Math.max(0, inMs), order: this.#order++, what };
    let i = heap.push(item) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(item, heap[parent])) break;
      heap[i] = heap[parent] as Planned;
      i = parent;
    }
    heap[i] = item;
  }

  /** Runs until `until`, one happening after the other. */
  runUntil(until: Instant, afterEach: () => void = () => {}): void {
    for (let next = this.#heap[0]; next && next.at <= until; next = this.#heap[0]) {
      this.#pop();
      this.#now = next.at;
      next.what();
      afterEach();
    }
    this.#now = until;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (!last || heap.length === 0) return;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && before(heap[child + 1] as Planned, heap[child])) child++;
      if (!before(heap[child] as Planned, last)) break;
      heap[i] = heap[child] as Planned;
      i = child;
    }
    heap[i] = last;
  }
}

function before(a: Planned, b: Planned | undefined): boolean {
  return b === undefined || a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** A clock of one gateway run: after `stop` (a crash) it calls nothing. */
export class VirtualClock implements Clock {
  readonly #time: Pick<VirtualTime, "now" | "plan">;
  #generation = 0;
  #isStopped = false;

  constructor(time: Pick<VirtualTime, "now" | "plan">) {
    this.#time = time;
  }

  now(): Instant {
    return this.#time.now();
  }

  wakeAt(at: Instant | undefined, call: () => void): void {
    const generation = ++this.#generation;
    if (at === undefined) return;
    this.#time.plan(at - this.#time.now(), () => {
      if (generation === this.#generation) call();
    });
  }

  afterReading(call: () => void): void {
    this.#time.plan(0, () => {
      if (!this.#isStopped) call();
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#generation++;
  }
}
