/**
 * mosquitto comes back after a power cut with a copy of its state that is older than the last subscription: it calls the
 * session present, and knows nothing of it.
 */
import mqtt from "mqtt";
import { afterEach, describe, expect, test } from "vitest";
import { Listener } from "../helpers/listener.ts";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { startGateway, until } from "../helpers/test-gateway.ts";

const program = findMosquitto();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

describe.skipIf(missing !== undefined)(
  `a broker with an old memory${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    const atEnd: (() => unknown)[] = [];
    afterEach(async () => {
      for (const end of atEnd.splice(0).reverse()) await end();
    });

    test.each([
      ["transparent", "3.1.1"],
      ["transparent", "5"],
      ["aggregating", "3.1.1"],
      ["aggregating", "5"],
    ] as const)("what was subscribed to since is subscribed to again: %s, MQTT %s", async (mode, protocol) => {
      if ("missing" in program) return;
      const broker = await Mosquitto.create(program);
      atEnd.push(() => broker.dispose());
      const { gateway, port } = await startGateway({
        upstream: {
          url: `mqtt://127.0.0.1:${broker.plainPort}`,
          protocol,
          mode,
          reconnect: { minSeconds: 0.1, maxSeconds: 0.2 },
        },
        retry: { intervalSeconds: 1, limit: 10 },
      });
      atEnd.push(() => gateway.stop());
      await until("the connection", () => gateway.health().broker === "connected");
      const sleeper = await new Listener("sleeper", port).connect();
      atEnd.push(() => sleeper.close());
      await sleeper.subscribe("m/old", 1);
      await broker.keepCopy();
      await sleeper.subscribe("m/new", 1);
      sleeper.sleep();
      await until("asleep", () => sleeper.isAsleep);

      await broker.loseMemory();
      const observer = mqtt.connect(`mqtt://127.0.0.1:${broker.plainPort}`, { clientId: "observer" });
      atEnd.push(() => observer.endAsync(true));
      const waiting = () => gateway.sessions().find(({ clientId }) => clientId === "sleeper")?.waitingMessages ?? 0;
      const say = setInterval(() => observer.publish("m/new", "news", { qos: 1 }), 100);
      atEnd.push(() => clearInterval(say));
      await until("it is subscribed to", () => waiting() > 0);
      clearInterval(say);
      await observer.publishAsync("m/old", "news", { qos: 1 });
      await until("the other one", () => {
        if (sleeper.isAsleep) sleeper.wake();
        return new Set(sleeper.received).size === 2;
      });
      expect(new Set(sleeper.received)).toEqual(new Set(["m/old news QoS 1", "m/new news QoS 1"]));
    });
  },
);
