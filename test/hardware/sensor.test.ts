/** The sensor with a lamp, built for this machine: over UDP and over an emulated Bluetooth link, through everything. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { BleLab, missingFromLab } from "../ble/lab/lab.ts";
import { Peripheral } from "../ble/lab/peripheral.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { startGateway, until } from "../helpers/test-gateway.ts";
import { hardware, make, missingCompiler } from "./compiler.ts";

const folder = join(hardware, "sensor/build");
const missing = missingCompiler();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;
const open: { close(): unknown }[] = [];

/** A program of hardware/sensor, and what it says line by line. */
class Sensor {
  readonly lines: string[] = [];
  readonly #process: ChildProcess;
  onLine: (line: string) => void = () => {};

  constructor(program: string, ...options: string[]) {
    const running = spawn(join(folder, program), options, { stdio: ["pipe", "pipe", "inherit"] });
    this.#process = running;
    // It may be ended while the other side still speaks to it; a sensor that should live is known by its words.
    running.stdin.on("error", () => {});
    createInterface({ input: running.stdout }).on("line", (line) => {
      this.lines.push(line);
      this.onLine(line);
    });
    open.push(this);
  }

  tell(line: string): void {
    this.#process.stdin?.write(`${line}\n`);
  }

  count(line: string): number {
    return this.lines.filter((each) => each === line).length;
  }

  get alive(): boolean {
    return this.#process.exitCode === null && this.#process.signalCode === null;
  }

  close(): void {
    this.#process.kill("SIGKILL");
  }
}

describe.skipIf(missing !== undefined)(`sensor with a lamp${named}`, () => {
  beforeAll(() => make("sensor"));
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  async function start(more: Record<string, unknown> = {}, gatewayPort = 0) {
    const broker = await RecordingBroker.start();
    open.push(broker);
    const config = {
      transports: [{ type: "udp", host: "127.0.0.1", port: gatewayPort }],
      upstream: { url: broker.url, reconnect: { minSeconds: 0.05, maxSeconds: 0.2 } },
      retry: { intervalSeconds: 1, limit: 5 },
      ...more,
    };
    const { gateway, port } = await startGateway(config);
    open.push({ close: () => gateway.stop() });
    return { broker, gateway, port, config };
  }

  const publish = (broker: RecordingBroker, topicName: string, text: string) =>
    broker.broker.publish({ topicName, payload: new TextEncoder().encode(text), qos: 1, retain: false });

  test("says its temperature every second, and its lamp obeys", async () => {
    const { broker, port } = await start();
    const sensor = new Sensor("sensor-udp", "barn-1", "127.0.0.1", String(port), "1");
    await until("three readings", () => ["21.37", "21.38", "21.39"].every((text) => broker.saved.get(text) === 1));
    publish(broker, "barn-1/led", "on");
    await until("light", () => sensor.count("led on") === 1);
    publish(broker, "barn-1/led", "blink");
    await until("blinking", () => sensor.count("led on") > 5);
    publish(broker, "barn-1/led", "off");
    await until("dark", () => sensor.lines.at(-1) === "led off");
    expect(sensor.count("radio on")).toBe(1);
  });

  test("asleep between readings with its radio off: its lamp hears when it wakes", async () => {
    const { broker, gateway, port } = await start();
    const sensor = new Sensor("sensor-udp", "barn-2", "127.0.0.1", String(port), "2", "sleeps");
    await until("asleep", () => sensor.count("radio off") === 1);
    expect(gateway.sessions()).toMatchObject([{ clientId: "barn-2", state: "asleep" }]);
    publish(broker, "barn-2/led", "on");
    await until("the message waits", () => gateway.sessions()[0]?.waitingMessages === 1);
    expect(sensor.count("led on")).toBe(0);
    await until("light", () => sensor.count("led on") === 1);
    await until("asleep again", () => sensor.count("radio off") >= 2);
    expect(broker.saved.get("21.37")).toBe(1);
  });

  test("the gateway is gone for a while: it finds it again, and goes on by itself", async () => {
    const first = await start();
    const sensor = new Sensor("sensor-udp", "barn-3", "127.0.0.1", String(first.port), "1");
    await until("a reading", () => first.broker.saved.size > 0);
    await first.gateway.stop(); // with sessions in memory it says DISCONNECT
    const second = await start({}, first.port);
    await until("readings at the next", () => second.broker.saved.size > 1, 30_000);
    expect(sensor.alive).toBe(true);
  });

  test("it finds its gateway by SEARCHGW, and its gateway again", async () => {
    const first = await start({ gateway: { id: 7 } });
    new Sensor("sensor-udp", "barn-4", "127.0.0.1", String(first.port), "1", "searches");
    await until("a reading", () => first.broker.saved.has("21.37"), 20_000);
    await first.gateway.stop();
    const second = await start({}, first.port);
    await until("readings at the next", () => second.broker.saved.size > 0, 40_000);
  });

  const noLab = missingFromLab();
  const without = noLab === undefined ? "" : ` (skipped: ${noLab})`;
  test.skipIf(noLab !== undefined)(`over Bluetooth LE${without}: readings, lamp, sleep without a link`, async () => {
    const lab = await BleLab.start({ lingerSeconds: 0.2 });
    open.push(lab);
    const clientId = "up/b5"; // publications under up/ are received
    const sensor = new Sensor("sensor-ble", clientId, "3", "sleeps");
    const radio = new Peripheral(lab.socket, { name: "barn-5", address: "c0:00:00:00:00:05" });
    open.push({ close: () => radio.kill() });
    await radio.start();
    let links = 0;
    radio.on("subscribed", () => {
      links++;
      sensor.tell(`up ${radio.mtu}`);
    });
    radio.on("disconnected", () => sensor.tell("down"));
    radio.on("written", (bytes) => sensor.tell(`in ${bytes.toString("hex")}`));
    const obey = (line: string) => {
      if (line.startsWith("out ")) radio.notify(Buffer.from(line.slice(4), "hex"));
      if (line === "radio on") void radio.advertise();
      if (line === "radio off") void radio.stopAdvertising();
    };
    for (const line of sensor.lines) obey(line);
    sensor.onLine = obey;
    await lab.arrives("21.37");
    await until("asleep, without a link", () => sensor.count("radio off") === 1 && !radio.isConnected);
    expect(lab.session(clientId)?.state).toBe("asleep");
    await lab.publish(`${clientId}/led`, "on", 1);
    await until("light", () => sensor.count("led on") === 1, 30_000);
    await lab.arrives("21.38");
    expect(links).toBeGreaterThan(1);
    expect(lab.seen.get("21.37")).toBe(1);
  });
});
