import { expect, test } from "vitest";
import { swarm } from "./swarm.ts";
import { World } from "./world.ts";

function lifeOf(seed: number): readonly string[] {
  const world = new World(swarm(seed));
  world.run(10 * 60_000);
  return world.trace;
}

test("the same seed is the same life, to the last octet", () => {
  for (const seed of [1, 2, 3, 4, 5]) expect(lifeOf(seed)).toEqual(lifeOf(seed));
});

test("another seed is another life", () => {
  expect(lifeOf(1)).not.toEqual(lifeOf(2));
});
