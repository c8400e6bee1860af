/**
 * Devices with keys, and a gateway that is killed at each point of a short run: before each datagram that is sent, each message that is
 * passed on, and each commit, also within handshakes. No device has to make another handshake because of it. Every tenth point, or with
 * SIM_EVERY=1 each one.
 */
import { expect, test } from "vitest";
import { testOptions } from "./options.ts";
import type { WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

const seed = 1;
const stride = Number(process.env["SIM_EVERY"] ?? 10);
const runMs = 22_000;

function options(crashAt: WorldOptions["crashAt"]): WorldOptions {
  return {
    seed,
    loss: 0,
    duplicate: 0,
    delayMs: [5, 50],
    brokerCut: 0,
    brokerForgets: 0,
    outages: false,
    resets: false,
    moves: false,
    absences: false,
    crashes: false,
    stalls: false,
    garbage: false,
    devices: 2,
    storeFailure: 0,
    clock: "always",
    ...(crashAt && { crashAt }),
    pace: { publishMs: [500, 2_000], reconnectMs: [500, 5_000] },
    habits: { clean: false, publishEveryMs: 4_000, subscribeQoS: 1, wildcard: true, will: false, joins: [] },
    core: { durable: true, upstream: { ...testOptions.upstream, mode: "aggregating" } },
    secure: { copies: ["same"], withoutCid: 0, repeats: false },
  };
}

/** Two handshakes, and a third of a device that lost power and is at another address. */
function live(crashAt: WorldOptions["crashAt"]): World {
  const world = new World(options(crashAt));
  world.run(14_000);
  world.devices[0]?.move();
  world.devices[0]?.reset();
  world.run(runMs - 14_000);
  world.heal();
  world.run(3 * 60_000);
  world.checkLiveness();
  return world;
}

test("a crash at any point costs nobody a handshake", { timeout: 300_000 }, () => {
  const world = live(undefined);
  const calls = world.callsUntil(runMs);
  expect([calls > 100, world.secure?.handshakes]).toEqual([true, 4]);
  for (let call = 0; call < calls; call += stride) {
    try {
      const { runs, secure } = live({ call, share: (call / stride) % 2 });
      expect(runs).toBe(2);
      // A handshake that was open begins again.
      expect(secure?.handshakes).toBeLessThanOrEqual(6);
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      throw new Error(
        `${why} (crash before call ${call} of ${calls}, ${(call / stride) % 2} of what was under way is on disk)`,
        {
          cause: error,
        },
      );
    }
  }
});
