import { expect, test } from "vitest";
import { swarm } from "./swarm.ts";
import { World } from "./world.ts";

function runOf(seed: number): readonly string[] {
  const world = new World(swarm(seed));
  world.run(10 * 60_000);
  return world.trace;
}

test("the same seed is the same run, to the last octet", () => {
  for (const seed of [1, 2, 3, 4, 5]) expect(runOf(seed)).toEqual(runOf(seed));
});

test("another seed is another run", () => {
  expect(runOf(1)).not.toEqual(runOf(2));
});
