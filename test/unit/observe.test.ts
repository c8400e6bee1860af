import { once } from "node:events";
import { createConnection } from "node:net";
import { describe, expect, test } from "vitest";
import { ApiServer } from "../../src/api/server.ts";
import { Counters } from "../../src/core/counters.ts";
import { dropReasons, type GatewayEvent } from "../../src/core/event.ts";
import { examples } from "../../src/observe/documentation.ts";
import { dropReasonRows } from "../../src/observe/drop-reasons.ts";
import { seenBy } from "../../src/observe/events.ts";
import type { Log } from "../../src/observe/log.ts";
import { createMetrics } from "../../src/observe/metrics.ts";
import { ReportLog } from "../../src/observe/reports.ts";
import { quietSources } from "../helpers/metric-sources.ts";

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

/** Log lines are searched for and alerted on: word for word, each branch of each kind. */
const peer = "udp/192.0.2.1:1";
const spoken: readonly (readonly [event: GatewayEvent, line: string])[] = [
  [{ event: "client_state", clientId: "c", state: "active", peer, why: "CONNECT" }, "info client c is active: CONNECT"],
  [{ event: "client_state", clientId: "c", state: "asleep", peer, why: "30 s" }, "debug client c is asleep: 30 s"],
  [{ event: "client_state", clientId: "c", state: "awake", peer, why: "PINGREQ" }, "debug client c is awake: PINGREQ"],
  [{ event: "client_state", clientId: "c", state: "lost", peer, why: "silence" }, "warn client c is lost: silence"],
  [
    { event: "client_state", clientId: "c", state: "disconnected", peer, why: "DISCONNECT" },
    "info client c is disconnected: DISCONNECT",
  ],
  [{ event: "client_moved", clientId: "c", from: undefined, to: peer }, `info client c moved to ${peer}`],
  [{ event: "session_ended", clientId: "c", why: "new start" }, "debug session of c ended: new start"],
  [
    { event: "connect_refused", clientId: "c", peer, reason: "congestion", why: "too many sessions" },
    `warn CONNECT of "c" from ${peer} refused: too many sessions`,
  ],
  [
    { event: "not_admitted", clientId: "c", peer, what: "client", hint: "access.rules: X" },
    `warn client "c" at ${peer} is not admitted; to admit it: access.rules: X`,
  ],
  [
    { event: "not_admitted", clientId: undefined, peer, what: "qosMinusOne", hint: "access.qosMinusOne: X" },
    `warn ${peer} is not admitted; to admit it: access.qosMinusOne: X`,
  ],
  [
    { event: "drop", reason: "malformed", clientId: undefined, peer, detail: "too-short" },
    "debug dropped (malformed): too-short",
  ],
  [
    { event: "drop", reason: "buffer-full", clientId: "c", peer, detail: "QoS 1 t: not taken" },
    "warn dropped (buffer-full): QoS 1 t: not taken",
  ],
  [{ event: "will_published", clientId: "c", by: "broker" }, "info will of c published by the broker"],
  [
    { event: "link_state", clientId: "c", upstream: "", up: true, why: "accepted" },
    "debug connected to the broker for c",
  ],
  [
    { event: "link_state", clientId: "c", upstream: "hall", up: false, why: "reset" },
    "debug no connection to the broker of hall for c: reset; trying again",
  ],
  [
    { event: "link_state", clientId: undefined, upstream: "", up: true, why: "accepted" },
    "info connected to the broker",
  ],
  [
    { event: "link_state", clientId: undefined, upstream: "", up: false, why: "refused" },
    "warn no connection to the broker: refused; trying again",
  ],
  [
    { event: "qos2_uncertain", clientId: "c", packetId: 7 },
    "warn a QoS 2 message of c may be missing or may arrive twice: its exchange with the broker cannot be finished",
  ],
  [
    { event: "other_qos_answered", clientId: "c", qos: 2, answer: "puback" },
    "warn the broker answers QoS 2 with PUBACK (client c): QoS 2 is only as good as QoS 1 at this broker",
  ],
  [
    { event: "will_refused", clientId: "c", topic: "w", qos: 1, bytes: 4, isConnected: true },
    "warn the broker closes the connection for the will of c: w, QoS 1, 4 octets; it is connected without it",
  ],
  [{ event: "persist_failed", why: "disk full" }, "error the session store failed: disk full"],
  [{ event: "persist_recovered" }, "info the session store works again"],
  [{ event: "backlog", clientId: "c", count: 1 }, "debug publications of c wait on disk for the broker"],
  [{ event: "backlog", clientId: "c", count: 0 }, "info everything that c published is at the broker"],
];

