/** The whole gateway between real devices and a broker that is cut at any packet: nothing acknowledged is lost. */
import { expect, test } from "vitest";
import type { QoS } from "../../src/wire/fields.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { Publisher, startGateway, until } from "../helpers/test-gateway.ts";

test.each([
  ["3.1.1", "transparent", true],
  ["3.1.1", "transparent", false],
  ["5", "transparent", true],
  ["3.1.1", "aggregating", true],
  ["5", "aggregating", true],
  ["5", "aggregating", false],
] as const)(
  "MQTT %s, %s, io_uring (where it can be had) %s, cut at any packet: what was acknowledged is saved, QoS 2 once",
  { timeout: 60_000 },
  async (protocol, mode, ioUring) => {
    const broker = await RecordingBroker.start(7);
    const { gateway, port } = await startGateway({
      upstream: { url: broker.url, protocol, mode, ioUring, reconnect: { minSeconds: 0.05, maxSeconds: 0.2 } },
    });
    const devices = Array.from(
      { length: 6 },
      (_, i) => new Publisher({ clientId: `c${i}`, port, topic: `site/t/${i}`, subscribeTo: `d/${i}` }),
    );
    try {
      for (const device of devices) await device.start();
      broker.faults.cut = 0.03;
      let downward = 0;
      const traffic = setInterval(() => {
        for (const device of devices) device.publish((device.sent % 3) as QoS);
        for (let i = 0; i < devices.length; i++) {
          broker.broker.publish({
            topicName: `d/${i}`,
            payload: new TextEncoder().encode(`down${++downward}`),
            qos: 2,
            retain: false,
          });
        }
      }, 10);
      await until(
        "enough traffic and cuts",
        () => broker.cuts >= 40 && devices.every((d) => d.acknowledged.size >= 30),
        40_000,
      );
      clearInterval(traffic);
      broker.faults.cut = 0;
      await until("everybody is idle", () => devices.every((d) => d.idle));
      for (const device of devices) {
        for (const [payload, qos] of device.acknowledged) {
          if (qos > 0) expect(broker.saved.get(payload), payload).toBeGreaterThanOrEqual(1);
          if (qos > 0) expect(broker.topics.get(payload)).toBe(`site/t/${payload.slice(1).split("#")[0]}`);
          if (qos === 2) expect(broker.saved.get(payload), payload).toBe(1);
        }
        expect(new Set(device.received).size, `${device.clientId} got a QoS 2 message twice`).toBe(
          device.received.length,
        );
      }
      expect(broker.aliasesUnknown).toBe(0);
      expect(broker.aliasesUsed > 0).toBe(protocol === "5");
    } finally {
      for (const device of devices) device.stop();
      await gateway.stop();
      await broker.close();
    }
  },
);

test("a publication for which the broker closes is found among such with topic aliases, and takes no other with it", {
  timeout: 60_000,
}, async () => {
  const broker = await RecordingBroker.start(8);
  const { gateway, port } = await startGateway({
    upstream: {
      url: broker.url,
      protocol: "5",
      mode: "aggregating",
      reconnect: { minSeconds: 0.05, maxSeconds: 0.2 },
    },
  });
  const devices = Array.from({ length: 4 }, (_, i) => new Publisher({ clientId: `c${i}`, port, topic: `site/t/${i}` }));
  try {
    broker.faults.closesFor = ({ text }) => text === "c1#8";
    for (const device of devices) await device.start();
    const traffic = setInterval(() => {
      for (const device of devices) device.publish(1);
    }, 20);
    await until(
      "it is taken out, and everybody goes on",
      () => broker.closes > 0 && devices.every((device) => device.acknowledged.size >= 30),
      50_000,
    );
    clearInterval(traffic);
    await until("everybody is idle", () => devices.every((device) => device.idle));
    expect(broker.saved.has("c1#8")).toBe(false);
    for (const payload of devices.flatMap(({ acknowledged }) => [...acknowledged.keys()]))
      expect(broker.topics.get(payload), payload).toBe(`site/t/${payload.slice(1).split("#")[0]}`);
    expect(broker.aliasesUnknown).toBe(0);
    expect(broker.aliasesUsed).toBeGreaterThan(0);
  } finally {
    for (const device of devices) device.stop();
    await gateway.stop();
    await broker.close();
  }
});
