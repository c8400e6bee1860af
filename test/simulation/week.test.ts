/** The broker is away for a week, and the power fails twice: everything that devices were told is published arrives. */
import { expect, test } from "vitest";
import { testOptions } from "./options.ts";
import { Rng } from "./rng.ts";
import { policed, swarm } from "./swarm.ts";
import { World } from "./world.ts";

const hourMs = 3_600_000;
const weekMs = 7 * 24 * hourMs;

for (const seed of [1, 2, 3]) {
  test(`a week without the broker (seed ${seed})`, { timeout: 300_000 }, () => {
    const policy = testOptions.uplink.policyOf("");
    const world = new World({
      ...swarm(seed),
      devices: 3,
      brokerForgets: 0,
      brokerCut: 0,
      outages: false,
      resets: false,
      absences: false,
      moves: false,
      garbage: false,
      crashes: false,
      storeFailure: 0,
      clock: "late",
      pace: { publishMs: [600_000, 3_600_000], reconnectMs: [30_000, 60_000] },
      habits: { clean: false, sleepSeconds: 1_800, keepAliveSeconds: 3_600, publishEveryMs: 900_000 },
      core: {
        durable: true,
        buffer: policed(new Rng(seed)),
        deadLetters: { ...testOptions.deadLetters, superseded: true },
        uplink: { ...testOptions.uplink, policyOf: () => ({ ...policy, whenAway: "store" }) },
      },
    });
    world.run(hourMs);
    world.brokerLeaves(weekMs);
    for (let failure = 0; failure < 2; failure++) {
      world.run((weekMs / 3) * (0.8 + 0.1 * seed));
      world.cutPower();
    }
    world.run(weekMs);
    expect(world.runs).toBe(3);
    world.heal();
    world.run(hourMs);
    world.checkLiveness();
  });
}
