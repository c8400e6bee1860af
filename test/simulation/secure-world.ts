/** Worlds whose devices have keys: everything by the dice of a seed. */
import { Rng } from "./rng.ts";
import { type Mode, swarm, type WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

/** Devices move and lose power, the gateway dies often, and its store is now and then another one. */
export function secureSwarm(seed: number, mode: Mode): WorldOptions {
  const rng = new Rng(seed ^ 0xd715);
  const usual = swarm(seed, mode);
  const repeats = rng.chance(0.7);
  // A gateway that keeps nothing on disk asks every device for a new handshake: tried, but seldom.
  const durable = usual.core.durable === true || rng.chance(0.8);
  return {
    ...usual,
    core: { ...usual.core, durable },
    devices: rng.int(2, 5),
    moves: rng.chance(0.8),
    resets: rng.chance(0.5),
    crashes: rng.chance(0.9),
    crashCalls: [10, rng.pick([200, 800])],
    // What a process that stood still had not yet stored when it died has no bound.
    stalls: false,
    storeFailure: repeats ? 0 : usual.storeFailure,
    secure: {
      copies: rng.pick([["same"], ["same"], ["same", "same", "old"], ["same", "old", "backup"]] as const),
      withoutCid: rng.pick([0, 0, 0.3]),
      repeats,
      relayed: rng.pick([0, 0.05]),
      rebindMs: rng.pick([undefined, [500, 5_000], [5_000, 60_000]] as const),
    },
  };
}

const minute = 60_000;

/** Eight minutes of trouble, then ten without. */
export function liveSecure(options: WorldOptions): World {
  const world = new World(options);
  try {
    world.run(8 * minute);
    world.heal();
    world.run(10 * minute);
    world.checkLiveness();
    return world;
  } catch (error) {
    const lines = Number(process.env["SIM_TRACE"] ?? 0);
    if (lines > 0) process.stderr.write(`${world.trace.slice(-lines).join("\n")}\n`);
    throw error;
  }
}
