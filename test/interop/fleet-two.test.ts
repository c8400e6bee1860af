/** Two gateways of a fleet as processes, over one redis-server and mosquitto: devices of all shards, each through either gateway. */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { shardOf } from "../../src/fleet/shard.ts";
import { Crossroads } from "../helpers/crossroads.ts";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePorts } from "../helpers/ports.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { silentInFleet } from "../helpers/silent-clients.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";

const [redisProgram, brokerProgram] = [findRedis(), findMosquitto()];
const missing = [redisProgram, brokerProgram].flatMap((each) => ("missing" in each ? each.missing : []))[0];
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const shards = 16;
/** In all shards together. A gateway serves a shard while it restores those there. */
const silentClients = 1_600;

/** What hardware/fleet gives to Docker: the others find each gateway at the address from which it reaches Redis. */
const deployed = JSON.parse(
  readFileSync(new URL("../../hardware/fleet/compose/gateway.config.json", import.meta.url), "utf8"),
) as { upstream: Record<string, unknown>; store: Record<string, unknown>; fleet: { listen: string } };

interface Fleet {
  readonly members: readonly { readonly name: string; readonly version: string; readonly shards: number }[];
  readonly owners: readonly { readonly shard: number; readonly owner: string; readonly epoch: number }[];
}

interface Overview {
  readonly sessions: { readonly total: number };
}

describe.skipIf(missing !== undefined)(`a fleet of two${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  for (const mode of ["transparent", "aggregating"] as const)
    test(`${mode}: devices of both gateways' shards exchange QoS 1 through either gateway`, {
      timeout: 60_000,
    }, async ({ onTestFinished }) => {
      if ("missing" in redisProgram || "missing" in brokerProgram) throw new Error(missing);
      const atEnd = (close: () => unknown) => onTestFinished(async () => void (await close()));
      process.env["FLEET_KEY"] = "0123456789abcdef0123456789abcdef";
      const redis = await RedisServer.create(redisProgram);
      atEnd(() => redis.close());
      await silentInFleet(redis.url, silentClients, mode, shards);
      const broker = await Mosquitto.create(brokerProgram);
      atEnd(() => broker.stop());
      const [portA = 0, portB = 0, betweenA = 0, betweenB = 0, apiA = 0] = await freePorts(5);
      const gateway = (name: string, port: number, between: number, api: number) => {
        const isDeployed = mode === "aggregating";
        const url = `mqtt://127.0.0.1:${broker.plainPort}`;
        const made = new PairGateway(name, {
          transports: [{ type: "udp", host: "127.0.0.1", port }],
          upstream: isDeployed ? { ...deployed.upstream, url } : { url, mode, will: { held: "gateway" } },
          tryOutBroker: false,
          store: {
            ...(isDeployed && deployed.store),
            folder: "data",
            kind: "redis",
            redis: { url: redis.url },
            serveAfterSeconds: 0,
          },
          fleet: isDeployed
            ? { ...deployed.fleet, name, shards, listen: deployed.fleet.listen.replace(/\d+$/, `${between}`) }
            : { enabled: true, name, shards, listen: `127.0.0.1:${between}` },
          api: { enabled: api > 0, port: api },
          log: { format: "json" },
        });
        atEnd(() => made.remove());
        made.start();
        return made;
      };
      const a = gateway("a", portA, betweenA, apiA);
      await a.serves();
      const b = gateway("b", portB, betweenB, 0);
      await b.serves();
      const show = async (from: PairGateway): Promise<Fleet> => JSON.parse((await from.ask("/fleet/members")).body);
      await until(
        "both have shards",
        async () => {
          const { members, owners } = await show(a);
          return members.length === 2 && members.every((each) => each.shards > 0) && owners.every(({ owner }) => owner);
        },
        40_000,
      );
      const roads = new Crossroads((count) => (count % 2 === 0 ? portA : portB));
      const port = await roads.open();
      atEnd(() => roads.close());
      const devices = Array.from(
        { length: 12 },
        (_, i) => new Publisher({ clientId: `c${i}`, port, topic: `t/${(i + 1) % 12}`, subscribeTo: `t/${i}` }),
      );
      for (const each of devices) {
        await each.start();
        atEnd(() => each.stop());
      }
      await until("all are connected", () => devices.every(({ idle }) => idle));
      await sleep(300);
      const { owners } = await show(b);
      const of = new Set(devices.map(({ clientId }) => owners[shardOf(clientId, shards)]?.owner));
      expect([...of].sort()).toEqual(["a", "b"]);
      const round = async (count: number) => {
        for (const each of devices) each.publish(1);
        await until(
          `round ${count}`,
          () => devices.every((each) => each.idle && new Set(each.received).size === count),
          10_000,
        );
      };
      await round(1);
      await round(2);
      // The other way round: the same devices, each by the other gateway.
      roads.move(devices.length, (front) => (front === portA ? portB : portA));
      await round(3);
      await round(4);
      expect(devices.map(({ connects }) => connects)).toEqual(devices.map(() => 1));
      const metrics = await (await fetch(`http://127.0.0.1:${apiA}/metrics`)).text();
      expect(metrics).toMatch(/mqttsn_fleet_members 2/);
      expect(metrics).toMatch(/mqttsn_fleet_passed_total\{way="to_owner"\} [1-9]/);
      expect(metrics).toMatch(/mqttsn_upstream_up\{upstream="default"\} 1/);
      expect(metrics).toMatch(/mqttsn_upstream_connections\{upstream="default"\} [1-9]/);
      expect(metrics).toMatch(/mqttsn_upstream_wire_bytes_total\{upstream="default",direction="in"\} [1-9]/);
      expect(metrics).toMatch(/mqttsn_upstream_acknowledgement_seconds_count\{upstream="default"\} [1-9]/);
      expect(metrics).toMatch(/mqttsn_store_commit_seconds_count [1-9]/);
      expect(metrics).toMatch(/mqttsn_step_seconds_count\{step="datagrams"\} [1-9]/);
      // What all shards of a gateway say together; both gateways together say all.
      const overviews = await Promise.all(
        [a, b].map(async (each): Promise<Overview> => JSON.parse((await each.ask("/overview")).body)),
      );
      expect(overviews.reduce((sum, { sessions }) => sum + sessions.total, 0)).toBe(devices.length + silentClients);
      for (const overview of overviews)
        expect(overview).toMatchObject({ fleet: { shards }, brokers: [{ isThere: true }], storeKind: "redis" });
      expect(JSON.parse((await a.ask("/queue")).body)).toMatchObject({ deadLetters: 0, storeFails: false });
      expect(JSON.parse((await a.ask("/letters")).body)).toEqual([]);
      expect(JSON.parse((await a.ask("/letters?ids=17", "DELETE")).body)).toEqual({ purged: 0 });
      expect((await a.ask("/backup")).body).toContain("redis-cli");
      const [own] = JSON.parse((await a.ask("/sessions")).body) as { clientId: string }[];
      expect(JSON.parse((await a.ask(`/session?client=${own?.clientId}`)).body)).toMatchObject({
        clientId: own?.clientId,
      });
      expect(JSON.parse((await b.ask(`/session?client=${own?.clientId}`)).body).error).toContain("a owns: ask there");
      expect([...a.errors, ...b.errors]).toEqual([]);
    });
});
