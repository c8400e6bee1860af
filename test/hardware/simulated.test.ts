/**
 * The library in C in the simulation, in place of src/device: the shipped core, a network that loses, repeats and
 * delays, a broker, and the judge. First an hour of a known kind, then runs of any kind.
 * `SIM_FIRST` and `SIM_SEEDS` choose which and how many of the latter; `SIM_TRACE=300` prints that many lines of what happened before a failure.
 */
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { swarm, type WorldOptions } from "../simulation/swarm.ts";
import { World } from "../simulation/world.ts";
import { CDevice } from "./c-device.ts";
import { make, missingCompiler } from "./compiler.ts";

const missing = missingCompiler();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;
const minute = 60_000;

describe.skipIf(missing !== undefined)(`the library in C, simulated${named}`, () => {
  beforeAll(() => make("device"));
  const devices: CDevice[] = [];
  afterEach(() => {
    for (const device of devices.splice(0)) device.close();
  });

  function run(options: WorldOptions, minutes: number): World {
    const world = new World({
      ...options,
      // The core's own state is looked at with other devices; here each device is a process.
      unchecked: true,
      devices: Math.min(options.devices, 6),
      device: (clientId) => {
        const seed = options.seed * 10 + Number(clientId.slice(1));
        const device = new CDevice({ clientId, retrySeconds: 10, retryLimit: 4, seed });
        devices.push(device);
        return device;
      },
    });
    try {
      world.run(minutes * minute);
      world.heal();
      world.run(15 * minute);
      world.checkLiveness();
      return world;
    } catch (error) {
      if (process.env["SIM_TRACE"])
        process.stderr.write(`${world.trace.slice(-Number(process.env["SIM_TRACE"])).join("\n")}\n`);
      throw new Error(`seed ${options.seed}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  }

  /** One hour, 5 % of all datagrams lost, some of the devices asleep most of the time, nothing else wrong. */
  const hour = (seed: number): WorldOptions => ({
    ...swarm(seed),
    seed,
    loss: 0.05,
    duplicate: 0,
    delayMs: [5, 50],
    brokerCut: 0,
    brokerForgets: 0,
    outages: false,
    resets: false,
    moves: false,
    absences: false,
    crashes: false,
    garbage: false,
    devices: 6,
    storeFailure: 0,
  });

  test("one hour with 5 % loss and sleep: nothing acknowledged is lost, QoS 2 comes once", () => {
    const world = run(hour(1), 60);
    expect(world.devices.some((device) => device.habits.sleepSeconds > 0)).toBe(true);
    expect(world.judge.checks).toBeGreaterThan(1_000);
  });

  test("the same seed is the same hour", () => {
    const [first, second] = [run(hour(2), 10), run(hour(2), 10)];
    expect(second.trace).toEqual(first.trace);
  });

  const first = Number(process.env["SIM_FIRST"] ?? 1);
  const count = Number(process.env["SIM_SEEDS"] ?? 40);
  test(`runs of any kind (seeds ${first} to ${first + count - 1})`, { timeout: 600_000 }, () => {
    for (let seed = first; seed < first + count; seed++) {
      run(swarm(seed), 20);
      for (const device of devices.splice(0)) device.close();
    }
  });
});
