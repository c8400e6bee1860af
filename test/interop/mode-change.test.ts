/**
 * Devices use their own connections, then one that they share, and then their own again, as the configuration says at each start of the
 * gateway. Nothing arrives twice at QoS 2, messages that wait at the broker are delivered, and nothing of the old session is left there.
 */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleepMs } from "node:timers/promises";
import mqtt from "mqtt";
import { describe, expect, test } from "vitest";
import type { Gateway } from "../../src/gateway.ts";
import { Listener } from "../helpers/listener.ts";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { startGateway, until } from "../helpers/test-gateway.ts";

const program = findMosquitto();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

type Mode = "transparent" | "aggregating";

const ways = [
  ["3.1.1", ["transparent", "aggregating", "transparent", "aggregating"]],
  ["5", ["aggregating", "transparent", "aggregating", "transparent"]],
] as const;

const title = `the mode changes${missing === undefined ? "" : ` (skipped: ${missing})`}`;

describe.skipIf(missing !== undefined)(title, () => {
  for (const [protocol, modes] of ways)
    test.concurrent(`MQTT ${protocol}: ${modes.join(", ")}`, () => live(protocol, modes), 180_000);
});

/** The session that is left is ended two seconds after its last message; a change before that is not followed. */
const leftAfterMs = 4_000;

async function live(protocol: "3.1.1" | "5", modes: readonly Mode[]): Promise<void> {
  if ("missing" in program) return;
  const folder = mkdtempSync(join(tmpdir(), "mode-change-"));
  const broker = await Mosquitto.create(program);
  const observer = mqtt.connect(`mqtt://127.0.0.1:${broker.plainPort}`, { clientId: "observer" });
  let gateway: Gateway | undefined;
  let port = 0;
  const start = async (mode: Mode) => {
    ({ gateway, port } = await startGateway({
      transports: [{ type: "udp", host: "127.0.0.1", port }],
      store: { kind: "disk", folder },
      upstream: {
        url: `mqtt://127.0.0.1:${broker.plainPort}`,
        mode,
        protocol,
        reconnect: { minSeconds: 0.1, maxSeconds: 0.3 },
      },
      buffer: { messagesMax: 1_000 },
      retry: { intervalSeconds: 1, limit: 10 },
    }));
  };
  let said = 0;
  const say = async (count: number) => {
    for (let i = 0; i < count; i++) await observer.publishAsync("m/x", String(said++), { qos: 2 });
  };
  const received = (device: Listener) => device.received.map((text) => Number(text.split(" ")[1]));
  const has = (device: Listener, from: number) => () => {
    const numbers = new Set(received(device));
    for (let n = from; n < said; n++) if (!numbers.has(n)) return false;
    return true;
  };
  try {
    await start(modes[0] ?? "transparent");
    await until("the connection", () => gateway?.health().broker === "connected");
    const active = await new Listener("active", port).connect();
    const sleeper = await new Listener("sleeper", port).connect();
    await active.subscribe("m/x", 2);
    await sleeper.subscribe("m/+", 2);
    sleeper.sleep();
    await until("asleep", () => sleeper.isAsleep);
    for (const [i, mode] of modes.entries()) {
      if (i > 0) {
        // Traffic during the change, and while no gateway runs.
        const traffic = say(20);
        await gateway?.stop();
        await traffic;
        const from = said;
        await say(10);
        await start(mode);
        await until(`what came meanwhile (${mode})`, has(active, from), 60_000);
        await until("the connection", () => gateway?.health().broker === "connected", 60_000);
      }
      const from = said;
      await say(10);
      await until(`what comes now (${mode})`, has(active, from), 60_000);
      await sleeper.wakeUntil("handed over", has(sleeper, from), 60_000);
      await sleepMs(leftAfterMs);
    }
    for (const device of [active, sleeper]) {
      const numbers = received(device);
      const twice = numbers.filter((n, at) => numbers.indexOf(n) !== at);
      expect(twice).toEqual([]);
      expect(numbers.length).toBe(said);
    }
    active.close();
    sleeper.close();
  } finally {
    await gateway?.stop();
    await observer.endAsync(true);
    await broker.dispose();
    rmSync(folder, { recursive: true });
  }
}
