/** IdMap is a Map of ids: any sequence of calls gives what a Map gives, in its order, also during an iteration. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { IdMap } from "../../src/id-map.ts";

const id = fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 65_535 }));
const set = fc.record({ do: fc.constant("set" as const), id, value: fc.integer() });
const deletion = fc.record({ do: fc.constant("delete" as const), id });
const change = fc.oneof(set, deletion);
const clear = fc.record({ do: fc.constant("clear" as const) });
const call = fc.oneof({ weight: 30, arbitrary: change }, { weight: 1, arbitrary: clear });

function apply(map: Map<number, number> | IdMap<number>, each: typeof call extends fc.Arbitrary<infer T> ? T : never) {
  if (each.do === "clear") return map.clear();
  if (each.do === "delete") return map.delete(each.id);
  map.set(each.id, each.value);
}

test("any sequence of calls", () => {
  fc.assert(
    fc.property(fc.array(call, { maxLength: 60, size: "max" }), (calls) => {
      const map = new Map<number, number>();
      const ids = new IdMap<number>();
      for (const each of calls) {
        expect(apply(ids, each)).toBe(apply(map, each));
        expect(ids.size).toBe(map.size);
        expect([...ids]).toEqual([...map]);
        expect([...ids.keys()]).toEqual([...map.keys()]);
        expect([...ids.values()]).toEqual([...map.values()]);
        for (const key of [...map.keys(), 0, 5]) {
          expect(ids.get(key)).toBe(map.get(key));
          expect(ids.has(key)).toBe(map.has(key));
        }
      }
    }),
  );
});

test("what is set, deleted and set again while it is iterated over", () => {
  const begin = fc.uniqueArray(id, { minLength: 2, maxLength: 40 });
  // What is not the last one: an iteration over nothing is over.
  const meanwhile = fc.array(fc.array(change, { maxLength: 6 }), { maxLength: 60 });
  fc.assert(
    fc.property(begin, meanwhile, (first, steps) => {
      const map = new Map<number, number>([[-1, 0]]);
      const ids = new IdMap<number>().set(-1, 0);
      for (const key of first) {
        map.set(key, key);
        ids.set(key, key);
      }
      const seen = [map, ids].map((each) => {
        const keys: number[] = [];
        for (const [key] of each) {
          keys.push(key);
          for (const step of steps[keys.length] ?? []) apply(each, step);
          if (keys.length > 200) break;
        }
        return keys;
      });
      expect(seen[1]).toEqual(seen[0]);
      expect([...ids]).toEqual([...map]);
    }),
  );
});

test("one that comes for each one that goes", () => {
  const ids = new IdMap<number>();
  for (let id = 0; id < 1_000; id++) ids.set(id, id);
  let wrong = 0;
  for (let id = 1_000; id < 65_536; id++) {
    if (ids.take(id - 1_000) !== id - 1_000) wrong++;
    ids.set(id, id);
  }
  expect(wrong).toBe(0);
  expect(ids.size).toBe(1_000);
});
