/** The check of the core's state, beyond as many sessions as it looks at in every turn. */
import { afterEach, expect, test, vi } from "vitest";
import type { Tally } from "../../../src/core/counters.ts";
import { Journal } from "../../../src/core/journal.ts";
import { type Bench, connect, ping, register } from "../../helpers/bench.ts";
import { GatewayRun } from "../../helpers/gateway-run.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

function crowd(run: GatewayRun, size: number): Bench {
  const { bench } = run;
  for (let i = 0; i < size; i++) {
    run.keep(bench.client(connect({ clientId: `c${i}`, cleanSession: false, duration: 60_000 }), `udp/10.0.0.${i}:9`));
    run.keep(bench.link(`c${i}`).up());
  }
  return bench;
}

test("of a crowd, the sessions that a turn touched are looked at in this turn", () => {
  const run = new GatewayRun();
  const bench = crowd(run, 210);
  vi.spyOn(Journal.prototype, "mark").mockImplementation(() => {});
  expect(() => {
    run.keep(bench.client(register("temperature"), "udp/10.0.0.7:9"));
  }).toThrow(/client c7: "spoke" of its session changed, and it was not marked to be stored/);
});

test.each([
  [150, 1],
  [210, 1_000],
])("of %i sessions all are looked at after at most %i turns", (size, turns) => {
  const bench = crowd(new GatewayRun(), size);
  (bench.core.counters.buffered as Tally).messages++;
  let passed = 0;
  expect(() => {
    for (; passed < turns; passed++) bench.client(ping, "udp/10.0.0.3:9");
  }).toThrow(/the counter bufferedMessages says 1/);
  if (turns > 1) expect(passed).toBeGreaterThan(100);
});
