/**
 * Faults in how the gateway serves clients while it restores sessions: the judge has to find each. With SIM_WITHOUT_FAULT=1
 * the same worlds run without them, and nothing may be found.
 */
import { onTestFinished, vi } from "vitest";
import { Restoring } from "../../src/core/state/restoring.ts";
import { findsEach, type PlantedFault, replace } from "./planted.ts";
import { swarm, type WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

const planted = vi.hoisted(() => ({ fault: "" }));

vi.mock("../../src/core/inputs/restoring.ts", async (original) => {
  const restoring = await original<typeof import("../../src/core/inputs/restoring.ts")>();
  const waitsForSession: typeof restoring.waitsForSession = (...all) =>
    planted.fault !== "nobody waits for its session" && restoring.waitsForSession(...all);
  return { ...restoring, waitsForSession };
});

interface Fault extends PlantedFault {
  readonly more?: Partial<WorldOptions>;
}

const faults: Record<string, Fault> = {
  "nobody waits for its session": { finding: /is unanswered|never got|gateway had acknowledged/ },
  "deliveries do not wait for their recipients": {
    finding: /never got .* which the gateway had acknowledged/,
    plant: () => {
      const right = Object.getOwnPropertyDescriptor(Restoring.prototype, "holdsDeliveries");
      Object.defineProperty(Restoring.prototype, "holdsDeliveries", { get: () => false, configurable: true });
      onTestFinished(() => {
        if (right) Object.defineProperty(Restoring.prototype, "holdsDeliveries", right);
      });
    },
  },
  "deliveries of a connection that ended are acknowledged over the next one": {
    finding: /which the broker does not wait for/,
    more: { brokerCut: 0.02, brokerForgets: 0.5 },
    plant: () => replace(Restoring.prototype, "forgetDeliveries", () => {}),
  },
};

findsEach(faults, planted, ({ more }, seed, unchecked) => {
  const usual = swarm(seed, "aggregating");
  const world = new World({
    ...usual,
    storeFailure: 0,
    crashes: true,
    crashCalls: [50, 1_000],
    restoresLate: true,
    devices: Math.min(usual.devices, 6),
    core: { ...usual.core, durable: true },
    ...more,
    unchecked,
  });
  world.live();
  return world;
});
