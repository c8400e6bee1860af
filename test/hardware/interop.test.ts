/** The device library in C against the real gateway: over UDP with and without loss, over Bluetooth LE, behind a forwarder. */
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { QoS } from "../../src/wire/fields.ts";
import { BleLab, missingFromLab } from "../ble/lab/lab.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { startGateway, until } from "../helpers/test-gateway.ts";
import { CDevice } from "./c-device.ts";
import { hardware, make, missingCompiler } from "./compiler.ts";
import { RadioModule } from "./line-device.ts";
import { LossyUdp } from "./lossy-udp.ts";
import { PtyLine } from "./pty-line.ts";

const missing = missingCompiler();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;
const levels: readonly QoS[] = [0, 1, 2];

describe.skipIf(missing !== undefined)(`the library in C and the gateway${named}`, () => {
  const open: (() => unknown)[] = [];
  beforeAll(() => make("device"));
  afterEach(async () => {
    for (const close of open.splice(0).reverse()) await close();
  });

  function library(clientId: string): CDevice {
    const device = new CDevice({ clientId, retrySeconds: 1, retryLimit: 20, congestionSeconds: 1, seed: 7 });
    open.push(() => device.close());
    return device;
  }

  async function bench() {
    const broker = await RecordingBroker.start();
    open.push(() => broker.close());
    const { gateway, port } = await startGateway({
      upstream: { url: broker.url, reconnect: { minSeconds: 0.1, maxSeconds: 0.5 } },
      retry: { intervalSeconds: 1, limit: 10 },
      topics: { predefined: { "7": "up/seven" } },
    });
    open.push(() => gateway.stop());
    const device = async (clientId: string, loss = 0) => {
      const udp = await LossyUdp.open(library(clientId), port, loss);
      open.push(() => udp.close());
      return udp;
    };
    const send = (topicName: string, text: string, qos: QoS) =>
      broker.broker.publish({ topicName, payload: Buffer.from(text), qos, retain: false });
    return { broker, gateway, device, send };
  }

  test("UDP: QoS -1 to 2 up, QoS 0 to 2 down, by name, short name and predefined id", async () => {
    const { broker, device, send } = await bench();
    const barn = await device("barn");
    // It promises nothing, least of all while the gateway's own connection for it is not there yet.
    await until("QoS -1 at the broker", () => {
      const payload = Buffer.from("minus one");
      barn.act((each, now) => each.publishWithoutConnection({ topic: { by: "predefined", topicId: 7 }, payload }, now));
      return broker.saved.has("minus one");
    });
    await barn.connect();
    await barn.subscribe("down/#", 2);
    for (const qos of levels) {
      await barn.publish("up/name", `name ${qos}`, qos);
      barn.act((each, now) =>
        each.publish({ topic: { by: "short", topicName: "sh" }, payload: Buffer.from(`short ${qos}`), qos }, now),
      );
      await until(`short ${qos}`, () => broker.saved.has(`short ${qos}`) && barn.device.idle);
      send(`down/${qos}`, `down ${qos}`, qos);
      await until(`down ${qos}`, () => barn.received.includes(`down ${qos}`));
    }
    const arrived = () => [...broker.saved].filter(([text]) => /^(name|short)/.test(text)).map(([, times]) => times);
    await until("the rest", () => arrived().length === 6);
    expect(arrived()).toEqual([1, 1, 1, 1, 1, 1]);
    expect(barn.received).toEqual(["down 0", "down 1", "down 2"]);
    barn.act((each, now) => each.disconnect(now));
    await barn.heard("disconnected");
    expect(broker.wills).toEqual([]);
  });

  test("UDP: the will of a device that falls silent, as it was updated last", async () => {
    const { broker, device } = await bench();
    const barn = await device("barn");
    const will = { topicName: "up/will", payload: Buffer.from("old"), qos: 1, retain: false } as const;
    await barn.connect({ clean: true, keepAliveSeconds: 1, will });
    barn.act((each, now) => each.updateWillMessage(Buffer.from("barn is gone"), now));
    await barn.heard("willUpdated");
    barn.close();
    await until("the will", () => broker.saved.has("barn is gone"), 20_000);
    expect(broker.saved.has("old")).toBe(false);
  });

  test("UDP: sleeps and fetches what waited, three times, with one CONNECT", async () => {
    const { device, send } = await bench();
    const barn = await device("barn");
    await barn.connect();
    await barn.subscribe("down/x", 1);
    barn.act((each, now) => each.sleep(60, now));
    await barn.heard("asleep");
    for (let wake = 1; wake <= 3; wake++) {
      for (const qos of levels) send("down/x", `wake ${wake} qos ${qos}`, qos);
      await new Promise((resolve) => setTimeout(resolve, 50)); // would arrive at once, if it were not asleep
      expect(barn.received).toHaveLength(3 * (wake - 1));
      barn.act((each, now) => each.wake(now));
      await until("drained", () => barn.events.filter(({ event }) => event === "drained").length === wake);
      expect(barn.device.state).toBe("asleep");
      expect(barn.received).toHaveLength(3 * wake);
    }
    expect(barn.events.filter(({ event }) => event === "connected")).toHaveLength(1);
  });

  test("UDP, a fifth of all datagrams lost: nothing acknowledged is missing, QoS 2 is once, both ways", async () => {
    const { broker, device, send } = await bench();
    const barn = await device("barn", 0.2);
    await barn.connect();
    await barn.subscribe("down/x", 2);
    for (let i = 0; i < 12; i++) {
      const qos = (1 + (i % 2)) as QoS;
      send("down/x", `down ${i}`, qos);
      await barn.publish(`up/${i % 6}`, `up ${i}`, qos);
      expect(broker.saved.get(`up ${i}`) ?? 0).toBeGreaterThan(0);
      if (qos === 2) expect(broker.saved.get(`up ${i}`)).toBe(1);
    }
    await until("all of them", () => new Set(barn.received).size === 12, 60_000);
    for (let i = 1; i < 12; i += 2) expect(barn.received.filter((text) => text === `down ${i}`)).toHaveLength(1);
    expect(barn.lost).toBeGreaterThan(5);
  });

  const noLab = missingFromLab();
  test.skipIf(noLab !== undefined)(
    `Bluetooth LE: a peripheral with an MTU of 23 whose application is the library${noLab === undefined ? "" : ` (skipped: ${noLab})`}`,
    async () => {
      const lab = await BleLab.start();
      open.push(() => lab.close());
      const barn = lab.device("barn", { mtu: 23, library: library("barn") });
      await barn.on();
      await barn.connect(false);
      await barn.subscribe("down/barn", 2);
      for (const qos of levels) {
        await barn.publish("up/barn", `up ${qos} ${"x".repeat(50)}`, qos);
        await lab.publish("down/barn", `down ${qos} ${"y".repeat(50)}`, qos);
      }
      await until("what was sent", () => barn.received.length === 3);
      for (const qos of levels) await lab.arrives(`up ${qos} ${"x".repeat(50)}`);
      expect([...lab.seen.values()]).toEqual([1, 1, 1]);
      // Another link, another address, the same session.
      barn.act((each, now) => each.sleep(60, now));
      await until("asleep", () => barn.device.state === "asleep");
      barn.off();
      await lab.publish("down/barn", "while asleep", 1);
      await barn.on("c0:00:00:00:12:34");
      await barn.linked();
      barn.act((each, now) => each.wake(now));
      await until("drained", () => barn.events.some(({ event }) => event === "drained"));
      expect(barn.received.at(-1)).toBe("while asleep");
      expect(barn.events.filter(({ event }) => event === "connected")).toHaveLength(1);
    },
  );

  test("behind the forwarder, on a serial line", async () => {
    const folder = mkdtempSync(join(tmpdir(), "forwarded-"));
    open.push(() => rmSync(folder, { recursive: true }));
    PtyLine.build(folder);
    await make("forwarder", "CFLAGS=-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all", "OUT=build");
    const { broker, gateway, send } = await bench();
    const port = gateway.places()[0]?.split(":").at(-1) ?? "";
    const line = await PtyLine.plug(folder, join(folder, "radio"));
    open.push(() => line.unplug());
    const module = new RadioModule();
    module.attach(line);
    const forwarder = spawn(join(hardware, "forwarder/build/mqtt-sn-forwarder"), [
      ...["-d", line.path, "-g", "127.0.0.1", "-p", port],
    ]);
    let said = "";
    forwarder.stderr.on("data", (text) => {
      said += text;
    });
    open.push(async () => {
      const over = new Promise((done) => forwarder.once("exit", done));
      forwarder.kill("SIGTERM");
      await over;
    });
    await until("the line to be open", () => said.includes("open,"));
    const barn = module.device("barn", Uint8Array.of(0x0a, 0x01), library("barn"));
    open.push(() => barn.close());
    await barn.connect();
    await barn.subscribe("down/x");
    for (let i = 0; i < 5; i++) {
      await barn.publish("up/x", `up ${i}`);
      send("down/x", `down ${i}`, 1);
      await barn.got(`down ${i}`);
    }
    expect([...broker.saved].filter(([text]) => text.startsWith("up"))).toHaveLength(5);
    expect(module.pieces.every((piece) => piece[1] === 0xfe)).toBe(true);
  });
});
