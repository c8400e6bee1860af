/**
 * Work over all sessions, or over a long answer, in slices: between two of them the gateway serves its devices. A gateway may have a
 * million sessions, and reading one takes some microseconds.
 */
import { setImmediate } from "node:timers/promises";

/** The longest slice in milliseconds, plus the last few items. */
const sliceMs = 2;
/** Items between two looks at the clock. */
const lookEvery = 16;

/**
 * Calls `visit` with each item. Items may change between slices: the source decides what is seen then. Returns the milliseconds of work.
 */
export async function inSlices<T>(items: Iterable<T>, visit: (item: T) => void): Promise<number> {
  const iterator = items[Symbol.iterator]();
  let workedMs = 0;
  for (;;) {
    const began = performance.now();
    const isDone = oneSlice(iterator, visit, began);
    workedMs += performance.now() - began;
    if (isDone) return workedMs;
    await setImmediate();
  }
}

/** True: there are no more items. */
function oneSlice<T>(iterator: Iterator<T>, visit: (item: T) => void, began: number): boolean {
  for (let count = 1; ; count++) {
    const next = iterator.next();
    if (next.done) return true;
    visit(next.value);
    if (count % lookEvery === 0 && performance.now() - began >= sliceMs) return false;
  }
}
