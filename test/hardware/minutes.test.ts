/**
 * Minutes in real time: the library in C against the gateway as a separate process, 5 % of all datagrams lost, awake and asleep by turns.
 * REAL_SECONDS sets the time (180); longer runs are started by hand, see docs/measurements/hardware-runs.md.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { beforeAll, describe, expect, test } from "vitest";
import type { QoS } from "../../src/wire/fields.ts";
import { MortalGateway } from "../crash/mortal-gateway.ts";
import { freePort } from "../helpers/ports.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { CDevice } from "./c-device.ts";
import { make, missingCompiler } from "./compiler.ts";
import { LossyUdp } from "./lossy-udp.ts";

const missing = missingCompiler();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;
const seconds = Number(process.env["REAL_SECONDS"] ?? 180);

describe.skipIf(missing !== undefined)(`minutes of real time${named}`, () => {
  beforeAll(() => make("device"));

  test(`${seconds} s with 5 % loss, awake and asleep: nothing acknowledged is lost, QoS 2 is once, both ways`, {
    timeout: seconds * 1_000 + 240_000,
  }, async ({ onTestFinished }) => {
    const broker = await RecordingBroker.start();
    onTestFinished(() => broker.close());
    const gateway = new MortalGateway(await freePort(), {
      upstream: { url: broker.url },
      retry: { intervalSeconds: 2, limit: 10 },
    });
    onTestFinished(async () => {
      await gateway.kill();
      gateway.remove();
    });
    await gateway.start();
    const library = new CDevice({ clientId: "barn", retrySeconds: 2, retryLimit: 10, congestionSeconds: 5, seed: 3 });
    onTestFinished(() => library.close());
    const barn = await LossyUdp.open(library, gateway.port, 0.05, 11);
    onTestFinished(() => barn.close());
    /** Payloads that were acknowledged to the device, and those that the gateway accepted for it. */
    const acknowledged = new Map<string, QoS>();
    const owed = new Map<string, QoS>();
    let wakes = 0;
    await barn.connect();
    await barn.subscribe("down/barn", 2);
    const end = Date.now() + seconds * 1_000;
    for (let round = 0; Date.now() < end; round++) {
      for (const qos of [1, 2] as const) {
        const text = `up ${round} ${qos}`;
        await barn.publish(`up/${round % 6}`, text, qos); // more names than the library remembers
        acknowledged.set(text, qos);
      }
      if (round % 3 === 2) {
        barn.act((each, now) => each.sleep(30, now));
        await until("asleep", () => barn.device.state === "asleep", 60_000);
      }
      for (const qos of [1, 2] as const) {
        const text = `down ${round} ${qos}`;
        broker.broker.publish({ topicName: "down/barn", payload: Buffer.from(text), qos, retain: false });
        owed.set(text, qos);
      }
      await sleep(300);
      for (let times = 1 + (round % 2); barn.device.state === "asleep" && times > 0; times--) {
        wakes++;
        barn.act((each, now) => each.wake(now));
        await until("asleep again", () => barn.device.state === "asleep", 60_000);
      }
      if (barn.device.state === "asleep") await barn.connect();
    }
    if (barn.device.state !== "active") await barn.connect();
    await until("what waits", () => [...owed.keys()].every((text) => barn.received.includes(text)), 120_000);
    const says = `${acknowledged.size} up, ${owed.size} down, ${wakes} wakes, ${barn.lost} of ${barn.carried} datagrams lost`;
    if (process.env["REAL_SECONDS"]) process.stderr.write(`${new Date().toISOString()} ${seconds} s: ${says}\n`);
    for (const [text, qos] of acknowledged) {
      const times = broker.saved.get(text) ?? 0;
      expect(qos === 2 ? times === 1 : times >= 1, `${text} at the broker ${times} times`).toBe(true);
    }
    for (const [text, qos] of owed) {
      const times = barn.received.filter((each) => each === text).length;
      expect(qos === 2 ? times === 1 : times >= 1, `${text} at the device ${times} times`).toBe(true);
    }
    expect(gateway.complaints).toEqual([]);
    expect(acknowledged.size).toBeGreaterThan(seconds / 5);
    expect(wakes).toBeGreaterThan(0);
    expect(barn.lost).toBeGreaterThan(0);
  });
});
