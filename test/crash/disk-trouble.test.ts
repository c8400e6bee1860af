/**
 * The real gateway process on a faulty disk: read-only when it starts, full while it runs. Requests that need the disk get "congestion",
 * all others continue, the operator is told, and the gateway recovers by itself.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { freePort } from "../helpers/ports.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";
import { MortalGateway } from "./mortal-gateway.ts";
import { SmallDisk } from "./small-disk.ts";

const small = SmallDisk.mount(8);

test.skipIf(!small)(
  `read-only at the start, full while it runs${small ? "" : " (skipped: no small file system can be mounted here)"}`,
  { timeout: 120_000 },
  async ({ onTestFinished }) => {
    if (!small) return;
    onTestFinished(() => small.unmount());
    const broker = await RecordingBroker.start();
    onTestFinished(() => broker.close());
    const folder = join(small.folder, "data");
    mkdirSync(folder);
    const apiPort = await freePort();
    const gateway = new MortalGateway(await freePort(), {
      upstream: { url: broker.url, reconnect: { minSeconds: 0.05, maxSeconds: 0.2 } },
      store: { folder },
      api: { host: "127.0.0.1", port: apiPort },
    });
    onTestFinished(async () => {
      await gateway.kill();
      gateway.remove();
    });
    const failing = async () => {
      const text = await (await fetch(`http://127.0.0.1:${apiPort}/metrics`)).text();
      return /^mqttsn_store_failing (\d)$/m.exec(text)?.[1];
    };

    small.readOnly = true;
    gateway.spawn();
    await until("it says that it waits", () => /cannot be opened/.test(gateway.log), 30_000);
    expect(gateway.ready).toBe(false);
    small.readOnly = false;
    await until("it has found its disk", () => gateway.ready, 30_000);
    expect(await failing()).toBe("0");

    const device = async (clientId: string) => {
      // The name is long, so that the disk is full when an exchange is written, and not when one is removed, for which nothing waits.
      const topic = `t/${clientId}/${"long/".repeat(100)}`;
      const made = new Publisher({ clientId, port: gateway.port, topic, retryLimit: 60 });
      onTestFinished(() => made.stop());
      await made.start();
      await until(`${clientId} is connected`, () => made.idle);
      return made;
    };
    const answers = ({ acknowledged, refused }: Publisher) => acknowledged.size + refused;
    const through = async (of: Publisher, qos: 1 | 2) => {
      const before = answers(of);
      of.publish(qos);
      await until(`an answer at QoS ${qos}`, () => answers(of) > before, 30_000);
    };
    const first = await device("c0");
    const second = await device("c1");
    await through(first, 2);
    expect(first.acknowledged.size).toBe(1);

    // What is left of the disk is used up by QoS 2; the exchange that finds none stands still.
    small.fill();
    const patience = Date.now() + 60_000;
    while ((await failing()) === "0" && Date.now() < patience) {
      first.publish(2);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
    expect(await failing()).toBe("1");
    expect(gateway.log).toMatch(/the session store failed/);
    expect(first.idle).toBe(false);
    await through(second, 2);
    expect(second.refused, "new QoS 2 is refused").toBe(1);
    await through(second, 1);
    expect(second.acknowledged.size, "QoS 1 goes on: the broker has it").toBe(1);

    small.empty();
    await until("the exchange that stood still comes to its end", () => first.idle, 30_000);
    await through(second, 2);
    expect(second.acknowledged.size, "QoS 2 again").toBe(2);
    expect(await failing()).toBe("0");
    await gateway.kill();
    await gateway.start();
    for (const each of [first, second]) {
      await through(each, 2);
      const counts = () => [...each.acknowledged.keys()].map((text) => [text, broker.saved.get(text) ?? 0] as const);
      await until("all that was acknowledged is at the broker", () => counts().every(([, count]) => count > 0), 30_000);
      expect(counts().filter(([, count]) => count !== 1)).toEqual([]);
      expect(each.connects).toBe(1);
    }
    expect(gateway.complaints).toEqual([]);
  },
);
