import { expect, test } from "vitest";
import { BackOff } from "../../../src/upstream/back-off.ts";

const seconds = (backOff: BackOff, wasAccepted: boolean) => backOff.next(wasAccepted) / 1_000;

test("the pause doubles up to the maximum, and nobody returns in its lower half", () => {
  const longest = new BackOff({ minSeconds: 1, maxSeconds: 60 }, () => 1);
  expect(Array.from({ length: 8 }, () => seconds(longest, false))).toEqual([1, 2, 4, 8, 16, 32, 60, 60]);
  const shortest = new BackOff({ minSeconds: 1, maxSeconds: 60 }, () => 0);
  expect(Array.from({ length: 8 }, () => seconds(shortest, true))).toEqual([0.5, 1, 2, 4, 8, 16, 30, 30]);
});

test("after an outage the first connection that comes to nothing is followed by the first pause", () => {
  const backOff = new BackOff({ minSeconds: 1, maxSeconds: 60 }, () => 1);
  for (let i = 0; i < 7; i++) backOff.next(false);
  expect(seconds(backOff, true)).toBe(1);
  expect(seconds(backOff, false)).toBe(1);
});

test("a broker that is away in between is not asked sooner for what it answers by closing", () => {
  const backOff = new BackOff({ minSeconds: 1, maxSeconds: 60 }, () => 1);
  const pauses = [];
  for (let i = 0; i < 5; i++) {
    backOff.next(false);
    pauses.push(seconds(backOff, true));
  }
  expect(pauses).toEqual([1, 2, 4, 8, 16]);
});

test("what the core knows better: from the beginning, or the shortest as if there had been none", () => {
  const backOff = new BackOff({ minSeconds: 1, maxSeconds: 60 }, () => 1);
  for (let i = 0; i < 4; i++) backOff.next(true);
  expect(backOff.again("bounded") / 1_000).toBe(8);
  for (let i = 0; i < 4; i++) backOff.next(true);
  expect(backOff.again("bounded") / 1_000).toBe(15);
  for (let i = 0; i < 4; i++) backOff.again("least");
  expect(backOff.again("least") / 1_000).toBe(1);
  expect(seconds(backOff, true)).toBe(8);
  expect(backOff.again("first") / 1_000).toBe(1);
  expect(seconds(backOff, true)).toBe(2);
});
