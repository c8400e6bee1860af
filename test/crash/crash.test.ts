/**
 * kill -9 of the real gateway at random moments, under traffic both ways with sleepers, again and again. ROUNDS says how
 * often (30). What devices were told is published must be at the broker, at QoS 2 once; what the broker was told is
 * delivered must reach its device, at QoS 2 once; and nobody has to CONNECT again.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test } from "vitest";
import { UdpDevice } from "../../src/cli/udp-device.ts";
import type { DeviceEvent } from "../../src/device/device.ts";
import type { QoS } from "../../src/wire/fields.ts";
import { freePort } from "../helpers/mosquitto.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";

const rounds = Number(process.env["ROUNDS"] ?? 30);
const main = resolve(import.meta.dirname, "../../dist/main.js");

class MortalGateway {
  readonly folder = mkdtempSync(join(tmpdir(), "crash-"));
  readonly port: number;
  #process: ChildProcess | undefined;
  log = "";

  constructor(port: number, config: Record<string, unknown>) {
    this.port = port;
    const transports = [{ type: "udp", host: "127.0.0.1", port }];
    writeFileSync(
      join(this.folder, "gateway.config.json"),
      JSON.stringify({
        transports,
        api: { enabled: false },
        log: { level: "debug", format: "json" },
        ...config,
      }),
    );
  }

  async start(): Promise<void> {
    const running = spawn(process.execPath, [main, "start"], { cwd: this.folder, stdio: ["ignore", "pipe", "pipe"] });
    this.#process = running;
    let ready = false;
    for (const stream of [running.stdout, running.stderr]) {
      stream.on("data", (text) => {
        this.log = (this.log + text).slice(-200_000);
        ready ||= /"ready: /.test(String(text));
      });
    }
    await until("the gateway", () => ready);
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const running = this.#process;
    if (!running) return;
    const gone = new Promise((done) => running.once("exit", done));
    running.kill(signal);
    await gone;
  }
}

/** Sleeps most of the time, and fetches what waits. */
class Sleeper {
  readonly received: string[] = [];
  readonly #udp: UdpDevice;
  readonly #topic: string;
  #timer: NodeJS.Timeout | undefined;
  connects = 0;
  isSubscribed = false;

  constructor(clientId: string, port: number, topic: string) {
    this.#topic = topic;
    this.#udp = new UdpDevice({ clientId, host: "127.0.0.1", port, retryMs: 300, retryLimit: 60, debug: false });
  }

  async start(): Promise<void> {
    await this.#udp.open((event) => this.#on(event));
    this.#udp.act((device, now) => device.connect({ clean: false, keepAliveSeconds: 60 }, now));
    await until("the sleeper's subscription", () => this.isSubscribed);
    this.#udp.act((device, now) => device.sleep(120, now));
    this.#timer = setInterval(() => {
      if (this.#udp.device.state === "asleep" && this.#udp.device.idle)
        this.#udp.act((device, now) => device.wake(now));
    }, 400);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#udp.close();
  }

  #on(event: DeviceEvent): void {
    if (event.event === "message") this.received.push(Buffer.from(event.payload).toString());
    if (event.event === "subscribed") this.isSubscribed = true;
    if (event.event !== "connected") return;
    this.connects++;
    if (!this.isSubscribed) {
      this.#udp.act((device, now) => device.subscribe({ by: "name", topicName: this.#topic }, 2, now));
    }
  }
}

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

