/** A world of clients that do not see what is larger than their buffer, or have no code for a REGISTER, at 30 % loss. */
import { testOptions } from "./options.ts";
import { type Mode, swarm, type WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

export function smallWorld(seed: number, mode: Mode, more: Partial<WorldOptions> = {}): World {
  const usual = swarm(seed, mode);
  return new World({
    ...usual,
    loss: 0.3,
    resets: false,
    moves: false,
    absences: false,
    outages: false,
    garbage: false,
    brokerForgets: 0,
    storeFailure: 0,
    devices: Math.min(usual.devices, 5),
    smallClients: true,
    core: {
      ...usual.core,
      durable: true,
      // Three rounds of six copies: all lost five times in a million.
      retry: { ...testOptions.retry, retryLimit: 5 },
      buffer: testOptions.buffer,
    },
    ...more,
  });
}

export function liveSmall(world: World): World {
  world.run(40 * 60_000);
  world.heal();
  world.run(15 * 60_000);
  world.checkLiveness();
  return world;
}
