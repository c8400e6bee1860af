/** The trie against a matcher that looks at every filter. */
import * as fc from "fast-check";
import { expect, test } from "vitest";
import { FilterTrie } from "../../src/core/state/filter-trie.ts";
import { isTopicFilter, isTopicName, matches } from "../../src/wire/topic.ts";

const level = fc.constantFrom("a", "b", "", "$SYS", "$x");
const name = fc
  .array(level, { minLength: 1, maxLength: 4 })
  .map((levels) => levels.join("/"))
  .filter(isTopicName);
const filter = fc
  .tuple(
    fc.constantFrom("", "", "$share/g/", "$share/h/"),
    fc.array(fc.oneof(level, fc.constantFrom("+", "#")), { minLength: 1, maxLength: 4 }),
  )
  .map(([share, levels]) => share + levels.join("/"))
  .filter(isTopicFilter);

/** Adds and removals in any order. */
const changes = fc.array(fc.tuple(fc.boolean(), filter), { maxLength: 40 });

test("finds exactly the filters that match, each once, whatever was added and removed", () => {
  fc.assert(
    fc.property(changes, fc.array(name, { minLength: 1, maxLength: 8 }), (steps, names) => {
      const trie = new FilterTrie<{ readonly filter: string }>();
      const present = new Set<string>();
      for (const [adds, each] of steps) {
        if (adds && !present.has(each)) trie.add({ filter: each });
        const entry = trie.get(each);
        if (!adds && entry) trie.remove(entry);
        if (adds) present.add(each);
        else present.delete(each);
        trie.check((finding) => expect.fail(finding));
      }
      expect(trie.size).toBe(present.size);
      for (const topicName of names) {
        const found: string[] = [];
        trie.match(topicName, (entry) => found.push(entry.filter));
        expect(found.sort()).toEqual([...present].filter((each) => matches(each, topicName)).sort());
      }
    }),
    { numRuns: 2_000 },
  );
});