test.each([
  ["3.1.1", "the broker stays"],
  ["5", "the broker stays"],
  ["3.1.1", "the broker goes too, and connections are cut"],
  ["5", "the broker goes too, and connections are cut"],
] as const)(
  `MQTT %s: ${rounds} rounds of kill -9, %s`,
  async (protocol, trouble) => {
    const isTroubled = trouble !== "the broker stays";
    const broker = await RecordingBroker.start(7);
    open.push(broker);
    const gateway = new MortalGateway(await freePort(), {
      upstream: { url: broker.url, protocol, reconnect: { minSeconds: 0.05, maxSeconds: 0.2 } },
      retry: { intervalSeconds: 0.5, limit: 40 },
    });
    await gateway.start();
    open.push({
      close: async () => {
        await gateway.kill();
        if (process.env["CRASH_LOG"]) writeFileSync(process.env["CRASH_LOG"], gateway.log);
        rmSync(gateway.folder, { recursive: true });
      },
    });
    const { port } = gateway;
    const devices = Array.from(
      { length: 4 },
      (_, i) => new Publisher({ clientId: `c${i}`, port, topic: `t/${i}`, subscribeTo: `d/${i}` }),
    );
    const sleepers = [new Sleeper("s0", port, "s/0"), new Sleeper("s1", port, "s/1")];
    for (const each of [...devices, ...sleepers]) {
      await each.start();
      open.push({ close: () => each.stop() });
    }
    await until("everybody is connected", () => devices.every((device) => device.idle));
    const sent = new Map<string, QoS>();
    let down = 0;
    const traffic = setInterval(() => {
      for (const device of devices) device.publish((1 + (device.sent % 2)) as QoS);
      const qos = (1 + (down % 2)) as QoS;
      for (const topicName of ["d/0", "d/1", "d/2", "d/3", "s/0", "s/1"]) {
        const text = `${topicName} ${++down} QoS ${qos}`;
        sent.set(text, qos);
        broker.broker.publish({ topicName, payload: Buffer.from(text), qos, retain: false });
      }
    }, 25);
    open.push({ close: () => clearInterval(traffic) });
    const began = performance.now();
    if (isTroubled) broker.faults.cut = 0.002;
    let outages = 0;
    for (let round = 0; round < rounds; round++) {
      await sleep(100 + Math.random() * 900);
      if (isTroubled && Math.random() < 0.5) {
        outages += broker.faults.away ? 0 : 1;
        broker.faults.away = !broker.faults.away;
        if (broker.faults.away) broker.broker.cutAll();
        await sleep(Math.random() * 300);
      }
      await gateway.kill();
      await gateway.start();
    }
    clearInterval(traffic);
    Object.assign(broker.faults, { cut: 0, away: false });
    const receivedBy = new Map<string, string[]>([
      ...devices.map((device, i): [string, string[]] => [`d/${i}`, device.received]),
      ...sleepers.map((sleeper, i): [string, string[]] => [`s/${i}`, sleeper.received]),
    ]);
    const missing = () => [...sent.keys()].filter((text) => !receivedBy.get(text.split(" ")[0] ?? "")?.includes(text));
    await until("everybody is idle", () => devices.every((device) => device.idle), 30_000);
    await until("everything has arrived", () => missing().length === 0, 60_000).catch(() => {});
    expect(missing()).toEqual([]);
    const told = () => devices.flatMap(({ acknowledged }) => [...acknowledged.keys()]);
    await until(
      "all that was acknowledged is at the broker",
      () => told().every((text) => broker.saved.has(text)),
      60_000,
    ).catch(() => {});
    for (const texts of receivedBy.values()) {
      const twice = texts.filter((text, i) => sent.get(text) === 2 && texts.indexOf(text) !== i);
      expect(twice).toEqual([]);
    }
    let acknowledged = 0;
    for (const device of devices) {
      acknowledged += device.acknowledged.size;
      for (const [payload, qos] of device.acknowledged) {
        expect(broker.saved.get(payload), payload).toBeGreaterThanOrEqual(1);
        if (qos === 2) expect(broker.saved.get(payload), payload).toBe(1);
      }
    }
    expect([...devices, ...sleepers].map(({ connects }) => connects)).toEqual([1, 1, 1, 1, 1, 1]);
    const seconds = Math.round((performance.now() - began) / 1_000);
    console.log(
      `MQTT ${protocol}, ${trouble}: ${rounds} kills, ${outages} outages, ${broker.cuts} cuts in ${seconds} s; up ${acknowledged} acknowledged, down ${sent.size} sent; ` +
        "0 lost, 0 QoS 2 duplicates, 0 connected again",
    );
  },
  rounds * 4_000 + 120_000,
);
