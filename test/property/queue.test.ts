/** Queue is an array of which the first is taken. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { Queue } from "../../src/core/queue.ts";

const call = fc.oneof(
  { weight: 6, arbitrary: fc.constant("push" as const) },
  { weight: 5, arbitrary: fc.constant("shift" as const) },
  { weight: 1, arbitrary: fc.nat({ max: 200 }) },
);

test("any sequence of calls", () => {
  fc.assert(
    fc.property(fc.array(call, { maxLength: 200, size: "max" }), (calls) => {
      const array: { n: number }[] = [];
      const queue = new Queue<{ n: number }>();
      for (const [n, each] of calls.entries()) {
        if (each === "push") {
          array.push({ n });
          queue.push(array.at(-1) as { n: number });
        } else if (each === "shift") expect(queue.shift()).toBe(array.shift());
        else {
          const at = each % (array.length + 1);
          const [taken] = at < array.length ? array.splice(at, 1) : [];
          queue.remove(taken ?? { n: -1 });
        }
        expect(queue.first).toBe(array[0]);
        expect(queue.length).toBe(array.length);
      }
      expect([...queue]).toEqual(array);
    }),
  );
});
