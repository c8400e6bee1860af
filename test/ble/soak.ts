/**
 * `npm run soak:ble`: long runs with figures, not part of CI. The gateway is a separate process, so that its memory and that of its child
 * can be measured.
 */
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { UdpDevice } from "../../src/cli/udp-device.ts";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { until } from "../helpers/test-gateway.ts";
import { Air } from "./lab/air.ts";
import { BleDevice } from "./lab/ble-device.ts";
import { element } from "./lab/controller.ts";
import { GatewayProcess } from "./lab/gateway-process.ts";
import { Injector } from "./lab/injector.ts";
import { nordicUart } from "./lab/peripheral.ts";

const cycles = Number(process.env["CYCLES"] ?? 2_000);
const advertisers = Number(process.env["ADVERTISERS"] ?? 100_000);
const blockedSeconds = Number(process.env["BLOCKED_SECONDS"] ?? 40);
const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

async function gatewayAt(brokerPort: number, hci: string, ble: Record<string, unknown> = {}): Promise<GatewayProcess> {
  const gateway = await GatewayProcess.start(brokerPort, hci, ble);
  open.push(gateway);
  return gateway;
}

async function broker(): Promise<Mosquitto> {
  const program = findMosquitto();
  if ("missing" in program) throw new Error(program.missing);
  const started = await Mosquitto.create(program);
  open.push({ close: () => started.dispose() });
  return started;
}

async function air(): Promise<Air> {
  const started = new Air();
  await started.start();
  open.push(started);
  return started;
}

test(`${cycles} times: connect, publish, drop`, async () => {
  const mosquitto = await broker();
  const radio = await air();
  const gateway = await gatewayAt(mosquitto.plainPort, radio.socket);
  const figures: string[] = [];
  let done = 0;
  const began = performance.now();
  const worker = async (n: number) => {
    for (let round = 0; done < cycles; round++) {
      const address = `c0:${[n, round >> 8, round & 0xff, 0, 1].map((octet) => octet.toString(16).padStart(2, "0")).join(":")}`;
      const device = new BleDevice(radio.socket, { clientId: `cycle${n}`, name: `cycle${n}`, retryMs: 5_000 });
      await device.on(address);
      await until("a link", () => device.isLinked, 60_000);
      await device.connect();
      await device.publish(`soak/${n}`, `round ${round}`, 1);
      device.close();
      if (++done % (cycles / 10) === 0) {
        figures.push(
          `${done} cycles, ${Math.round((performance.now() - began) / 1_000)} s: gateway and child ${gateway.memory().join(" and ")} MB`,
        );
      }
    }
  };
  await Promise.all(Array.from({ length: 8 }, (_, n) => worker(n)));
  console.log(figures.join("\n"));
  expect(done).toBeGreaterThanOrEqual(cycles);
}, 3_600_000);

test(`${advertisers} advertisers`, async () => {
  const mosquitto = await broker();
  const radio = await air();
  const folder = mkdtempSync(join(tmpdir(), "injector-"));
  const injector = await Injector.start(join(folder, "hci"), radio.socket);
  open.push(injector);
  const gateway = await gatewayAt(mosquitto.plainPort, injector.path, {
    supervision: { memoryMegabytesMax: 100 },
  });
  await sleep(2_000);
  const uart = Buffer.concat([element(1, Buffer.of(6)), element(7, Buffer.from(nordicUart, "hex").reverse())]);
  const stranger = Buffer.concat([element(1, Buffer.of(6)), element(0xff, Buffer.from("4c001005031c", "hex"))]);
  const figures: string[] = [];
  let lastChild = gateway.child();
  let children = 1;
  for (let n = 0; n < advertisers; n++) {
    const address = `c1:00:${[n >> 24, n >> 16, n >> 8, n].map((octet) => (octet & 0xff).toString(16).padStart(2, "0")).join(":")}`;
    // Of a hundred: one has the service, five broadcast a reading, the others are foreign devices.
    if (n % 100 === 0) injector.advertise(address, "connectable", uart);
    else if (n % 20 === 1)
      injector.advertise(address, "not connectable", element(0xff, Buffer.from("ffffa1000700012137", "hex")));
    else injector.advertise(address, "connectable", stranger);
    if (n % 100 === 99) {
      await sleep(20);
      while (injector.backlog > 100_000) await sleep(10);
    }
    if (n % 1_000 === 999 && gateway.child() !== undefined && gateway.child() !== lastChild) {
      lastChild = gateway.child();
      children++;
    }
    // While a child is being replaced, no advertisement would be received.
    if (n % 1_000 === 999) await until("a child", () => gateway.child() !== undefined);
    if ((n + 1) % (advertisers / 20) === 0) {
      figures.push(`${n + 1} advertisers, child ${children}: gateway and child ${gateway.memory().join(" and ")} MB`);
    }
  }
  console.log(figures.join("\n"));
}, 3_600_000);

test.each([
  ["ended after 10 s of silence, as configured", 10],
  ["left alone until it goes on", 120],
])(
  `UDP while the child is blocked for ${blockedSeconds} s: %s`,
  async (_what, silenceSeconds) => {
    const mosquitto = await broker();
    const radio = await air();
    const gateway = await gatewayAt(mosquitto.plainPort, radio.socket, { supervision: { silenceSeconds } });
    const bluetooth = new BleDevice(radio.socket, { clientId: "bluetooth", name: "bluetooth" });
    open.push(bluetooth);
    await bluetooth.on();
    await bluetooth.connect(false, 600);
    const phase = async (seconds: number) => latencies(gateway.udpPort, seconds);
    await phase(3);
    const before = await phase(20);
    const child = gateway.child() ?? 0;
    process.kill(child, "SIGSTOP");
    const during = await phase(blockedSeconds);
    const ended = gateway.child() !== child;
    if (!ended) process.kill(child, "SIGCONT");
    const after = await phase(20);
    const asked = performance.now();
    await bluetooth.publish("soak/bluetooth", "again", 1);
    console.log(
      [
        `before  ${before}`,
        `blocked ${during}`,
        `after   ${after}`,
        `child ${ended ? "replaced" : "the same"}; Bluetooth publication acknowledged ${Math.round(performance.now() - asked)} ms after it was tried`,
      ].join("\n"),
    );
  },
  600_000,
);

/** A hundred publications a second at QoS 1; how long PUBACK takes. */
async function latencies(port: number, seconds: number): Promise<string> {
  const waiting = new Map<number, number>();
  const times: number[] = [];
  const device = new UdpDevice({ clientId: "latency", host: "127.0.0.1", port, debug: false });
  await device.open((event) => {
    if (event.event !== "published") return;
    times.push(performance.now() - (waiting.get(event.ref) ?? 0));
  });
  device.act((each, now) => each.connect({ clean: true, keepAliveSeconds: 60 }, now));
  await until("UDP client", () => device.device.state === "active");
  const end = performance.now() + seconds * 1_000;
  while (performance.now() < end) {
    device.act((each, now) => {
      const ref = each.publish(
        { topic: { by: "name", topicName: "soak/udp" }, payload: Buffer.from("x"), qos: 1 },
        now,
      );
      waiting.set(ref, performance.now());
    });
    await sleep(10);
  }
  await until("the last PUBACK", () => device.device.idle);
  device.act((each, now) => each.disconnect(now));
  await sleep(100);
  device.close();
  times.sort((a, b) => a - b);
  const at = (share: number) => (times[Math.floor(times.length * share)] ?? 0).toFixed(2);
  return `${times.length} publications: p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(0.9999)} ms`;
}
