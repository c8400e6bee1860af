/**
 * From one gateway on a disk to a fleet of two, as processes: backup, restore, and devices that go on as if nothing had been. WAY_IN=all
 * takes every way; without it, the one that a fleet is usually for.
 */
import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import { setTimeout as sleepMs } from "node:timers/promises";
import { promisify } from "node:util";
import mqtt from "mqtt";
import { describe, expect, test } from "vitest";
import { shardOf } from "../../src/fleet/shard.ts";
import { Crossroads } from "../helpers/crossroads.ts";
import { Listener } from "../helpers/listener.ts";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePorts } from "../helpers/ports.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { until } from "../helpers/test-gateway.ts";

const [redisProgram, brokerProgram] = [findRedis(), findMosquitto()];
const missing = [redisProgram, brokerProgram].flatMap((each) => ("missing" in each ? each.missing : []))[0];
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const main = resolve(import.meta.dirname, "../../dist/main.js");
const shards = 16;
interface Fleet {
  readonly members: readonly unknown[];
  readonly owners: readonly { readonly owner: string }[];
}

interface Letter {
  readonly id: number;
  readonly clientId: string;
  readonly reason: string;
  readonly payload: string;
}

type Mode = "transparent" | "aggregating";

const usual = ["aggregating", "aggregating"] as const;
const others = [
  ["transparent", "transparent"],
  ["transparent", "aggregating"],
] as const;
const ways: readonly (readonly [Mode, Mode])[] = process.env["WAY_IN"] === "all" ? [usual, ...others] : [usual];

/** What the command said, and how it ended. */
async function command(folder: string, ...words: readonly string[]): Promise<{ status: number; said: string }> {
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, [main, ...words], { cwd: folder });
    return { status: 0, said: stdout + stderr };
  } catch (error) {
    const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
    return { status: code, said: stdout + stderr };
  }
}

const names = [..."abcdefghijkl"].map((letter) => `meter-${letter}`);
const said = ["u1", "u2", "u3", "u4", "u5"];
const twice = (all: readonly string[]) => all.filter((each, at) => all.indexOf(each) !== at);

