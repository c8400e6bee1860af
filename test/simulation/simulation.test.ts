/**
 * Runs of the whole gateway on virtual time. `SIM_SEEDS` and `SIM_FIRST` choose how many and which;
 * `SIM_SEED=n` replays one, `SIM_TRACE=1` prints what happened before a failure. With `SIM_LATE=1` the gateway dies in
 * each world, and serves clients while it restores their sessions.
 */
import { test } from "vitest";
import { type Mode, swarm, type WorldOptions } from "./swarm.ts";
import { World } from "./world.ts";

const only = process.env["SIM_SEED"];
const first = Number(only ?? process.env["SIM_FIRST"] ?? 1);
const isLate = process.env["SIM_LATE"] !== undefined;
const count = only === undefined ? Number(process.env["SIM_SEEDS"] ?? 20) : 1;

/** The gateway dies again and again, and each run serves clients while it restores their sessions. */
function restartedOften(usual: WorldOptions): WorldOptions {
  return { ...usual, crashes: true, restoresLate: true, core: { ...usual.core, durable: true } };
}

export function live(seed: number, mode: Mode): World {
  const world = new World(isLate ? restartedOften(swarm(seed, mode)) : swarm(seed, mode));
  try {
    world.live();
    return world;
  } catch (error) {
    if (process.env["SIM_TRACE"])
      process.stderr.write(`${world.trace.slice(-Number(process.env["SIM_TRACE"]) || -200).join("\n")}\n`);
    const message = error instanceof Error ? error.message : String(error);
    throw new Error(
      `${message}\nSEED=${seed} ${mode}; replay: ${isLate ? "SIM_LATE=1 " : ""}SIM_SEED=${seed} SIM_TRACE=300 npx vitest run test/simulation/simulation.test.ts`,
      { cause: error },
    );
  }
}

const perTest = 25;
for (const mode of ["transparent", "aggregating"] as const) {
  for (let from = first; from < first + count; from += perTest) {
    const to = Math.min(from + perTest, first + count) - 1;
    test(`the gateway keeps its promises (${mode}, seeds ${from} to ${to})`, { timeout: 600_000 }, () => {
      for (let seed = from; seed <= to; seed++) live(seed, mode);
    });
  }
}
