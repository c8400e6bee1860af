/** Packets that died together wait, also while another group is searched: with all of them, whatever is sent dies as well. */
import { expect, test } from "vitest";
import { DeadGroups } from "../../../src/core/state/dead-groups.ts";
import { SuspectsBench } from "../../helpers/suspects-bench.ts";

test("where several groups have a forbidden packet, none of them goes along with the others while another one is searched", () => {
  const bench = new SuspectsBench();
  const names = Array.from("abcdefghijklmnop", (client) => `${client}1`);
  const forbidden = new Set(["c1", "g1", "k1"]);
  bench.add(...names);
  bench.suspectAll();
  const dead: string[][] = [];
  let died = 0;
  bench.up();
  const goodOnes = () => [...bench.lines.values()].flat().filter(({ name }) => !forbidden.has(name));
  for (let i = 0; i < 200 && goodOnes().length > 0; i++) {
    if (bench.outside.length === 0) bench.send();
    const sent = bench.outside.map(({ name }) => name);
    // What died together, and of which nothing was answered or died alone since, is not sent together again with more beside it.
    for (const group of dead) expect(group.every((name) => sent.includes(name))).toBe(false);
    const culprit = sent.find((name) => forbidden.has(name));
    if (culprit === undefined) {
      bench.now += 1_000;
      if (sent.length > 0) bench.answer(...sent);
      continue;
    }
    died++;
    if (sent.length > 1) dead.push(sent);
    else dead.splice(0, dead.length, ...dead.filter((group) => !group.includes(culprit)));
    bench.down();
    bench.up();
  }
  expect(goodOnes()).toEqual([]);
  expect(died).toBeGreaterThan(5);
});

test("a smaller group replaces the larger ones that contain it; who died alone explains its groups; who was answered leaves them", () => {
  const groups = new DeadGroups<string>();
  groups.died(new Set(["a", "b", "c", "d"]));
  groups.died(new Set(["e", "f"]));
  groups.died(new Set(["a", "b"]));
  expect(groups.size).toBe(2);
  expect(["a", "c", "e"].map((each) => groups.has(each))).toEqual([true, false, true]);
  expect(groups.ofOneGroup(["b", "f", "x"])).toEqual(["f"]); // the older group
  expect(groups.ofOneGroup(["b", "x"])).toEqual(["b"]);
  expect(groups.ofOneGroup(["x"])).toEqual(["x"]);
  groups.acquitted("a");
  expect(groups.has("b")).toBe(true);
  groups.acquitted("b");
  groups.explained("e");
  expect(groups.size).toBe(0);
  groups.died(new Set());
  expect(groups.size).toBe(0);
});

test("of many groups the oldest is forgotten", () => {
  const groups = new DeadGroups<number>();
  for (let i = 0; i < 20; i++) groups.died(new Set([i]));
  expect(groups.size).toBe(8);
  expect([groups.has(11), groups.has(12)]).toEqual([false, true]);
});
