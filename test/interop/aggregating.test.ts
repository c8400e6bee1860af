/** Devices that share one connection to mosquitto, MQTT 3.1.1 and 5: what a real broker does with overlapping filters, retained messages and a session that outlives the gateway. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt from "mqtt";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Gateway } from "../../src/gateway.ts";
import type { QoS } from "../../src/wire/fields.ts";
import { CutProxy } from "../helpers/cut-proxy.ts";
import { Listener } from "../helpers/listener.ts";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { Publisher, startGateway, until } from "../helpers/test-gateway.ts";

const program = findMosquitto();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

describe.skipIf(missing !== undefined).each(["3.1.1", "5"] as const)(
  `MQTT %s over one connection${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  (protocol) => {
    let broker: Mosquitto;
    let proxy: CutProxy;
    let folder: string;
    let gateway: Gateway;
    let port: number;
    let observer: mqtt.MqttClient;
    const seen = new Map<string, number>();
    const open: { close?(): void; stop?(): void }[] = [];

    const start = async () => {
      ({ gateway, port } = await startGateway({
        transports: [{ type: "udp", host: "127.0.0.1", port: port ?? 0 }],
        store: { kind: "disk", folder },
        upstream: {
          url: `mqtt://127.0.0.1:${proxy.port}`,
          protocol,
          mode: "aggregating",
          keepAliveSeconds: 5,
          connectTimeoutSeconds: 2,
          reconnect: { minSeconds: 0.1, maxSeconds: 0.3 },
        },
        retry: { intervalSeconds: 1, limit: 10 },
      }));
      await until("the connection", () => gateway.health().broker === "connected");
    };
    const listener = async (clientId: string) => {
      const made = await new Listener(`${clientId}-${protocol}`, port, { ms: 5_000, limit: 3 }).connect();
      open.push(made);
      return made;
    };
    const say = (topic: string, payload: string, qos: QoS, retain = false) =>
      observer.publishAsync(topic, payload, { qos, retain });

    beforeAll(async () => {
      if ("missing" in program) return;
      folder = mkdtempSync(join(tmpdir(), "aggregating-"));
      broker = await Mosquitto.create(program);
      proxy = await CutProxy.to(broker.plainPort);
      await start();
      observer = mqtt.connect(`mqtt://127.0.0.1:${broker.plainPort}`, { clientId: `observer-${protocol}` });
      observer.on("message", (_topic, payload) => seen.set(String(payload), (seen.get(String(payload)) ?? 0) + 1));
      await observer.subscribeAsync("t/#", { qos: 2 });
    });

    afterEach(() => {
      for (const each of open.splice(0)) (each.close ?? each.stop)?.call(each);
    });

    afterAll(async () => {
      await gateway?.stop();
      await proxy?.close();
      await observer?.endAsync(true);
      await broker?.dispose();
      if (folder) rmSync(folder, { recursive: true });
    });

    test("reset again and again: what was acknowledged is there, QoS 2 once", async () => {
      const devices = Array.from(
        { length: 4 },
        (_, i) => new Publisher({ clientId: `p${i}-${protocol}`, port, topic: `t/${i}` }),
      );
      open.push(...devices);
      for (const device of devices) await device.start();
      await until("everybody is connected", () => devices.every((d) => d.connected));
      const traffic = setInterval(() => {
        for (const device of devices) device.publish((device.sent % 3) as QoS);
      }, 5);
      for (let i = 0; i < 8; i++) {
        const target = devices.map((d) => d.acknowledged.size + 5);
        await until("traffic goes on", () => devices.every((d, n) => d.acknowledged.size >= (target[n] ?? 0)), 30_000);
        proxy.reset();
      }
      clearInterval(traffic);
      await until("everybody is idle", () => devices.every((d) => d.idle), 30_000);
      const acknowledged = devices.flatMap((d) => [...d.acknowledged]).filter(([, qos]) => qos > 0);
      const missing = () => acknowledged.filter(([payload]) => !seen.has(payload));
      await until("all at the observer", () => missing().length === 0, 30_000).catch(() => {});
      expect(missing()).toEqual([]);
      for (const [payload, qos] of acknowledged) if (qos === 2) expect(seen.get(payload), payload).toBe(1);
      expect(devices.map((d) => d.connects)).toEqual([1, 1, 1, 1]); // they did not notice
    });

    test("retained messages for who subscribes, overlapping filters, each its own QoS", async () => {
      for (const n of [1, 2]) await say(`r/${n}`, `kept ${n}`, 1, true);
      const first = await listener("first");
      await first.subscribe("r/#", 0);
      await until("what is retained", () => first.received.length === 2);
      const second = await listener("second");
      await second.subscribe("r/#", 2);
      const third = await listener("third");
      await third.subscribe("r/1", 1);
      await until("what is retained", () => second.received.length === 2 && third.received.length === 1);
      await say("r/1", "live", 2);
      const all = [first, second, third];
      await until("the live one", () => all.every(({ received }) => received.some((text) => /live/.test(text))));
      await say("r/1", "last", 0);
      await until("the last one", () => all.every(({ received }) => received.some((text) => /last/.test(text))));
      expect(first.received.sort()).toEqual([
        "r/1 kept 1 QoS 0 retained",
        "r/1 last QoS 0",
        "r/1 live QoS 0",
        "r/2 kept 2 QoS 0 retained",
      ]);
      expect(second.received.sort()).toEqual([
        "r/1 kept 1 QoS 1 retained",
        "r/1 last QoS 0",
        "r/1 live QoS 2",
        "r/2 kept 2 QoS 1 retained",
      ]);
      expect(third.received.sort()).toEqual(["r/1 kept 1 QoS 1 retained", "r/1 last QoS 0", "r/1 live QoS 1"]);
      for (const n of [1, 2]) await say(`r/${n}`, "", 0, true);
    });

    test("the gateway stops and starts: its session at the broker and its devices' go on", async () => {
      const sleeper = await listener("sleeper");
      await sleeper.subscribe("s/1", 2);
      const gone = await listener("gone");
      await gone.subscribe("s/+", 1);
      sleeper.sleep();
      await until("asleep", () => sleeper.isAsleep);
      await say("s/1", "before", 2);
      await gateway.stop();
      await say("s/1", "meanwhile", 2);
      await start();
      await say("s/1", "after", 2);
      await until("the other one has all", () => gone.received.length >= 3);
      sleeper.wake();
      await until("all handed over", () => sleeper.received.length >= 3 && sleeper.isAsleep);
      expect(sleeper.received).toEqual(["s/1 before QoS 2", "s/1 meanwhile QoS 2", "s/1 after QoS 2"]);
    });
  },
);
