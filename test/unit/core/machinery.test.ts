import { expect, test } from "vitest";
import { Deadline, Deadlines } from "../../../src/core/deadlines.ts";
import { OncePerSecond, RatePerSecond } from "../../../src/core/rates.ts";
import { Registry } from "../../../src/core/state/topic-registry.ts";
import { Rng } from "../../simulation/rng.ts";

test("deadlines come up in order, whatever was set, moved and cleared", () => {
  const rng = new Rng(5);
  const deadlines = new Deadlines<Deadline<number, "x">>();
  const all = Array.from({ length: 200 }, (_, i) => new Deadline<number, "x">(i, "x"));
  const model = new Map<number, number>();
  for (let step = 0; step < 5_000; step++) {
    const deadline = rng.pick(all);
    if (rng.chance(0.3)) {
      deadlines.clear(deadline);
      model.delete(deadline.owner);
    } else {
      const at = rng.int(0, 500);
      deadlines.set(deadline, at);
      model.set(deadline.owner, at);
    }
    const earliest = model.size > 0 ? Math.min(...model.values()) : undefined;
    expect([deadlines.next(), deadlines.size]).toEqual([earliest, model.size]);
    if (rng.chance(0.05) && earliest !== undefined) {
      const due = deadlines.takeDue(earliest);
      expect(due && model.get(due.owner)).toBe(earliest);
      if (due) model.delete(due.owner);
    }
  }
});

test("a deadline is never early: fractions are rounded up", () => {
  const deadlines = new Deadlines<Deadline<number, "x">>();
  deadlines.set(new Deadline<number, "x">(1, "x"), 10.2);
  expect(deadlines.takeDue(10.9)).toBeUndefined();
  expect(deadlines.takeDue(11)?.owner).toBe(1);
});

test("once per second and key, and so many in total", () => {
  const once = new OncePerSecond(2);
  expect([once.allows("a", 0), once.allows("a", 999), once.allows("b", 999), once.allows("c", 999)]).toEqual([
    true,
    false,
    true,
    false,
  ]);
  expect([once.allows("a", 1_000), once.allows("b", 1_500), once.allows("b", 2_000)]).toEqual([true, false, true]);
  once.note("d", 2_100);
  expect([once.allows("d", 3_099), once.allows("d", 3_100)]).toEqual([false, true]);
});

test("a rate per second, in total and per key; what was refused does not count", () => {
  const rate = new RatePerSecond({ totalMax: 3, perKeyMax: 2 });
  expect(["a", "a", "a", "b", "b"].map((key) => rate.allows(key, 10))).toEqual([true, true, false, true, false]);
  expect(rate.allows("a", 1_000)).toBe(true);
  expect(new RatePerSecond({ totalMax: 0, perKeyMax: 0 }).allows("a", 0)).toBe(true);
});

test("topic ids: stable, distinct, never a predefined one or the octets of a short name, and then the table is full", () => {
  const registry = new Registry({
    start: 8_190,
    limit: 100,
    isPredefined: (id) => id === 1 || id === 3,
    isKept: false,
  });
  const ids = Array.from({ length: 100 }, (_, i) => registry.assign(`t${i}`)?.id);
  expect(ids.slice(0, 5)).toEqual([8_190, 8_191, 2, 4, 5]);
  expect(new Set(ids).size).toBe(100);
  expect(ids.every((id) => id !== undefined && id > 0 && id <= 0x1fff)).toBe(true);
  expect(registry.assign("one more")).toBeUndefined();
  expect(registry.assign("t7")?.id).toBe(ids[7]);
});
