/**
 * The gateway is killed at each point of a short run: before each call of an edge, and so between any two effects and on either side of
 * each commit. Of the commits in progress none, or all, reached the disk; in the second case the next run serves clients while it restores
 * their sessions. No client may notice it. With SIM_MODE=aggregating the clients share a connection; this takes twice the time.
 */
import { expect, test } from "vitest";
import { keepAll, testOptions } from "./options.ts";
import type { WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

const runMs = 45_000;

/** Two devices, one of them asleep mostly, on a perfect network; the broker is away in the middle. */
function options(seed: number, crashAt: WorldOptions["crashAt"]): WorldOptions {
  const policy = { ...keepAll, timeToLiveSeconds: 600 };
  const tight = { ...keepAll, atLimit: "oldest", messagesMax: 2 } as const;
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
    ...(crashAt && { crashAt, restoresLate: crashAt.share === 1 }),
    pace: { publishMs: [500, 2_000], reconnectMs: [500, 5_000] },
    habits: { clean: false, publishEveryMs: 3_000, subscribeQoS: 2, wildcard: true, will: false, joins: [] },
    core: {
      durable: true,
      upstream: {
        ...testOptions.upstream,
        mode: process.env["SIM_MODE"] === "aggregating" ? "aggregating" : "transparent",
      },
      buffer: { ...testOptions.buffer, policyOf: (_id, topic) => (topic.endsWith("1") ? tight : policy) },
      deadLetters: { ...testOptions.deadLetters, superseded: true },
      uplink: {
        ...testOptions.uplink,
        policyOf: () => ({ ...testOptions.uplink.policyOf(""), whenAway: "store" }),
      },
    },
  };
}

/** Runs, dies if so told, and is judged; answers how many edge calls there were. */
function live(seed: number, crashAt: WorldOptions["crashAt"]): World {
  const world = new World(options(seed, crashAt));
  world.run(15_000);
  world.brokerLeaves(10_000);
  world.run(runMs - 15_000);
  world.heal();
  world.run(5 * 60_000);
  world.checkLiveness();
  return world;
}

for (const [seed, shares] of [[1, [0, 1]]] as const) {
  test(`a crash at any point is noticed by nobody (seed ${seed})`, { timeout: 300_000 }, () => {
    const calls = live(seed, undefined).callsUntil(runMs);
    expect(calls).toBeGreaterThan(150);
    for (let call = 0; call < calls; call++) {
      for (const share of shares) {
        try {
          const { runs, devices } = live(seed, { call, share });
          expect([runs, ...devices.map(({ unaskedEnds }) => unaskedEnds)]).toEqual([2, 0, 0, 0]);
        } catch (error) {
          const why = error instanceof Error ? error.message : String(error);
          throw new Error(`${why} (crash before call ${call} of ${calls}, ${share} of what was under way is on disk)`, {
            cause: error,
          });
        }
      }
    }
  });
}