describe.skipIf(missing !== undefined)(`into a fleet${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  for (const [from, to] of ways)
    test(`${from} to ${to}: sessions, waiting messages and dead letters come along, and no device connects again`, {
      timeout: 120_000,
    }, async ({ onTestFinished }) => {
      if ("missing" in redisProgram || "missing" in brokerProgram) throw new Error(missing);
      const atEnd = (close: () => unknown) => onTestFinished(async () => void (await close()));
      const redis = await RedisServer.create(redisProgram);
      atEnd(() => redis.close());
      const broker = await Mosquitto.create(brokerProgram);
      atEnd(() => broker.dispose());
      const [port = 0, portA = 0, portB = 0, betweenA = 0, betweenB = 0] = await freePorts(5);
      const upstream = { url: `mqtt://127.0.0.1:${broker.plainPort}`, reconnect: { minSeconds: 0.1, maxSeconds: 0.3 } };
      const both = { api: { enabled: false }, log: { format: "json" }, uplink: { messagesMax: 3, atLimit: "oldest" } };
      const one = new PairGateway("one", {
        ...both,
        transports: [{ type: "udp", host: "127.0.0.1", port }],
        upstream: { ...upstream, mode: from },
        store: { kind: "disk" },
      });
      atEnd(() => one.remove());
      const member = (name: string, at: number, between: number) => {
        const made = new PairGateway(name, {
          ...both,
          transports: [{ type: "udp", host: "127.0.0.1", port: at }],
          upstream: { ...upstream, mode: to, will: { held: "gateway" } },
          store: { kind: "redis", redis: { url: redis.url } },
          fleet: { enabled: true, name, shards, listen: `127.0.0.1:${between}`, leaseSeconds: 3 },
        });
        atEnd(() => made.remove());
        return made;
      };
      const [a, b] = [member("a", portA, betweenA), member("b", portB, betweenB)];
      const heard: string[] = [];
      const observer = mqtt.connect(upstream.url, { clientId: "observer", clean: false, reconnectPeriod: 100 });
      atEnd(() => observer.endAsync(true));
      observer.on("message", (_topic, payload) => void heard.push(payload.toString()));
      await observer.subscribeAsync("up/#", { qos: 2 });
      const tell = (payload: string) => observer.publishAsync("down/x", payload, { qos: 2 });

      one.start();
      await one.serves();
      const roads = new Crossroads(() => port);
      const devicePort = await roads.open();
      atEnd(() => roads.close());
      const devices = names.map((name) => new Listener(name, devicePort));
      for (const device of devices) {
        await device.connect();
        atEnd(() => device.close());
        await device.subscribe("down/x", 2);
      }
      const has = (device: Listener, payload: string) => device.received.includes(`down/x ${payload} QoS 2`);
      const [awake, asleep] = [devices.slice(0, 6), devices.slice(6)];
      for (const device of asleep) device.sleep();
      await until("they sleep", () => asleep.every(({ isAsleep }) => isAsleep));
      for (const payload of ["d1", "d2", "d3"]) await tell(payload);
      await until("those awake have it", () => awake.every((device) => has(device, "d3")));
      const waiting = async () => JSON.parse((await one.ask("/sessions")).body) as { waitingMessages: number }[];
      await until(
        "it waits for the others",
        async () => (await waiting()).filter(({ waitingMessages: n }) => n === 3).length === 6,
      );
      // The broker goes, and one device goes on: the oldest of those that wait become dead letters. The first may be under way.
      await broker.stop();
      for (const payload of said) expect(await devices[0]?.publish("up/meter-a", payload, 2)).toBe(0);
      const file = join(one.folder, "one.backup");
      expect(await command(one.folder, "backup", file)).toMatchObject({ status: 0 });
      await one.end("SIGTERM");

      const restored = await command(a.folder, "restore", file);
      expect(restored).toMatchObject({ status: 0 });
      expect(restored.said).toContain(`of 12 clients are in ${shards} shards`);
      expect(restored.said).toContain("12 of the clients are connected");
      expect(/MQTT sessions.*: mqtt-sn-gateway;/.test(restored.said)).toBe(from === "aggregating");
      await broker.start();
      await until("the observer is back", () => observer.connected);
      // Who has an MQTT session of its own at the broker hears also what is said while no gateway is there.
      if (from === "transparent") await tell("meanwhile");
      let count = 0;
      roads.leave(port, () => (count++ % 2 === 0 ? portA : portB));
      a.start();
      b.start();
      await until("both serve", () => a.isServing && b.isServing, 20_000);
      // From here on shards may move: the one that came second is given its own.
      await until("all shards are owned", async () => {
        const { members, owners } = JSON.parse((await b.ask("/fleet/members")).body) as Fleet;
        return members.length === 2 && owners.every(({ owner }) => owner !== "");
      });
      await until("what waited for the broker is there", () => said.slice(2).every((each) => heard.includes(each)));
      // No datagram of these names its client: the address book knows whose it is.
      for (const [i, device] of awake.entries()) expect(await device.publish("up/x", `v${i}`, 2)).toBe(0);
      for (const device of asleep) device.wake();
      await until("they have what waited", () => asleep.every((device) => has(device, "d3") && device.isAsleep));
      await until("all are subscribed", async () => {
        await tell("probe");
        await sleepMs(200);
        return awake.every((device) => device.received.some((each) => each.includes("probe")));
      });
      await tell("d4");
      await until("those awake have d4", () => awake.every((device) => has(device, "d4")));
      await until("the sleepers have d4", () => {
        for (const device of asleep) if (device.isAsleep && !has(device, "d4")) device.wake();
        return asleep.every((device) => has(device, "d4"));
      });
      const wanted = ["d1", "d2", "d3", ...(from === "transparent" ? ["meanwhile"] : []), "d4"];
      for (const device of devices) {
        const got = device.received.filter((each) => !each.includes("probe"));
        expect(got.sort()).toEqual(wanted.map((each) => `down/x ${each} QoS 2`).sort());
      }
      await until("all of theirs is there", () => awake.every((_, i) => heard.includes(`v${i}`)));
      expect(twice(heard)).toEqual([]);
      expect(awake.every(({ isConnected }) => isConnected)).toBe(true);
      const letters = (await Promise.all([a, b].map((each) => each.ask("/letters")))).flatMap(
        ({ body }) => JSON.parse(body) as Letter[],
      );
      expect(letters[0]).toMatchObject({ clientId: "meter-a", reason: "backlog-full" });
      const dead = letters.map(({ payload }) => Buffer.from(payload, "base64").toString());
      expect([...heard.filter((each) => said.includes(each)), ...dead].sort()).toEqual(said);
      expect((letters[0]?.id ?? 0) % shards).toBe(shardOf("meter-a", shards));
      for (const name of names)
        expect(roads.passedWith(name).filter((line) => /> \d+ ..04/.test(line))).toHaveLength(1); // CONNECT
      expect([...a.errors, ...b.errors]).toEqual([]);
    });
});
