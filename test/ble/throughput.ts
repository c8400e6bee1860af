/**
 * `npm run soak:ble -- -t "octets per second"`: what a link carries where no radio limits it, for docs/measurements/ble-runs.md.
 * The controllers are BlueZ's virtual ones, and the device sends at most eight notifications in 10 ms; an indication
 * waits for its confirmation alone, which no connection interval delays here.
 */
import { performance } from "node:perf_hooks";
import { afterEach, expect, test } from "vitest";
import { until } from "../helpers/test-gateway.ts";
import { BleLab } from "./lab/lab.ts";

const messages = 1_000;
/** Between these it waits for all of them: more than a few hundred notifications at once btvirt may drop. */
const upAtOnce = 25;
/** Fewer than wait for a device at most: none is dropped. */
const downAtOnce = 50;
const downRounds = 5;
const payloadBytes = 200;
const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

/** PUBLISH at QoS 0 to the predefined topic 7. [MQTT-SN 1.2 §5.4.12] */
function publication(text: string): Buffer {
  return Buffer.concat([Buffer.from([7 + text.length, 0x0c, 0x01, 0, 7, 0, 0]), Buffer.from(text)]);
}

test.each([
  ["notify", 23],
  ["notify", 247],
  ["indicate", 23],
  ["indicate", 247],
] as const)("octets per second: %s, MTU %i", async (how, mtu) => {
  const at = await BleLab.start();
  open.push(at);
  const device = at.device("speed", { mtu, indicates: how === "indicate" });
  await device.on();
  await device.connect();
  await device.subscribe("down/speed", 0);

  const began = performance.now();
  let octets = 0;
  for (let i = 0; i < messages; i++) {
    const message = publication(`${i} `.padEnd(payloadBytes, "x"));
    octets += message.length;
    device.peripheral?.notify(message);
    if ((i + 1) % upAtOnce === 0) await until("all of them", () => at.seen.size === i + 1, 60_000);
  }
  const up = Math.round((octets * 1_000) / (performance.now() - began));

  let written = 0;
  device.peripheral?.on("written", (bytes) => {
    written += bytes.length;
  });
  const downBegan = performance.now();
  for (let round = 1; round <= downRounds; round++) {
    for (let i = 0; i < downAtOnce; i++) await at.publish("down/speed", "y".repeat(payloadBytes), 0);
    await until("a round", () => device.received.length === round * downAtOnce, 60_000);
  }
  const down = Math.round((written * 1_000) / (performance.now() - downBegan));
  console.log(
    `${how}, MTU ${mtu}: ${up} octets per second from the device, ${down} to it (messages as they are framed)`,
  );
  expect(device.links).toBe(1);
});
