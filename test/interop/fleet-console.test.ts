/** The console of a gateway of a fleet, over HTTP: two processes, one redis-server and mosquitto. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { shardOf } from "../../src/fleet/shard.ts";
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

interface Device {
  readonly clientId: string;
  readonly state: string;
}

interface Page {
  readonly total: number;
  readonly matched: number;
  readonly devices: readonly Device[];
}

describe.skipIf(missing !== undefined)(
  `the console of a fleet${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    test("shows the shards of its gateway as one, live too, and who belongs to the fleet; admits, and changes settings", {
      timeout: 90_000,
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
          access: { default: "deny", rules: [{ allow: "c*" }] },
          api: { port: api },
          log: { format: "json" },
        });
        atEnd(() => made.remove());
        made.start();
        return made;
      };
      const a = gateway("barn-a", portA, betweenA, apiA);
      const b = gateway("barn-b", portB, betweenB, apiB);
      await Promise.all([a.serves(), b.serves()]);
      const ownersAt = async (from: PairGateway) =>
        JSON.parse((await from.ask("/fleet/members")).body) as {
          owners: { owner: string; here?: string }[];
          members: { shards: number }[];
        };
      // Shards move to the second one by and by: until none has moved for a while.
      let before = "";
      let since = performance.now();
      await until(
        "both serve their shards",
        async () => {
          const all = await Promise.all([ownersAt(a), ownersAt(b)]);
          const serving = all.flatMap(({ owners }) => owners.filter(({ here }) => here === "serving"));
          const both = all.every(({ members }) => members.length === 2 && members.every((each) => each.shards > 0));
          const now = JSON.stringify(all[0].owners);
          if (now !== before || serving.length < shards || !both) since = performance.now();
          before = now;
          return performance.now() - since > 2_000;
        },
        60_000,
      );
      const { owners } = await ownersAt(a);
      const ownerOf = (clientId: string) => owners[shardOf(clientId, shards)]?.owner;
      const names = Array.from({ length: 12 }, (_, i) => `c${i}`);
      const ofA = names.filter((name) => ownerOf(name) === "barn-a").sort();
      expect(ofA.length).toBeGreaterThan(1);
      expect(ofA.length).toBeLessThan(names.length);
      const stranger =
        ["x0", "x1", "x2", "x3", "x4", "x5", "x6", "x7"].find((name) => ownerOf(name) === "barn-a") ?? "";
      const devices = names.map(
        (clientId, i) => new Publisher({ clientId, port: [portA, portB][i % 2] ?? 0, topic: "t/1" }),
      );
      for (const each of devices) {
        await each.start();
        atEnd(() => each.stop());
      }
      await until("all are connected", () => devices.every(({ idle }) => idle));

      // Who is not logged in learns nothing.
      expect((await fetch(`http://127.0.0.1:${apiA}/api/v1/fleet/members`)).status).toBe(401);
      expect((await fetch(`http://127.0.0.1:${apiA}/`)).headers.get("content-type")).toContain("text/html");
      const page = await Browser.of(a, apiA);
      const overview = (await page.ask<Record<string, unknown>>("overview")).body;
      expect(overview).toMatchObject({
        sessions: { total: ofA.length },
        brokers: [{ isThere: true }],
        fleet: { name: "barn-a", members: [{ name: "barn-a" }, { name: "barn-b" }] },
      });
      expect((await page.ask("fleet/members")).body).toMatchObject({ name: "barn-a", shards });

      // The list of devices goes over all shards here, page by page.
      const all = (await page.ask<Page>("devices?sort=client")).body;
      expect(all).toMatchObject({ total: ofA.length, matched: ofA.length });
      expect(all.devices.map(({ clientId }) => clientId)).toEqual(ofA);
      const second = (await page.ask<Page>("devices?sort=client&offset=1&limit=1")).body;
      expect(second.devices.map(({ clientId }) => clientId)).toEqual(ofA.slice(1, 2));
      const own = ofA[0] ?? "";
      expect((await page.ask(`device?client=${own}`)).body).toMatchObject({ clientId: own, state: "active" });
      const foreign = names.find((name) => ownerOf(name) === "barn-b") ?? "";
      const elsewhere = await page.ask<{ error: string }>(`device?client=${foreign}`);
      expect(elsewhere.status).toBe(409);
      expect(elsewhere.body.error).toContain("barn-b owns: ask there");
      expect((await page.ask("device")).status).toBe(400);
      expect((await page.ask("radio")).body).toMatchObject([
        { name: "udp", stats: { datagramsIn: expect.any(Number) } },
      ]);
      expect((await page.ask("openapi.json")).body).toMatchObject({ openapi: expect.any(String) });

      // Live: a device of a shard here, whichever gateway its datagrams come by.
      const [device] = devices.filter(({ clientId }) => clientId === own);
      const heard = await page.hears("?datagrams", [`"client":"${own}"`, '"type":"PUBLISH"', '"topic":"t/1"'], () =>
        device?.publish(1),
      );
      expect(heard).not.toContain(`"client":"${foreign}"`);

      // Who is refused is seen, and admitted by one click.
      const shut = new Publisher({ clientId: stranger, port: portB, topic: "t/2" });
      const refused = shut.start().catch(() => {});
      atEnd(() => shut.stop());
      await until("the stranger was refused", async () => {
        const { body } = await page.ask<{ clientId: string }[]>("knocking");
        return body.some(({ clientId }) => clientId === stranger);
      });
      expect((await page.ask("knocking", "POST", { client: stranger, from: "anywhere" })).body).toEqual({
        admitted: stranger,
      });
      await refused;
      await until("it is admitted", async () => {
        if (!shut.idle) await shut.start().catch(() => {});
        return (await page.ask<Page>("devices?search=x")).body.matched === 1;
      });
      expect((await page.ask("admitted", "DELETE", undefined)).status).toBe(400);

      // A viewer sees no strangers, and changes nothing.
      const viewer = await Browser.of(a, apiA, "viewer");
      expect((await viewer.ask("knocking")).status).toBe(403);
      expect((await viewer.ask("settings")).status).toBe(403);
      expect((await viewer.ask<Page>("devices")).body.total).toBe(ofA.length + 1);

      // A setting, to the file and to all shards here.
      const { written } = (await page.ask<{ written: { version: string } }>("settings")).body;
      const changes = JSON.stringify([{ path: ["log", "level"], value: "debug" }]);
      expect((await page.ask("settings", "PUT", undefined)).status).toBe(405);
      expect((await page.ask("settings", "POST", { changes, version: written.version })).body).toMatchObject({
        restart: [],
      });
      expect(JSON.parse(readFileSync(join(a.folder, "gateway.config.json"), "utf8"))).toMatchObject({
        log: { level: "debug" },
      });

      // A program with a token, also of this gateway alone.
      const token = "a-token-of-a-program";
      const hash = createHash("sha256").update(token).digest("hex");
      expect((await a.ask(`/tokens?name=program&role=viewer&hash=${hash}`, "POST")).status).toBe(200);
      const asProgram = (port: number) =>
        fetch(`http://127.0.0.1:${port}/api/v1/overview`, { headers: { authorization: `Bearer ${token}` } });
      expect((await asProgram(apiA)).status).toBe(200);
      expect((await asProgram(apiB)).status).toBe(401);

      // What a fleet does not have is said, and why.
      const key = await page.ask<{ error: string }>("device-keys", "POST", { name: "dev" });
      expect(key.body.error).toContain("the keys of devices are in files that every gateway has");
      expect([...a.errors, ...b.errors]).toEqual([]);
    });
  },
);
