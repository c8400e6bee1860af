/**
 * What Home Assistant finds at a real broker, from first to last, for devices with different habits. After every change the retained
 * messages are judged by its own rules: a sleeping device is available, a lost one is not.
 */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, test } from "vitest";
import { HomeAssistant } from "../helpers/home-assistant.ts";
import { Listener } from "../helpers/listener.ts";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { freePorts } from "../helpers/ports.ts";
import { startGateway, until } from "../helpers/test-gateway.ts";

const program = findMosquitto();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

describe.skipIf(missing !== undefined)(`Home Assistant${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  const atEnd: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of atEnd.splice(0).reverse()) await end();
  });

  test("compose: mosquitto takes its file, and the gateway with its own reaches it", async () => {
    if ("missing" in program) return;
    const compose = new URL("../../hardware/home-assistant/compose/", import.meta.url);
    const [port = 0] = await freePorts(1);
    const folder = mkdtempSync(join(tmpdir(), "compose-"));
    atEnd.push(() => rmSync(folder, { recursive: true, force: true }));
    const lines = readFileSync(new URL("mosquitto.conf", compose), "utf8")
      .replace("listener 1883", `listener ${port} 127.0.0.1`)
      .replace("/mosquitto/data/", `${folder}/`);
    expect(lines).toContain(`${port}`);
    // Persistence is there already, for all listeners.
    const broker = await Mosquitto.create(
      program,
      lines.split("\n").filter((line) => !line.startsWith("persistence")),
    );
    atEnd.push(() => broker.dispose());
    const given = JSON.parse(readFileSync(new URL("gateway.config.json", compose), "utf8")) as Record<string, object>;
    const { gateway } = await startGateway({
      ...given,
      upstream: { ...given["upstream"], url: `mqtt://127.0.0.1:${port}` },
      transports: [{ type: "udp", host: "127.0.0.1", port: 0 }],
      api: { enabled: false },
      store: { kind: "disk", folder },
      log: { level: "silent" },
    });
    atEnd.push(() => gateway.stop());
    await until("the connection", () => gateway.health().broker === "connected");
  });

  test.each(["transparent", "aggregating"] as const)("finds devices, and loses none asleep: %s", async (mode) => {
    if ("missing" in program) return;
    const broker = await Mosquitto.create(program);
    atEnd.push(() => broker.dispose());
    const { gateway, port } = await startGateway({
      upstream: {
        url: `mqtt://127.0.0.1:${broker.plainPort}`,
        mode,
        serviceClientId: "gw",
        reconnect: { minSeconds: 0.1, maxSeconds: 0.2 },
      },
      retry: { intervalSeconds: 0.5, limit: 3 },
      clients: { sessionExpirySeconds: 5 },
      homeAssistant: { enabled: true },
      payloads: [
        { topics: "barn/+/climate", to: "{topic}/json", fields: [{ name: "letter", type: "u8", unit: "%" }] },
        {
          topics: "barn/+/set",
          direction: "down",
          fields: [{ name: "flags", type: "u8", bits: [{ name: "fan", bit: 0 }] }],
        },
      ],
    });
    atEnd.push(() => gateway.stop());
    await until("the connection", () => gateway.health().broker === "connected");
    const home = new HomeAssistant(broker.plainPort);
    atEnd.push(() => home.close());

    const sleeper = await new Listener("sleeper", port).connect();
    atEnd.push(() => sleeper.close());
    const goes = await new Listener("goes", port).connect({ keepAliveSeconds: 1 });
    expect(await sleeper.publish("barn/1/climate", "A", 1)).toBe(0);
    expect(await goes.publish("barn/2/climate", "B", 2)).toBe(0);
    await sleeper.subscribe("barn/1/set", 1);
    await until("both are found", () => ["gw", "sleeper", "goes"].every((name) => home.devices.includes(name)));
    await until("the switch is found", () => [...home.kept.values()].some((text) => text.includes('"switch"')));
    expect(home.kept.get("barn/1/climate/json")).toBe('{"letter":65}');
    await until("both are available", () => home.isAvailable("sleeper") && home.isAvailable("goes"));

    home.say("barn/1/set", '{"fan":true}');
    await until("the command", () => sleeper.received.includes("barn/1/set \u0001 QoS 0"));
    sleeper.sleep();
    goes.close();
    await until("one is lost", () => !home.isAvailable("goes"));
    expect(sleeper.isAsleep).toBe(true);
    expect(home.isAvailable("sleeper")).toBe(true);

    await broker.stop();
    broker.forget();
    await broker.start();
    await until(
      "a broker that forgot everything has it again",
      () => ["gw", "sleeper"].every((name) => home.devices.includes(name)),
      30_000,
    );
    await until("and who is there", () => home.isAvailable("sleeper"), 30_000);
    await until("its session expires, and with it the device", () => !home.devices.includes("goes"), 30_000);
    expect(home.wrong).toEqual([]);
  });
});
