/**
 * Devices share a connection to a broker that sends a message once for each filter that matches it, and their filters
 * overlap: each gets each message once, over cuts, crashes and changes of address. `SIM_SEEDS` and `SIM_FIRST` choose.
 */
import { expect, test } from "vitest";
import { testOptions } from "./options.ts";
import { swarm, type WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

const first = Number(process.env["SIM_FIRST"] ?? 1);
const count = Math.min(Number(process.env["SIM_SEEDS"] ?? 8), 1_000);

function lived(seed: number, more: Partial<WorldOptions> = {}): World {
  const usual = swarm(seed, "aggregating");
  const world = new World({ ...usual, devices: Math.min(usual.devices, 6), copies: "each", ...more });
  try {
    world.run(20 * 60_000);
    world.heal();
    world.run(10 * 60_000);
    world.checkLiveness();
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error} SEED=${seed}`, { cause: error });
  }
  return world;
}

test(`a copy for each filter (${count} seeds from ${first})`, { timeout: 600_000 }, () => {
  for (let seed = first; seed < first + count; seed++) lived(seed);
});

test("a gateway that takes such a broker for a usual one is found", { timeout: 600_000 }, () => {
  const found = () => {
    for (let seed = 1; seed <= 20; seed++) {
      const { core } = swarm(seed, "aggregating");
      const upstream = { ...testOptions.upstream, ...core.upstream, copies: "one" as const };
      lived(seed, { core: { ...core, upstream }, unchecked: true });
    }
  };
  expect(found).toThrow(/got the QoS 2 message .* times|again after its PUBREC/);
});
