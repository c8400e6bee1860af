/** mosquitto over TLS with a client certificate, MQTT 3.1.1 and 5, under traffic: cut, silent, stopped and started. */
import mqtt from "mqtt";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Gateway } from "../../src/gateway.ts";
import type { QoS } from "../../src/wire/fields.ts";
import { CutProxy } from "../helpers/cut-proxy.ts";
import { findMosquitto, fixture, Mosquitto } from "../helpers/mosquitto.ts";
import { Publisher, startGateway, until } from "../helpers/test-gateway.ts";

const program = findMosquitto();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

describe.skipIf(missing !== undefined).each(["3.1.1", "5"] as const)(
  `MQTT %s over TLS${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  (protocol) => {
    let broker: Mosquitto;
    let proxy: CutProxy;
    let gateway: Gateway;
    let port: number;
    let observer: mqtt.MqttClient;
    const seen = new Map<string, number>();

    const tls = {
      ca: fixture("ca.pem"),
      cert: fixture("client.pem"),
      key: fixture("client-key.pem"),
      serverName: "localhost",
    };

    beforeAll(async () => {
      if ("missing" in program) return;
      broker = await Mosquitto.create(program);
      proxy = await CutProxy.to(broker.tlsPort);
      ({ gateway, port } = await startGateway({
        upstream: {
          url: `mqtts://127.0.0.1:${proxy.port}`,
          protocol,
          tls,
          keepAliveSeconds: 5,
          reconnect: { minSeconds: 0.1, maxSeconds: 0.5 },
        },
      }));
      observer = mqtt.connect(`mqtt://127.0.0.1:${broker.plainPort}`, {
        clientId: `observer-${protocol}`,
        clean: false,
        reconnectPeriod: 100,
      });
      observer.on("message", (_topic, payload) => seen.set(String(payload), (seen.get(String(payload)) ?? 0) + 1));
      await observer.subscribeAsync("t/#", { qos: 2 });
    });

    afterAll(async () => {
      await gateway?.stop();
      await proxy?.close();
      await observer?.endAsync(true);
      await broker?.dispose();
    });

    async function withTraffic(trouble: (devices: readonly Publisher[]) => Promise<void>): Promise<void> {
      const name = `${protocol}-${seen.size}`;
      const devices = Array.from(
        { length: 4 },
        (_, i) => new Publisher({ clientId: `${name}-${i}`, port, topic: `t/${i}` }),
      );
      for (const device of devices) await device.start();
      await until("everybody is connected", () => devices.every((d) => d.connected));
      const traffic = setInterval(() => {
        for (const device of devices) device.publish((device.sent % 3) as QoS);
      }, 5);
      await trouble(devices);
      clearInterval(traffic);
      await until("everybody is idle again", () => devices.every((d) => d.idle), 30_000);
      const acknowledged = devices.flatMap((d) => [...d.acknowledged]).filter(([, qos]) => qos > 0);
      await until(
        "all acknowledged messages at the observer",
        () => acknowledged.every(([payload]) => seen.has(payload)),
        20_000,
      );
      for (const [payload, qos] of acknowledged) if (qos === 2) expect(seen.get(payload), payload).toBe(1);
      for (const device of devices) device.stop();
    }

    const goesOn = async (devices: readonly Publisher[], more = 20) => {
      const target = devices.map((d) => d.acknowledged.size + more);
      await until("traffic goes on", () => devices.every((d, i) => d.acknowledged.size >= (target[i] ?? 0)), 40_000);
    };

    test("undisturbed", async () => {
      await withTraffic((devices) => goesOn(devices, 60));
    });

    test("connections reset again and again", async () => {
      await withTraffic(async (devices) => {
        for (let i = 0; i < 8; i++) {
          await goesOn(devices, 5);
          proxy.reset();
        }
        await goesOn(devices);
      });
    });

    test("silence without RST: noticed by keep alive, then everything resumes", async () => {
      await withTraffic(async (devices) => {
        await goesOn(devices, 5);
        proxy.silent = true;
        await until("the gateway noticed", () => devices.every((d) => !d.connected), 30_000);
        proxy.silent = false;
        proxy.reset();
        await goesOn(devices);
      });
    });

    test("mosquitto stopped and started", async () => {
      await withTraffic(async (devices) => {
        await goesOn(devices, 5);
        await broker.stop();
        await until("the devices were told", () => devices.every((d) => !d.connected), 20_000);
        await broker.start();
        await goesOn(devices);
      });
    });

    test("a certificate that is not trusted is refused", async () => {
      const { gateway: other } = await startGateway({
        upstream: {
          url: `mqtts://127.0.0.1:${broker.tlsPort}`,
          tls: { ...tls, serverName: "somebody-else" },
          serviceClientId: `other-${protocol}`,
        },
      });
      await new Promise((done) => setTimeout(done, 500));
      expect(other.health().broker).toBe("away");
      await other.stop();
    });

    test.each([
      [
        "a pre-shared key",
        () => ({
          url: `mqtts://127.0.0.1:${broker.pskPort}`,
          tls: { psk: { identity: "gateway", key: { env: "TEST_PSK" } } },
        }),
        "connected",
      ],
      [
        "a wrong pre-shared key",
        () => ({
          url: `mqtts://127.0.0.1:${broker.pskPort}`,
          tls: { psk: { identity: "gateway", key: { env: "TEST_WRONG" } } },
        }),
        "away",
      ],
      [
        "user and password",
        () => ({
          url: `mqtt://127.0.0.1:${broker.passwordPort}`,
          username: "user",
          password: { env: "TEST_PASSWORD" },
        }),
        "connected",
      ],
      [
        "a wrong password",
        () => ({ url: `mqtt://127.0.0.1:${broker.passwordPort}`, username: "user", password: { env: "TEST_WRONG" } }),
        "away",
      ],
      ["WebSocket", () => ({ url: `ws://127.0.0.1:${broker.websocketPort}` }), "connected"],
    ])("%s", async (_name, upstream, expected) => {
      Object.assign(process.env, { TEST_PSK: "0123456789abcdef", TEST_PASSWORD: "barn", TEST_WRONG: "ffff" });
      const { gateway: other } = await startGateway({
        upstream: { ...upstream(), protocol, serviceClientId: `with-${protocol}` },
      });
      try {
        if (expected === "connected") await until("the broker accepts", () => other.health().broker === "connected");
        else await new Promise((done) => setTimeout(done, 500));
        expect(other.health().broker).toBe(expected);
      } finally {
        await other.stop();
      }
    });
  },
);
