/** SmallMap is a Map: any sequence of calls gives what a Map gives, in its order. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { SmallMap } from "../../src/core/small-map.ts";

const call = fc.oneof(
  fc.record({ do: fc.constant("set" as const), key: fc.integer({ min: 1, max: 4 }), value: fc.integer() }),
  fc.record({ do: fc.constant("delete" as const), key: fc.integer({ min: 1, max: 4 }) }),
  fc.record({ do: fc.constant("clear" as const) }),
);

test("any sequence of calls", () => {
  fc.assert(
    fc.property(fc.array(call, { maxLength: 40 }), (calls) => {
      const map = new Map<number, number>();
      const small = new SmallMap<number, number>();
      for (const each of calls) {
        if (each.do === "set") small.set(each.key, map.set(each.key, each.value).get(each.key) ?? 0);
        else if (each.do === "delete") expect(small.delete(each.key)).toBe(map.delete(each.key));
        else {
          map.clear();
          small.clear();
        }
        expect(small.size).toBe(map.size);
        expect([...small]).toEqual([...map]);
        expect([...small.keys()]).toEqual([...map.keys()]);
        expect([...small.values()]).toEqual([...map.values()]);
        for (let key = 0; key <= 5; key++) {
          expect(small.get(key)).toBe(map.get(key));
          expect(small.has(key)).toBe(map.has(key));
        }
      }
    }),
  );
});

test("entries may be deleted while it is iterated over", () => {
  const small = new SmallMap<number, string>();
  for (const key of [1, 2, 3]) small.set(key, "x");
  const seen: number[] = [];
  for (const [key] of small) {
    seen.push(key);
    small.delete(key);
  }
  expect(seen).toEqual([1, 2, 3]);
  expect(small.size).toBe(0);
});
