/** Of a gateway in which nothing has happened: what its metrics are made of. */
import { Counters } from "../../src/core/counters.ts";
import { Durations } from "../../src/durations.ts";
import type { MetricSources } from "../../src/observe/metrics.ts";
import type { ServiceSources } from "../../src/observe/service-metrics.ts";

export const quietSources = (): MetricSources => ({
  core: new Counters(),
  sessionsByState: () => ({}),
  transports: () => [],
  links: () => [],
  secure: () => [],
  linksUp: () => 0,
  brokerThere: () => true,
  storeFails: () => false,
  droppedCongested: () => 0,
  receiveMaximumExceeded: () => 0,
});

export const quietServiceSources = (): ServiceSources => ({
  version: "1",
  upstreams: () => [],
  commits: () => new Durations(),
  wakings: () => new Durations(),
  steps: () => ({}),
  scripts: () => ({ asked: 0, overTime: 0, turnedAway: 0, restarts: 0 }),
  oldestBacklogSeconds: () => 0,
  restoring: () => 0,
});
