/** What orchestrators ask, and what an operator watches besides traffic. */
import { Registry } from "prom-client";
import { describe, expect, test } from "vitest";
import { probeHealth } from "../../src/api/health.ts";
import { ApiServer } from "../../src/api/server.ts";
import type { GatewayEvent } from "../../src/core/event.ts";
import { Durations } from "../../src/durations.ts";
import { addServiceMetrics } from "../../src/observe/service-metrics.ts";
import { Wakings } from "../../src/observe/wakings.ts";
import { CommitWatch } from "../../src/runtime/commit-watch.ts";

describe("probes", () => {
  const sources = (over: { waits?: number; fails?: boolean; serves?: boolean } = {}) => ({
    commitWaitsSeconds: () => over.waits ?? 0,
    storeFails: () => over.fails ?? false,
    serves: () => over.serves ?? true,
  });
  const late = (ms: number) => () => Promise.resolve(ms);

  test.each([
    ["/livez", {}, 0, true],
    ["/livez", { fails: true }, 0, true], // to start again would not empty the disk
    ["/livez", { waits: 61 }, 0, false],
    ["/livez", {}, 5_001, false],
    ["/readyz", {}, 9_999, true],
    ["/readyz", { fails: true }, 0, false],
    ["/readyz", { serves: false }, 0, false],
  ] as const)("%s with %j, the event loop %i ms late: %s", async (path, over, ms, ok) => {
    expect((await probeHealth(path, sources(over), late(ms)))?.ok).toBe(ok);
  });

  test("by HTTP: 200 or 503, whatever health says of the broker", async () => {
    let waits = 0;
    const server = new ApiServer(
      { host: "127.0.0.1", port: 0 },
      {
        health: () => ({ ok: false, broker: "away" }),
        metrics: () => Promise.resolve({ contentType: "text/plain", text: "" }),
        probes: { ...sources(), commitWaitsSeconds: () => waits },
      },
    );
    await server.start();
    const status = async (path: string) => (await fetch(server.place + path)).status;
    expect([await status("/healthz"), await status("/livez"), await status("/readyz?x")]).toEqual([503, 200, 200]);
    waits = 100;
    expect([await status("/livez"), await status("/live")]).toEqual([503, 404]);
    await server.close();
  });
});

test("a commit that is not answered is seen, and how long each took is counted", () => {
  let now = 0;
  const answers: (() => void)[] = [];
  const watch = new CommitWatch(() => now);
  const store = watch.watched({
    commit: (_changes, done) => answers.push(() => done(undefined)),
    fetch: () => {},
    load: async () => undefined,
  });
  store.commit([], () => {});
  now = 2_000;
  store.commit([], () => {});
  now = 3_000;
  expect(watch.waitingSeconds).toBe(3);
  answers[0]?.();
  expect(watch.waitingSeconds).toBe(1);
  answers[1]?.();
  expect([watch.waitingSeconds, watch.durations.count, watch.durations.sumSeconds]).toEqual([0, 2, 4]);
});

test("a waking lasts from PINGREQ until the client sleeps again, or is gone", () => {
  let now = 0;
  const wakings = new Wakings(() => now);
  const state = (clientId: string, to: "awake" | "asleep" | "lost") =>
    wakings.see({ event: "client_state", clientId, state: to, peer: "udp/1", why: "" } as GatewayEvent);
  state("a", "asleep");
  state("a", "awake");
  state("b", "awake");
  now = 40;
  state("a", "asleep");
  wakings.see({ event: "session_ended", clientId: "b", why: "" });
  now = 90_000;
  state("b", "lost");
  expect([wakings.durations.count, wakings.durations.sumSeconds]).toEqual([1, 0.04]);
  expect(wakings.durations.counts[5]).toBe(1); // above 25 ms, up to 50
});

test("metrics of upstreams, durations, certificates and the build", async () => {
  const registry = new Registry();
  const acknowledgement = new Durations();
  for (const seconds of [0.001, 0.002, 0.3, 100]) acknowledgement.add(seconds);
  addServiceMetrics(registry, {
    version: "9.9.9",
    upstreams: () => [
      {
        name: "default",
        isThere: true,
        linksUp: 3,
        bytesIn: 10,
        bytesOut: 20,
        carried: { in: 1_000, out: 2_000 },
        tls: { full: 3, resumed: 4 },
        droppedCongested: 1,
        receiveMaximumExceeded: 2,
        acknowledgement,
        certificates: [{ of: "broker", endsAt: 1_800_000_000_000 }],
      },
    ],
    commits: () => acknowledgement,
    wakings: () => new Durations(),
    steps: () => ({ deadlines: new Durations() }),
    scripts: () => undefined,
    oldestBacklogSeconds: () => 7,
    restoring: () => 1,
  });
  const text = await registry.metrics();
  await registry.metrics(); // nothing adds up over scrapes
  for (const line of [
    `mqttsn_build_info{version="9.9.9",node="${process.versions.node}"} 1`,
    'mqttsn_upstream_up{upstream="default"} 1',
    'mqttsn_upstream_connections{upstream="default"} 3',
    'mqttsn_upstream_qos0_dropped_total{upstream="default"} 1',
    'mqttsn_upstream_receive_maximum_ended_total{upstream="default"} 2',
    'mqttsn_upstream_bytes_total{upstream="default",direction="in"} 10',
    'mqttsn_upstream_bytes_total{upstream="default",direction="out"} 20',
    'mqttsn_upstream_wire_bytes_total{upstream="default",direction="in"} 1000',
    'mqttsn_upstream_wire_bytes_total{upstream="default",direction="out"} 2000',
    'mqttsn_upstream_tls_handshakes_total{upstream="default",kind="full"} 3',
    'mqttsn_upstream_tls_handshakes_total{upstream="default",kind="resumed"} 4',
    'mqttsn_certificate_expiry_timestamp_seconds{upstream="default",of="broker"} 1800000000',
    "mqttsn_backlog_oldest_seconds 7",
    "mqttsn_restoring 1",
    "# TYPE mqttsn_upstream_acknowledgement_seconds histogram",
    'mqttsn_upstream_acknowledgement_seconds_bucket{upstream="default",le="0.001"} 1',
    'mqttsn_upstream_acknowledgement_seconds_bucket{upstream="default",le="0.5"} 3',
    'mqttsn_upstream_acknowledgement_seconds_bucket{upstream="default",le="60"} 3',
    'mqttsn_upstream_acknowledgement_seconds_bucket{upstream="default",le="+Inf"} 4',
    'mqttsn_upstream_acknowledgement_seconds_count{upstream="default"} 4',
    'mqttsn_waking_seconds_bucket{le="+Inf"} 0',
    "mqttsn_store_commit_seconds_count 4",
  ])
    expect(text.split("\n")).toContain(line);
});
