/**
 * What tests that plant a fault in the shipped code share. With SIM_WITHOUT_FAULT=1 the same worlds run without the faults,
 * and nothing may be found.
 */
import { expect, onTestFinished, test } from "vitest";
import type { World } from "./world.ts";

const isWithout = process.env["SIM_WITHOUT_FAULT"] !== undefined;
const seedsMax = isWithout ? 10 : 40;

export interface PlantedFault {
  /** By which rule it is found. */
  readonly finding: RegExp;
  /** The first seed that is tried; it was found to show the fault. */
  readonly from?: number;
  /** What is not in a function that the test's file mocks. */
  readonly plant?: () => void;
}

/** Another method instead of this one, until the test is over. */
export function replace<Owner, Name extends keyof Owner>(owner: Owner, name: Name, faulty: Owner[Name]): void {
  const right = owner[name];
  owner[name] = faulty;
  onTestFinished(() => {
    owner[name] = right;
  });
}

/**
 * A test for each fault. `planted.fault` is its name while it is planted, for functions that are mocked. `run` builds the
 * world of a seed and lets it run; the core's own state is checked only where `unchecked` is false.
 */
export function findsEach<Fault extends PlantedFault>(
  faults: Readonly<Record<string, Fault>>,
  planted: { fault: string },
  run: (fault: Fault, seed: number, unchecked: boolean) => World,
): void {
  for (const [name, fault] of Object.entries(faults)) {
    test(`${isWithout ? "nothing is found without" : "found"}: ${name}`, { timeout: 3_600_000 }, () => {
      onTestFinished(() => {
        planted.fault = "";
      });
      if (!isWithout) {
        planted.fault = name;
        fault.plant?.();
      }
      const finding = firstFinding(fault, run);
      if (isWithout) expect(finding).toBe("nothing");
      else expect(finding, `within ${seedsMax} seeds`).toMatch(fault.finding);
    });
  }
}

function firstFinding<Fault extends PlantedFault>(
  fault: Fault,
  run: (fault: Fault, seed: number, unchecked: boolean) => World,
): string {
  const { from = 1 } = fault;
  for (let seed = from; seed < from + seedsMax; seed++) {
    try {
      run(fault, seed, !isWithout);
    } catch (error) {
      return `seed ${seed}: ${error instanceof Error ? error.message : String(error)}`;
    }
  }
  return "nothing";
}
