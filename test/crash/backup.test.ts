/** A backup made under traffic, restored into an empty folder: devices continue as if nothing had happened. */
import { execFile } from "node:child_process";
import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { freePort } from "../helpers/ports.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";
import { MortalGateway } from "./mortal-gateway.ts";
import { Sleeper } from "./sleeper.ts";

const main = resolve(import.meta.dirname, "../../dist/main.js");

test("backup while messages come and go, restore into an empty folder, nobody connects again", {
  timeout: 120_000,
}, async ({ onTestFinished }) => {
  const broker = await RecordingBroker.start(3);
  onTestFinished(() => broker.close());
  const gateway = new MortalGateway(await freePort(), {
    upstream: { url: broker.url, reconnect: { minSeconds: 0.05, maxSeconds: 0.2 } },
    retry: { intervalSeconds: 0.5, limit: 40 },
  });
  onTestFinished(async () => {
    await gateway.kill();
    gateway.remove();
  });
  await gateway.start();
  const { port } = gateway;
  const devices = Array.from(
    { length: 3 },
    (_, i) => new Publisher({ clientId: `c${i}`, port, topic: `t/${i}`, subscribeTo: `d/${i}`, retryLimit: 60 }),
  );
  const sleeper = new Sleeper("s0", port, "s/0", false, 240);
  for (const each of [...devices, sleeper]) {
    await each.start();
    onTestFinished(() => each.stop());
  }
  await until("everybody is connected", () => devices.every((device) => device.idle));
  let down = 0;
  const send = () => {
    const qos = (1 + (++down % 2)) as 1 | 2;
    for (const topicName of ["d/0", "d/1", "d/2", "s/0"]) {
      const payload = Buffer.from(`${topicName} ${down}`);
      broker.broker.publish({ topicName, payload, qos, retain: false });
    }
    for (const device of devices) device.publish(qos);
  };
  const traffic = setInterval(send, 20);
  onTestFinished(() => clearInterval(traffic));
  const command = (...words: string[]) =>
    promisify(execFile)(process.execPath, [main, ...words], { cwd: gateway.folder });
  await until("traffic", () => devices.every(({ acknowledged }) => acknowledged.size > 10));
  await command("backup", "all.backup");
  // What comes from here on is not in it.
  clearInterval(traffic);
  await until("everybody is idle", () => devices.every((device) => device.idle));
  await gateway.kill();
  rmSync(join(gateway.folder, "data"), { recursive: true });
  await command("restore", "all.backup");
  await gateway.start();
  const before = devices.map(({ acknowledged }) => acknowledged.size);
  send();
  const last = down;
  await until("all go on", () =>
    devices.every(
      ({ acknowledged, received }, i) => acknowledged.size > (before[i] ?? 0) && received.includes(`d/${i} ${last}`),
    ),
  );
  await until("the sleeper too", () => sleeper.received.includes(`s/0 ${last}`));
  expect([...devices, sleeper].map(({ connects }) => connects)).toEqual([1, 1, 1, 1]);
  expect(gateway.complaints).toEqual([]);
});
