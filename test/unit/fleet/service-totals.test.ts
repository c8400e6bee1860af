/** The metrics of brokers and durations of a fleet: sums over the shards of a process, also of those that have moved away. */
import { expect, test } from "vitest";
import { Durations } from "../../../src/durations.ts";
import type { Gateway } from "../../../src/gateway.ts";
import { FleetServiceTotals } from "../../../src/gateway-fleet-service-totals.ts";
import type { ServiceSources, UpstreamSource } from "../../../src/observe/service-metrics.ts";

const took = (...seconds: number[]): Durations => {
  const all = new Durations();
  for (const each of seconds) all.add(each);
  return all;
};

const asked = { asked: 7, overTime: 1, turnedAway: 2, restarts: 3 };

function shard(upstream: Partial<UpstreamSource>, commits: Durations, oldest = 0): Gateway {
  const sources: ServiceSources = {
    version: "1",
    upstreams: () => [
      {
        name: "default",
        isThere: true,
        linksUp: 1,
        bytesIn: 10,
        bytesOut: 20,
        carried: { in: 11, out: 22 },
        tls: { full: 1, resumed: 2 },
        droppedCongested: 3,
        receiveMaximumExceeded: 4,
        acknowledgement: took(0.002),
        certificates: [],
        ...upstream,
      },
    ],
    commits: () => commits,
    wakings: () => took(2),
    steps: () => ({ datagrams: took(0.001, 0.5) }),
    // Each shard's gateway says what the process says, which all of them share.
    scripts: () => ({ ...asked }),
    oldestBacklogSeconds: () => oldest,
    restoring: () => 1,
  };
  return { vitals: { serviceSources: () => sources } } as unknown as Gateway;
}

test("what is counted is added up, and what a shard that has moved away counted stays", () => {
  const certificates = [{ of: "broker", endsAt: 9 }];
  const first = shard({ isThere: false, linksUp: 0 }, took(0.01), 7);
  const second = shard({ certificates }, took(0.02, 100), 5);
  let here = [first, second];
  let beside: UpstreamSource[] = [];
  const totals = new FleetServiceTotals(
    "1",
    () => here,
    () => asked,
    () => beside,
  );
  const { sources } = totals;
  expect(sources.upstreams()).toEqual([
    {
      name: "default",
      isThere: false,
      linksUp: 1,
      certificates,
      bytesIn: 20,
      bytesOut: 40,
      carried: { in: 22, out: 44 },
      tls: { full: 2, resumed: 4 },
      droppedCongested: 6,
      receiveMaximumExceeded: 8,
      acknowledgement: took(0.002, 0.002),
    },
  ]);
  expect(sources.commits()).toEqual(took(0.01, 0.02, 100));
  expect(sources.wakings().count).toBe(2);
  expect(sources.steps()).toEqual({ datagrams: took(0.001, 0.5, 0.001, 0.5) });
  expect(sources.oldestBacklogSeconds()).toBe(7);
  expect(sources.restoring()).toBe(2);
  expect(sources.scripts(), "one process of scripts is counted once").toEqual(asked);

  here = [second];
  totals.retire(first);
  expect(sources.upstreams()).toMatchObject([{ isThere: true, linksUp: 1, bytesIn: 20, tls: { resumed: 4 } }]);
  expect(sources.commits().count).toBe(3);
  expect(sources.steps()["datagrams"]?.count).toBe(4);
  expect(sources.oldestBacklogSeconds()).toBe(5);
  expect(sources.scripts(), "also when a shard has moved away").toEqual(asked);

  const [own] = second.vitals.serviceSources().upstreams();
  beside = own ? [{ ...own, isThere: false, linksUp: 1, bytesIn: 7 }] : [];
  expect(sources.upstreams(), "a connection beside those of shards is only counted").toMatchObject([
    { isThere: true, linksUp: 1, bytesIn: 27 },
  ]);
  beside = [];

  here = [];
  totals.retire(second);
  expect(sources.upstreams()).toMatchObject([{ isThere: false, linksUp: 0, certificates: [], bytesIn: 20 }]);
  expect(sources.upstreams(), "asking adds nothing").toEqual(sources.upstreams());
  expect(sources.oldestBacklogSeconds()).toBe(0);
});