describe("the log", () => {
  test.each(spoken)("%j", (event, line) => {
    const { lines, report } = recorded();
    report(event);
    expect(lines).toEqual([line]);
  });

  test("every reason but a full buffer, what nobody answers and another version is dropped quietly", () => {
    const loud = new Set<string>(["buffer-full", "unanswered", "mqtt-sn-2.0"]);
    const { lines, report } = recorded();
    for (const reason of dropReasons) report({ event: "drop", reason, clientId: "c", peer, detail: "x" });
    expect(lines).toEqual(dropReasons.map((reason) => `${loud.has(reason) ? "warn" : "debug"} dropped (${reason}): x`));
  });

  test("what is said once a minute, however often it happens; all else is always said", () => {
    const limited = spoken.filter(([event]) => {
      const { lines, report } = recorded();
      for (let i = 0; i < 3; i++) report(event);
      if (lines.length !== 3) expect(lines).toHaveLength(1);
      return lines.length === 1;
    });
    expect(limited.map(([, line]) => line.split(" ").slice(0, 4).join(" "))).toEqual([
      'warn CONNECT of "c"',
      'warn client "c" at',
      `warn ${peer} is not`,
      "debug dropped (malformed): too-short",
      "warn dropped (buffer-full): QoS",
      "warn no connection to",
      "warn a QoS 2",
      "warn the broker answers",
      "warn the broker closes",
      "error the session store",
    ]);
  });

  test("what counts as the same: reason and client, what is asked for and by whom, the start of a fault", () => {
    const { lines, report } = recorded();
    const drop = { event: "drop", reason: "expired", clientId: "a", peer, detail: "" } as const;
    for (const event of [
      drop,
      { ...drop, detail: "another", peer: "udp/192.0.2.1:2" },
      { ...drop, clientId: "b" },
      { ...drop, reason: "repeat" },
      { event: "connect_refused", clientId: "a", peer, reason: "congestion", why: "x" },
      { event: "connect_refused", clientId: "a", peer: "udp/192.0.2.1:2", reason: "notSupported", why: "x" },
      { event: "connect_refused", clientId: "a", peer, reason: "congestion", why: "y" },
      { event: "not_admitted", clientId: "a", peer, what: "client", hint: "" },
      { event: "not_admitted", clientId: "a", peer: "udp/192.0.2.1:2", what: "client", hint: "" },
      { event: "not_admitted", clientId: undefined, peer, what: "forwarder", hint: "" },
      { event: "not_admitted", clientId: undefined, peer, what: "qosMinusOne", hint: "" },
      { event: "link_state", clientId: undefined, upstream: "", up: false, why: `${"x".repeat(40)}1` },
      { event: "link_state", clientId: undefined, upstream: "", up: false, why: `${"x".repeat(40)}2` },
      { event: "link_state", clientId: undefined, upstream: "", up: false, why: "other" },
      // Another broker has its own limit.
      { event: "link_state", clientId: undefined, upstream: "hall", up: false, why: "other" },
      { event: "qos2_uncertain", clientId: "a", packetId: 1 },
      { event: "qos2_uncertain", clientId: "b", packetId: 2 },
      { event: "persist_failed", why: "full" },
      { event: "persist_failed", why: "slow" },
    ] as const)
      report(event);
    expect(lines.map((line) => line.slice(0, 30))).toEqual([
      "debug dropped (expired): ",
      "debug dropped (expired): ",
      "debug dropped (repeat): ",
      `warn CONNECT of "a" from ${peer}`.slice(0, 30),
      `warn CONNECT of "a" from ${peer}`.slice(0, 30),
      'warn client "a" at udp/192.0.2',
      `warn ${peer} is not admitted`.slice(0, 30),
      `warn ${peer} is not admitted`.slice(0, 30),
      "warn no connection to the brok",
      "warn no connection to the brok",
      "warn no connection to the brok",
      "warn a QoS 2 message of a may ",
      "error the session store failed",
    ]);
  });

  test("a flood of one kind is one line a minute, with a count", () => {
    const { lines, report, later } = recorded();
    for (let i = 0; i < 1_000; i++) report(malformed);
    expect(lines).toHaveLength(1);
    later(60_000);
    report(malformed);
    expect(lines[1]).toContain("and 999 more like it");
  });

  test("a flood of CONNECTs, each under another client id, does not fill the log; what was left out is counted", () => {
    const { lines, report, later } = recorded();
    const refused = (clientId: string) =>
      report({
        event: "connect_refused",
        clientId,
        peer,
        reason: "congestion",
        why: "too many new sessions per second",
      });
    for (let i = 0; i < 5_000; i++) refused(`made-up-${i}`);
    expect(lines.length).toBe(100);
    report(malformed); // another kind, another level: not held back by that
    expect(lines.length).toBe(101);
    later(60_000);
    refused("made-up-5000");
    expect(lines[101]).toContain('CONNECT of "made-up-5000"');
    expect(lines[101]).toContain("4900 others of this kind were left out");
    for (let i = 0; i < 5_000; i++) refused(`again-${i}`);
    expect(lines.length).toBe(201);
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

describe("the table of events", () => {
  test("each kind has examples in the manual, of its kind", () => {
    for (const [kind, events] of Object.entries(examples)) {
      expect(events.length).toBeGreaterThan(0);
      for (const { event } of events) expect(event).toBe(kind);
    }
  });

  test("a viewer sees clients and numbers; whom a rule turns away, and what of the configuration lets him in, does not", () => {
    const event = { event: "not_admitted", clientId: "n", peer, what: "client", hint: "access.rules: X" } as const;
    expect(seenBy("viewer", event)).toEqual({ event: "not_admitted", what: "client" });
    expect(seenBy("operator", event)).toEqual(event);
    const moved = { event: "client_moved", clientId: "c", from: undefined, to: peer } as const;
    expect(seenBy("viewer", moved)).toEqual(moved);
  });

  test("a field that the table does not know is the operator's", () => {
    const event = { event: "persist_recovered", secret: "x" } as const;
    expect(seenBy("viewer", event)).toEqual({ event: "persist_recovered" });
    expect(seenBy("operator", event)).toEqual(event);
  });

  test("each reason says what happened and what to do, in whole sentences", () => {
    for (const { meaning, advice } of Object.values(dropReasonRows)) {
      expect(meaning).toMatch(/^[A-Z].*\.$/s);
      expect(advice).toMatch(/^[A-Z`].*\.$/s);
    }
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
    secure: () => [],
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

test("how late the event loop is: a step of 300 ms is seen, the pause between two looks is not in it", async () => {
  const metrics = createMetrics(quietSources());
  const longest = async () => {
    const text = await metrics.metrics();
    expect(text).not.toContain("nodejs_eventloop_lag_max");
    return Number(/mqttsn_event_loop_delay_seconds\{quantile="1"\} (\S+)/.exec(text)?.[1]);
  };
  expect(await longest()).toBe(0);
  await new Promise((looked) => setTimeout(looked, 250)); // the first look is compared with nothing
  // A look is due in each 100 ms of these.
  const until = performance.now() + 300;
  while (performance.now() < until);
  await new Promise((looked) => setTimeout(looked, 150));
  expect(await longest()).toBeGreaterThan(0.19);
});

test("metrics keep their names, kinds and help", async () => {
  const metrics = createMetrics(quietSources());
  const own = (await metrics.getMetricsAsJSON()).filter(({ name }) => name.startsWith("mqttsn_"));
  expect(own.map(({ name, type, help }) => `${name} ${String(type)}: ${help}`).sort()).toEqual([
    "mqttsn_accepted_publications_total counter: Publications acknowledged to devices while the broker was away",
    "mqttsn_adapter_total counter: What happened at the adapter: links made, failed and lost, broadcasts, restarts of its process, …",
    "mqttsn_adapter_up gauge: 1 while the adapter works; the label says how, or what is missing",
    "mqttsn_backlog_bytes gauge: Size in octets of the publications that wait on disk, as uplink.totalBytesMax counts it",
    "mqttsn_backlog_messages gauge: Accepted publications that wait on disk for the broker",
    "mqttsn_broker_up gauge: 1 while the gateway's own connection to every broker is established; mqttsn_upstream_up has each broker",
    "mqttsn_buffered_bytes gauge: Size of the messages waiting for devices",
    "mqttsn_buffered_messages gauge: Messages waiting for devices",
    "mqttsn_clients_lost_total counter: Clients that were lost without DISCONNECT",
    "mqttsn_datagrams_received_total counter: Datagrams in, by transport",
    "mqttsn_datagrams_sent_total counter: Datagrams out, by transport",
    "mqttsn_delivered_total counter: Publications that devices have acknowledged, or that were sent at QoS 0",
    "mqttsn_device_failures gauge: Failed attempts to connect, in a row",
    "mqttsn_device_last_failure gauge: 1, with the reason of the device's last failure as a label",
    "mqttsn_device_linked gauge: 1 while the device is connected",
    "mqttsn_device_rssi_dbm gauge: Signal strength when it was last seen",
    "mqttsn_device_seen_seconds gauge: Time since it was last seen",
    "mqttsn_dropped_total counter: Messages and requests that were dropped or refused, by reason",
    "mqttsn_dtls_bad_keys_total counter: Handshakes with a wrong key or an unknown identity",
    "mqttsn_dtls_bad_records_total counter: Datagrams that were not a record, not authentic, or of an unknown context",
    "mqttsn_dtls_certificates_refused_total counter: Devices that were refused with their certificates, by reason",
    "mqttsn_dtls_contexts gauge: Devices with a finished handshake",
    "mqttsn_dtls_cookies_total counter: Hellos that were answered with a cookie",
    "mqttsn_dtls_handshakes_open gauge: Handshakes under way",
    "mqttsn_dtls_handshakes_total counter: Handshakes by how they ended: done, expired (the device did not go on, or has another key), unsuitable (nothing in common), refused (too many), not_stored",
    "mqttsn_dtls_hellos_beyond_total counter: Hellos that came faster than hellosPerSecondMax, and were dropped",
    "mqttsn_dtls_moved_total counter: Devices that continued from another address",
    "mqttsn_dtls_replays_total counter: Records that came a second time, or too late",
    "mqttsn_dtls_unsent_total counter: Messages to devices without a context, or without a number that may be used",
    "mqttsn_event_loop_delay_seconds gauge: How late the event loop was since the last scrape; quantile 1 is the longest delay",
    "mqttsn_kernel_drops_total counter: Datagrams that the kernel dropped before the gateway could read them, by transport",
    "mqttsn_messages_received_total counter: MQTT-SN messages from devices, by type",
    "mqttsn_messages_sent_total counter: MQTT-SN messages to devices, by type",
    "mqttsn_other_qos_answers_total counter: Publications that the broker answered as if they had another QoS; QoS 2 is then only as good as QoS 1",
    "mqttsn_payloads_unfit_total counter: Payloads that do not fit their declaration: sent unchanged to the broker, or dropped on the way to a device",
    "mqttsn_published_total counter: Publications from devices handed to the broker",
    "mqttsn_qos2_uncertain_total counter: QoS 2 publications of which it cannot be known whether the broker has them",
    "mqttsn_retransmissions_total counter: Messages repeated towards devices",
    "mqttsn_send_errors_total counter: Datagrams that could not be sent, by transport",
    "mqttsn_sessions gauge: Sessions by state",
    "mqttsn_store_failing gauge: 1 while the store cannot write",
    "mqttsn_upstream_dropped_total counter: For this release still: the sum of mqttsn_upstream_qos0_dropped_total",
    "mqttsn_upstream_links_up gauge: Connections to all brokers; mqttsn_upstream_connections has them by upstream",
    "mqttsn_upstream_receive_maximum_exceeded_total counter: For this release still: the sum of mqttsn_upstream_receive_maximum_ended_total",
  ]);
});

test("connections that say nothing do not keep anybody from health", async () => {
  const server = new ApiServer(
    { host: "127.0.0.1", port: 0 },
    { health: () => ({ ok: true }), metrics: () => Promise.resolve({ contentType: "text/plain", text: "m" }) },
  );
  await server.start();
  const { port } = new URL(server.place);
  const silent = Array.from({ length: 80 }, () => createConnection(Number(port), "127.0.0.1"));
  let ended = 0;
  for (const socket of silent) socket.on("error", () => {}).on("close", () => ended++);
  await Promise.all(silent.map((socket) => once(socket, "connect")));
  expect((await fetch(`${server.place}/healthz`)).status).toBe(200);
  expect(await (await fetch(`${server.place}/metrics`)).text()).toBe("m");
  expect(ended).toBeGreaterThanOrEqual(80 - 32);
  for (const socket of silent) socket.destroy();
  await server.close();
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
