/** Scripts for payloads in a fleet: two gateways with their shards, each with one process of scripts, redis-server and mosquitto. */
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { connect as connectMqtt } from "mqtt";
import { describe, expect, test } from "vitest";
import { Browser } from "../helpers/console-browser.ts";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePorts } from "../helpers/ports.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";

const [redisProgram, brokerProgram] = [findRedis(), findMosquitto()];
const missing = [redisProgram, brokerProgram].flatMap((each) => ("missing" in each ? each.missing : []))[0];
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const shards = 16;
const main = resolve(import.meta.dirname, "../../dist/main.js");

const script = (mark: string) => `
  function decodeUplink({ bytes, variables }) {
    return { data: { text: String.fromCharCode(...bytes), by: variables.client, mark: ${JSON.stringify(mark)} } };
  }
  function encodeDownlink({ data }) {
    return { bytes: [...data.say].map((each) => each.charCodeAt(0)) };
  }`;

const childrenOf = (gateway: PairGateway) =>
  readFileSync(`/proc/${gateway.pid}/task/${gateway.pid}/children`, "utf8").trim().split(" ").filter(Boolean);

const title = `scripts in a fleet${missing === undefined ? "" : ` (skipped: ${missing})`}`;

describe.skipIf(missing !== undefined)(title, () => {
  test("each gateway has one process of scripts for all its shards, which is counted, read again and started again once", {
    timeout: 120_000,
  }, async ({ onTestFinished }) => {
    if ("missing" in redisProgram || "missing" in brokerProgram) throw new Error(missing);
    const atEnd = (close: () => unknown) => onTestFinished(async () => void (await close()));
    const redis = await RedisServer.create(redisProgram);
    atEnd(() => redis.close());
    const broker = await Mosquitto.create(brokerProgram);
    atEnd(() => broker.stop());
    const [portA = 0, portB = 0, betweenA = 0, betweenB = 0, apiA = 0, apiB = 0] = await freePorts(6);
    const gateway = (name: string, port: number, between: number, api: number) => {
      const made = new PairGateway(name, {
        transports: [{ type: "udp", host: "127.0.0.1", port }],
        upstream: { url: `mqtt://127.0.0.1:${broker.plainPort}`, mode: "aggregating" },
        tryOutBroker: false,
        store: { folder: "data", kind: "redis", redis: { url: redis.url } },
        fleet: { enabled: true, name, shards, listen: `127.0.0.1:${between}` },
        // A machine that does other things, too, is not to blame the script for it.
        scripts: { runMsMax: 1_000 },
        payloads: [{ topics: "barn/#", script: "barn.js" }],
        api: { port: api },
        log: { format: "json" },
      });
      writeFileSync(join(made.folder, "barn.js"), script("first"));
      atEnd(() => made.remove());
      made.start();
      return made;
    };
    const a = gateway("a", portA, betweenA, apiA);
    const b = gateway("b", portB, betweenB, apiB);
    const both = [a, b];
    await Promise.all(both.map((each) => each.serves()));
    const served = async () => {
      const all = await Promise.all(both.map(async (each) => JSON.parse((await each.ask("/fleet/members")).body)));
      return (all as { owners: { here?: string }[] }[]).map(
        ({ owners }) => owners.filter(({ here }) => here === "serving").length,
      );
    };
    // Shards move to the second one by and by: until none has moved for a while.
    let before = "";
    let since = performance.now();
    await until(
      "both serve shards, and all are served",
      async () => {
        const [ofA = 0, ofB = 0] = await served();
        const now = `${ofA} ${ofB}`;
        if (now !== before || ofA === 0 || ofB === 0 || ofA + ofB < shards) since = performance.now();
        before = now;
        return performance.now() - since > 2_000;
      },
      60_000,
    );
    const heard: { text: string; by: string; mark: string }[] = [];
    const raw: string[] = [];
    const watcher = connectMqtt(`mqtt://127.0.0.1:${broker.plainPort}`);
    atEnd(() => watcher.end(true));
    watcher.on("message", (_topic, payload) => {
      const said = payload.toString();
      if (said.startsWith("{")) heard.push(JSON.parse(said));
      else raw.push(said);
    });
    await new Promise<void>((done) => watcher.subscribe("barn/+", { qos: 1 }, () => done()));
    const devices = Array.from(
      { length: 12 },
      (_, i) =>
        new Publisher({
          clientId: `c${i}`,
          port: [portA, portB][i % 2] ?? 0,
          topic: `barn/${i}`,
          subscribeTo: `barn/${i}/set`,
        }),
    );
    for (const each of devices) {
      await each.start();
      atEnd(() => each.stop());
    }
    await until("all are connected", () => devices.every(({ idle }) => idle));
    let rounds = 0;
    const round = async () => {
      rounds++;
      const before = heard.length + raw.length;
      for (const each of devices) each.publish(1);
      await until(`round ${rounds}`, () => heard.length + raw.length === before + devices.length);
      await until("all are idle", () => devices.every(({ idle }) => idle));
    };
    const metricsOf = async (api: number) => (await fetch(`http://127.0.0.1:${api}/metrics`)).text();
    const count = (text: string, name: string) =>
      Number(
        text
          .split("\n")
          .find((line) => line.startsWith(name))
          ?.split(" ")
          .at(-1),
      );
    const sumOf = async (name: string) => {
      const all = await Promise.all([apiA, apiB].map(metricsOf));
      return all.reduce((sum, text) => sum + count(text, name), 0);
    };

    // Devices of all shards: each message is decoded once, and each question is counted once.
    await round();
    expect(raw).toEqual([]);
    const expected = devices.map(({ clientId }) => ({ text: `${clientId}#1`, by: clientId, mark: "first" }));
    expect(heard).toHaveLength(devices.length);
    expect(heard).toEqual(expect.arrayContaining(expected));
    expect(both.map((each) => childrenOf(each).length)).toEqual([1, 1]);
    expect(await sumOf('mqttsn_script_questions_total{outcome="asked"}')).toBe(devices.length);
    expect(await sumOf("mqttsn_script_restarts_total")).toBe(0);

    // A command is converted for a device of whichever shard.
    for (const { clientId } of devices)
      watcher.publish(`barn/${clientId.slice(1)}/set`, JSON.stringify({ say: `go ${clientId}` }), { qos: 1 });
    await until("all have their commands", () =>
      devices.every(({ clientId, received }) => received.includes(`go ${clientId}`)),
    );

    // The console shows what the script made of a payload, also of a shard's device.
    const page = await Browser.of(a, apiA);
    const { body: list } = await page.ask<{ devices: { clientId: string }[] }>("devices");
    const own = list.devices[0]?.clientId ?? "";
    const device = devices.find(({ clientId }) => clientId === own);
    const spoken = await page.hears(`?client=${own}`, ['"type":"PUBLISH"', '\\"mark\\"'], () => device?.publish(1));
    expect(spoken).toContain(`\\"by\\":\\"${own}\\"`);
    await until("it is idle", () => device?.idle === true);
    // So does the trial of a payload, with the configuration of a fleet.
    const tried = execFileSync(process.execPath, [main, "decode", "--payload", "barn/1", "--client", "c1", "6869"], {
      cwd: a.folder,
      encoding: "utf8",
    });
    expect(tried).toMatch(/"text":\s*"hi"/);

    // A changed script is read again once for all shards.
    heard.length = 0;
    for (const each of both) {
      writeFileSync(join(each.folder, "barn.js"), script("second"));
      each.signal("SIGHUP");
    }
    await until("the configuration is read again", () => both.every((each) => each.has("read again")));
    await round();
    expect(heard.map(({ mark }) => mark)).toEqual(devices.map(() => "second"));
    expect(both.map((each) => childrenOf(each).length)).toEqual([1, 1]);

    // The process of one gateway dies: payloads of all its shards go as they are, then there is a new one.
    heard.length = 0;
    const [pid = ""] = childrenOf(a);
    process.kill(Number(pid), "SIGKILL");
    await until("its gateway has seen it", () => a.has("the process for scripts ended"));
    await round();
    const ofA = new Set(raw.map((said) => said.split("#")[0]));
    expect(ofA.size, "devices of A's shards").toBe(list.devices.length);
    expect(heard.map(({ by }) => by).filter((by) => ofA.has(by))).toEqual([]);
    expect(a.lines.filter((line) => line.includes("the process for scripts ended"))).toHaveLength(1);
    await until("there is a new one", () => childrenOf(a).length === 1);
    await until("it decodes", async () => {
      raw.length = 0;
      await round();
      return raw.length === 0;
    });
    expect(count(await metricsOf(apiA), "mqttsn_script_restarts_total")).toBe(1);
    expect(count(await metricsOf(apiB), "mqttsn_script_restarts_total")).toBe(0);

    // All shards move to B: its one process decodes for all of them, and that of A ends with A.
    const [last = ""] = childrenOf(a);
    expect(await a.end("SIGTERM")).toBe("0");
    expect(() => process.kill(Number(last), 0)).toThrow();
    await until("B serves all shards", async () => {
      const { owners } = JSON.parse((await b.ask("/fleet/members")).body) as { owners: { here?: string }[] };
      return owners.filter(({ here }) => here === "serving").length === shards;
    });
    const through = devices.filter((_, i) => i % 2 === 1);
    heard.length = 0;
    for (const each of through) each.publish(1);
    await until("the devices at B's port are decoded", () => heard.length === through.length);
    expect(raw).toEqual([]);
    expect(childrenOf(b)).toHaveLength(1);
    expect([...a.errors, ...b.errors]).toEqual([]);
  });
});
