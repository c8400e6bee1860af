/** A single gateway is restarted in order (SIGTERM, and started again), under traffic both ways: what was said before is answered after. */
import { expect, test } from "vitest";
import type { QoS } from "../../src/wire/fields.ts";
import { Sleeper } from "../crash/sleeper.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePort } from "../helpers/ports.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";

/** Open messages for one device. If there are as many, no more are published for it. */
const behindMax = 50;
/** RESTARTS=20 for more. */
const restarts = Number(process.env["RESTARTS"] ?? 1);

test.concurrent.for(["aggregating", "transparent"] as const)(
  "%s: over a restart nothing that was acknowledged is lost, QoS 2 comes once, nobody connects again, no will is published",
  { timeout: 120_000 + restarts * 30_000 },
  async (mode, { onTestFinished }) => {
    const broker = await RecordingBroker.start();
    onTestFinished(() => broker.close());
    const port = await freePort();
    const gateway = new PairGateway("alone", {
      transports: [{ type: "udp", host: "127.0.0.1", port }],
      upstream: { url: broker.url, mode, will: { held: "gateway" }, reconnect: { minSeconds: 0.05, maxSeconds: 0.2 } },
      retry: { intervalSeconds: 0.5, limit: 40 },
      api: { enabled: false },
      log: { level: "info", format: "json" },
    });
    onTestFinished(() => gateway.remove());
    gateway.start();
    await gateway.serves();
    const will = { topicName: "w", payload: Buffer.from("a will"), qos: 1 as const, retain: false };
    const devices = [0, 1, 2, 3].map((i) => {
      const topics = { topic: `t/${i}`, subscribeTo: `d/${i}`, will };
      return new Publisher({ clientId: `c${i}`, port, retryLimit: 240, ...topics });
    });
    const sleeper = new Sleeper("s0", port, "d/s", false, 240);
    for (const each of [...devices, sleeper]) {
      onTestFinished(() => each.stop());
      await each.start();
    }
    await until("everybody is connected", () => devices.every((device) => device.idle));
    const received = new Map<string, readonly string[]>([
      ...devices.map((device, i) => [`d/${i}`, device.received] as const),
      ["d/s", sleeper.received],
    ]);
    const sent = new Map<string, { readonly topicName: string; readonly qos: QoS }>();
    const perTopic = new Map<string, number>();
    const traffic = setInterval(() => {
      for (const device of devices) device.publish((1 + (device.sent % 2)) as QoS);
      const qos = (1 + (sent.size % 2)) as QoS;
      for (const [topicName, texts] of received) {
        const count = perTopic.get(topicName) ?? 0;
        if (count - texts.length > behindMax) continue;
        perTopic.set(topicName, count + 1);
        const text = `${topicName} ${count}`;
        sent.set(text, { topicName, qos });
        broker.broker.publish({ topicName, payload: Buffer.from(text), qos, retain: false });
      }
    }, 20);
    onTestFinished(() => clearInterval(traffic));
    const told = () => devices.flatMap(({ acknowledged }) => [...acknowledged.keys()]);
    const goesOn = async () => {
      const before = devices.map((device) => [device.acknowledged.size, device.received.length] as const);
      await until("all go on", () =>
        devices.every((device, i) => {
          const [up = 0, down = 0] = before[i] ?? [];
          return device.acknowledged.size > up + 5 && device.received.length > down + 5;
        }),
      );
    };
    await goesOn();
    for (let times = 0; times < restarts; times++) {
      expect(await gateway.end("SIGTERM")).toBe("0");
      gateway.start();
      await gateway.serves();
      await goesOn();
    }
    clearInterval(traffic);
    await until("everybody is idle", () => devices.every((device) => device.idle));
    const missing = () =>
      [...sent].filter(([text, { topicName }]) => !received.get(topicName)?.includes(text)).map(([text]) => text);
    await until("all is delivered", () => missing().length === 0).catch(() => {});
    expect(missing(), "at the broker, and not delivered").toEqual([]);
    expect(
      told().filter((text) => !broker.saved.has(text)),
      "acknowledged, and not at the broker",
    ).toEqual([]);
    const doubledUp = [...broker.saved].filter(([text, times]) => times > 1 && /^c\d#\d*[02468]$/.test(text));
    expect(doubledUp, "twice at the broker, at QoS 2").toEqual([]);
    for (const [topicName, texts] of received) {
      const once = new Set<string>();
      const doubled = texts.filter((text) => sent.get(text)?.qos === 2 && (once.has(text) || !once.add(text)));
      expect(doubled, `twice at ${topicName}, at QoS 2`).toEqual([]);
    }
    expect([...devices, sleeper].map(({ connects }) => connects)).toEqual([1, 1, 1, 1, 1]);
    expect(broker.wills).toEqual([]);
  },
);
