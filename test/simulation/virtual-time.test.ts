import { expect, test } from "vitest";
import { CrashPoint } from "./crash.ts";
import { VirtualClock, VirtualTime } from "./virtual-time.ts";

test("what is planned happens in order of time, ties in order of planning", () => {
  const time = new VirtualTime();
  const seen: string[] = [];
  time.plan(20, () => seen.push("c"));
  time.plan(10, () => {
    seen.push("a");
    time.plan(0, () => seen.push("a2"));
  });
  time.plan(10, () => seen.push("b"));
  time.runUntil(15);
  expect(seen).toEqual(["a", "b", "a2"]);
  time.runUntil(20);
  expect(seen).toEqual(["a", "b", "a2", "c"]);
  expect(time.now()).toBe(20);
});

test("a stopped clock wakes nobody", () => {
  const time = new VirtualTime();
  const clock = new VirtualClock(time);
  let woken = 0;
  clock.wakeAt(5, () => woken++);
  clock.wakeAt(7, () => woken++);
  time.runUntil(10);
  expect(woken).toBe(1);
  clock.wakeAt(20, () => woken++);
  clock.stop();
  time.runUntil(30);
  expect(woken).toBe(1);
});

test("after the crash point nothing passes", () => {
  let crashed = 0;
  const point = new CrashPoint(2, () => crashed++);
  expect([point.pass(), point.pass(), point.pass(), point.pass()]).toEqual([true, true, false, false]);
  expect(crashed).toBe(1);
});
