/** The index of topic filters against a matcher that looks at every filter. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { HashRows, noRow } from "../../src/core/hash-rows.ts";
import { FilterIndex, type Rests } from "../../src/core/state/filter-index.ts";
import { isTopicFilter, isTopicName, matches } from "../../src/wire/topic.ts";
import { cases } from "../helpers/cases.ts";

const level = fc.constantFrom("a", "b", "", "$SYS", "$x", "ä", "😀");
const name = fc
  .tuple(
    fc.constantFrom("", "", "", "$share/g/"),
    fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join("/")),
  )
  .map(([share, rest]) => share + rest)
  .filter(isTopicName);
const filter = fc
  .tuple(
    fc.constantFrom("", "", "", "$share/g/", "$share/h/"),
    fc.array(fc.oneof(level, fc.constantFrom("+", "#")), { minLength: 1, maxLength: 4 }),
  )
  .map(([share, levels]) => share + levels.join("/"))
  .filter(isTopicFilter);

/** Adds and removals in any order. */
const changes = fc.array(fc.tuple(fc.boolean(), filter), { maxLength: 60 });

test.each([
  ["each shape by itself", 64],
  ["one shape by itself, the others by the tree", 1],
  ["all shapes by the tree", 0],
])(
  "finds exactly the filters that match, each once, whatever was added and removed: %s [MQTT-3.1.1 4.7]",
  (_, shapesMax) => {
    fc.assert(
      fc.property(
        fc.integer(),
        changes,
        fc.array(name, { minLength: 1, maxLength: 8 }),
        fc.array(filter, { maxLength: 4 }),
        (seed, steps, names, asked) => {
          const index = new FilterIndex<{ readonly filter: string }>(seed, shapesMax);
          const present = new Set<string>();
          // Some rest: three owners have them, and a number stands for an owner.
          const ownerOf = (each: string) => each.length % 3;
          const rests: Rests<{ readonly filter: string }> = {
            has: (number, each) => present.has(each) && ownerOf(each) === number,
            filtersOf: (number) => [...present].filter((each) => ownerOf(each) === number),
            make: (each) => ({ filter: each }),
            woken: () => undefined,
          };
          for (const [at, [adds, each]] of steps.entries()) {
            if (adds && !present.has(each)) index.add({ filter: each });
            const entry = index.get(each);
            if (!adds && entry) index.remove(entry);
            if (adds) present.add(each);
            else present.delete(each);
            const chosen = at % 3 === 0 ? index.get([...present][at % present.size] ?? "") : undefined;
            if (chosen) index.rest(chosen, ownerOf(chosen.filter), rests);
            if (at % 5 === 4) index.wake(each, ownerOf(each));
            if (at % 7 === 3) index.overlaps(each);
            if (at % 20 === 17) index.forgetOverlaps();
            index.check((finding) => expect.fail(finding));
          }
          expect(index.size).toBe(present.size);
          expect([...index.filters()].sort()).toEqual([...present].sort());
          expect([...index.stepByStep()].sort()).toEqual([...present].sort());
          expect([...index.each()].map((entry) => entry.filter).sort()).toEqual([...present].sort());
          for (const each of present) expect([index.has(each), index.look(each)?.filter]).toEqual([true, each]);
          for (const topicName of names) {
            const found: string[] = [];
            index.match(topicName, (entry) => found.push(entry.filter));
            expect(found.sort()).toEqual([...present].filter((each) => matches(each, topicName)).sort());
          }
          expect([...index.all()].map((entry) => entry.filter).sort()).toEqual([...present].sort());
          for (const topicName of names) {
            const found: string[] = [];
            index.match(topicName, (entry) => found.push(entry.filter));
            expect(found.sort()).toEqual([...present].filter((each) => matches(each, topicName)).sort());
          }
          for (const each of asked) {
            const both = names.some(
              (topicName) =>
                matches(each, topicName) && [...present].some((other) => other !== each && matches(other, topicName)),
            );
            if (both) expect(index.overlaps(each)).toBe(true);
          }
        },
      ),
      { numRuns: cases(1_500) },
    );
  },
);

test("filters and names of more levels than a shape has are found too", () => {
  const deep = (length: number) => Array.from({ length }, (_, i) => `l${i % 3}`).join("/");
  const filters = [
    deep(40),
    `${deep(35)}/+/${deep(4)}`,
    `${deep(33)}/#`,
    `${deep(29)}/#`,
    `${deep(30)}/#`,
    deep(300),
    `+/${deep(100)}/#`,
  ];
  const names = [
    deep(40),
    deep(300),
    `${deep(35)}/x/${deep(4)}`,
    `x/${deep(100)}`,
    deep(29),
    deep(33),
    `${deep(28)}/y`,
  ];
  const index = new FilterIndex<{ readonly filter: string }>(7);
  for (const each of filters) index.add({ filter: each });
  for (const topicName of names) {
    const found: string[] = [];
    index.match(topicName, (entry) => found.push(entry.filter));
    expect(found.sort()).toEqual(filters.filter((each) => matches(each, topicName)).sort());
  }
  for (const entry of [...index.all()]) index.remove(entry);
  index.check((finding) => expect.fail(finding));
  expect(index.size).toBe(0);
});

test("two filters with the same hash are two: what is found is compared as a whole", () => {
  const texts = ["ku988", "k1ah86"]; // FNV-1a makes the same of them if it begins with 0
  const index = new FilterIndex<{ readonly filter: string }>(0);
  for (const text of texts) index.add({ filter: text });
  for (const text of texts) {
    const found: string[] = [];
    index.match(text, (entry) => found.push(entry.filter));
    expect(found).toEqual([text]);
    expect(index.get(text)?.filter).toBe(text);
  }
  for (const text of texts) {
    const entry = index.get(text);
    if (entry) index.remove(entry);
    index.check((finding) => expect.fail(finding));
  }
  expect(index.size).toBe(0);
});

test("rows are found by their hashes, and their numbers are used again", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.boolean(), fc.integer({ min: -4, max: 40 })), { maxLength: 300 }), (steps) => {
      const rows = new HashRows();
      const kept = new Map<number, number>();
      let most = 0;
      for (const [adds, hash] of steps) {
        if (adds) kept.set(rows.add(hash), hash);
        else {
          const row = rows.first(hash);
          expect(row === noRow).toBe(![...kept.values()].includes(hash));
          if (row !== noRow) {
            rows.remove(row);
            kept.delete(row);
          }
        }
        most = Math.max(most, kept.size);
        rows.check((finding) => expect.fail(finding));
      }
      expect([...rows.rows()].sort((a, b) => a - b)).toEqual([...kept.keys()].sort((a, b) => a - b));
      expect(rows.end).toBeLessThanOrEqual(most);
      for (const hash of new Set(kept.values())) {
        const found: number[] = [];
        for (let row = rows.first(hash); row !== noRow; row = rows.after(row)) found.push(row);
        expect(found.sort((a, b) => a - b)).toEqual(
          [...kept]
            .filter(([, each]) => each === hash)
            .map(([row]) => row)
            .sort((a, b) => a - b),
        );
      }
    }),
    { numRuns: cases(500) },
  );
});
