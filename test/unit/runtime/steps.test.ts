/** How long single steps take is noted once, by the outermost; `/metrics` shows it. */
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import type { Core } from "../../../src/core/core.ts";
import type { Input } from "../../../src/core/input.ts";
import { addServiceMetrics } from "../../../src/observe/service-metrics.ts";
import { Driver } from "../../../src/runtime/driver.ts";
import type { Edges } from "../../../src/runtime/perform.ts";
import { Steps } from "../../../src/runtime/steps.ts";
import { quietServiceSources } from "../../helpers/metric-sources.ts";

function bench() {
  let now = 0;
  let due: (() => void) | undefined;
  let next: number | undefined;
  const steps = new Steps(() => now);
  const core = {
    handle: () => {
      now += 7;
      return [];
    },
    timeout: () => {
      now += 20;
      next = undefined;
      return [];
    },
    nextDeadline: () => next,
  } as unknown as Core;
  const clock = {
    now: () => now,
    wakeAt: (_: unknown, call: () => void) => {
      due = call;
    },
    afterReading: (call: () => void) => call(),
  };
  const driver = new Driver(core, {} as Edges, clock, { steps });
  driver.start();
  const counts = () =>
    Object.entries(steps.durations).map(([kind, { count, sumSeconds }]) => [kind, count, Math.round(sumSeconds * 1e3)]);
  const timeout = () => {
    next = now;
    driver.handle({ kind: "clockSet" }); // arms the timer anew
    due?.();
  };
  return { driver, steps, counts, timeout };
}

test("an input by itself, many in one wake-up, and deadlines that are due", () => {
  const { driver, steps, counts, timeout } = bench();
  const input: Input = { kind: "clockSet" };
  driver.handle(input);
  steps.measure("datagrams", () => {
    driver.handle(input);
    driver.handle(input);
  });
  expect(counts()).toEqual([
    ["datagrams", 1, 14],
    ["input", 1, 7],
    ["deadlines", 0, 0],
  ]);
  timeout();
  expect(counts()).toEqual([
    ["datagrams", 1, 14],
    ["input", 2, 14],
    ["deadlines", 1, 20],
  ]);
});

test("a step that throws is noted, and the next one by itself", () => {
  const { steps, counts } = bench();
  const fail = () => {
    throw new Error("broken");
  };
  expect(() => steps.measure("input", fail)).toThrow("broken");
  steps.measure("input", () => {});
  expect(counts()[1]).toEqual(["input", 2, 0]);
});

test("/metrics has a histogram of each kind", async () => {
  const { driver, steps } = bench();
  driver.handle({ kind: "clockSet" });
  const registry = new Registry();
  addServiceMetrics(registry, { ...quietServiceSources(), steps: () => steps.durations });
  const text = await registry.metrics();
  expect(text).toContain('mqttsn_step_seconds_bucket{step="input",le="0.005"} 0');
  expect(text).toContain('mqttsn_step_seconds_bucket{step="input",le="0.01"} 1');
  expect(text).toContain('mqttsn_step_seconds_count{step="datagrams"} 0');
});
