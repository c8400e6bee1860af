import { describe, expect, test } from "vitest";
import { ApiServer } from "../../src/api/server.ts";
import { Counters } from "../../src/core/counters.ts";
import type { GatewayEvent } from "../../src/core/event.ts";
import type { Log } from "../../src/observe/log.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import { ReportLog } from "../../src/observe/reports.ts";

function recorded(level: "debug" | "info" = "debug") {
  const lines: string[] = [];
  let now = 0;
  const at = (name: string) => (_fields: object, line: string) => lines.push(`${name} ${line}`);
  const log = {
    debug: at("debug"),
    info: at("info"),
    warn: at("warn"),
    error: at("error"),
    isLevelEnabled: (l: string) => level === "debug" || l !== "debug",
  };
  const reports = new ReportLog(log as unknown as Log, () => now);
  return { lines, report: (event: GatewayEvent) => reports.report(event), later: (ms: number) => (now += ms) };
}

const malformed: GatewayEvent = {
  event: "drop",
  reason: "malformed",
  clientId: undefined,
  peer: "udp/192.0.2.1:1",
  detail: "too-short",
};

describe("the log", () => {
  test("a flood of one kind is one line a minute, with a count", () => {
    const { lines, report, later } = recorded();
    for (let i = 0; i < 1_000; i++) report(malformed);
    expect(lines).toHaveLength(1);
    later(60_000);
    report(malformed);
    expect(lines[1]).toContain("and 999 more like it");
  });

  test("a client that is not admitted is named once, with the line that would admit it", () => {
    const { lines, report } = recorded();
    const event: GatewayEvent = {
      event: "not_admitted",
      clientId: "n",
      peer: "udp/192.0.2.1:1",
      what: "client",
      hint: "access.rules: X",
    };
    report(event);
    report(event);
    expect(lines).toEqual(['warn client "n" at udp/192.0.2.1:1 is not admitted; to admit it: access.rules: X']);
  });

  test("what is not logged is not put together", () => {
    const { lines, report } = recorded("info");
    report(malformed);
    expect(lines).toEqual([]);
  });
});

test("metrics are the core's plain numbers at the moment of the scrape", async () => {
  const counters = new Counters();
  let states: Record<string, number> = { active: 2 };
  const metrics = createMetrics({
    core: counters,
    sessionsByState: () => states,
    transports: () => [
      {
        name: "udp",
        stats: { datagramsIn: 5, datagramsOut: 4, bytesIn: 0, bytesOut: 0, sendErrors: 0, kernelDrops: 3 },
      },
    ],
    links: () => [
      {
        transport: "ble",
        up: false,
        condition: "the adapter is off",
        counters: { linksMade: 2 },
        devices: [
          {
            peer: "ble/c0:00:00:00:00:01",
            name: "sensor",
            linked: true,
            rssi: -61,
            secondsSinceSeen: 4,
            failures: 1,
            lastFailure: "the device hung up",
          },
        ],
      },
    ],
    linksUp: () => 1,
    brokerThere: () => true,
    storeFails: () => false,
    droppedCongested: () => 0,
    receiveMaximumExceeded: () => 0,
  });
  counters.countReceived("PUBLISH");
  counters.dropped.malformed = 7;
  let text = await metrics.metrics();
  for (const line of [
    'mqttsn_messages_received_total{type="PUBLISH"} 1',
    'mqttsn_dropped_total{reason="malformed"} 7',
    'mqttsn_kernel_drops_total{transport="udp"} 3',
    'mqttsn_sessions{state="active"} 2',
    "mqttsn_broker_up 1",
    'mqttsn_adapter_up{transport="ble",condition="the adapter is off"} 0',
    'mqttsn_adapter_total{transport="ble",what="linksMade"} 2',
    'mqttsn_device_rssi_dbm{peer="ble/c0:00:00:00:00:01",name="sensor"} -61',
    'mqttsn_device_last_failure{peer="ble/c0:00:00:00:00:01",name="sensor",reason="the device hung up"} 1',
  ]) {
    expect(text).toContain(line);
  }
  counters.countReceived("PUBLISH");
  states = { asleep: 1 };
  text = await metrics.metrics();
  expect(text).toContain('mqttsn_messages_received_total{type="PUBLISH"} 2');
  expect(text).not.toContain('state="active"');
});

test("health says 200 or 503, everything else is nothing", async () => {
  let ok = true;
  const server = new ApiServer(
    { host: "127.0.0.1", port: 0 },
    { health: () => ({ ok }), metrics: () => Promise.reject(new Error("secret detail")) },
  );
  await server.start();
  const status = async (path: string, method = "GET") => (await fetch(server.place + path, { method })).status;
  expect(await status("/healthz")).toBe(200);
  ok = false;
  expect(await status("/healthz?x")).toBe(503);
  expect([await status("/"), await status("/healthz", "POST")]).toEqual([404, 405]);
  expect(await (await fetch(`${server.place}/metrics`)).text()).toBe("internal error\n");
  await server.close();
  await server.close();
});
