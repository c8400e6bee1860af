/**
 * DTLS in a fleet: gateways as processes, over one redis-server and mosquitto. Devices with a key, with and without
 * connection ids, and with certificates. A device makes one handshake, whichever gateway it writes to, and whichever
 * dies.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { shardOf } from "../../src/fleet/shard.ts";
import { certificateSuites, suites } from "../../src/secure/suites.ts";
import { Crossroads } from "../helpers/crossroads.ts";
import { deviceWith, makeAuthority, makeCertificate } from "../helpers/make-certificate.ts";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePorts } from "../helpers/ports.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { SecureRelay } from "../helpers/secure-relay.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";

const [redisProgram, brokerProgram] = [findRedis(), findMosquitto()];
const missing = [redisProgram, brokerProgram].flatMap((each) => ("missing" in each ? each.missing : []))[0];
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const shards = 16;
const count = 18;
/** Longer than from one shard that moves to the next. */
const quietMs = 1_500;
const key = "00112233445566778899aabbccddeeff";

interface Fleet {
  readonly members: readonly { readonly name: string; readonly shards: number }[];
  readonly owners: readonly { readonly shard: number; readonly owner: string }[];
}

describe.skipIf(missing !== undefined)(
  `DTLS in a fleet${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    for (const mode of ["transparent", "aggregating"] as const)
      test(`${mode}: one handshake is enough at any gateway, from any address, and when the owner dies`, {
        timeout: 120_000,
      }, async ({ onTestFinished }) => {
        if ("missing" in redisProgram || "missing" in brokerProgram) throw new Error(missing);
        const atEnd = (close: () => unknown) => onTestFinished(async () => void (await close()));
        process.env["FLEET_KEY"] = "0123456789abcdef0123456789abcdef";
        const folder = mkdtempSync(join(tmpdir(), "fleet-dtls-"));
        atEnd(() => rmSync(folder, { recursive: true }));
        const authority = makeAuthority();
        atEnd(() => rmSync(authority.folder, { recursive: true }));
        const names = Array.from({ length: count }, (_, i) => `c${i}`);
        const keys = join(folder, "keys.json");
        writeFileSync(keys, JSON.stringify(Object.fromEntries(names.map((name) => [name, key]))), { mode: 0o600 });
        const redis = await RedisServer.create(redisProgram);
        atEnd(() => redis.close());
        const broker = await Mosquitto.create(brokerProgram);
        atEnd(() => broker.stop());
        const ports = await freePorts(8);
        const fronts = [ports[0] ?? 0, ports[1] ?? 0];
        const gateways = ["a", "b"].map((name, i) => {
          const made = new PairGateway(name, {
            transports: [
              {
                ...{ type: "dtls", host: "127.0.0.1", port: fronts[i], keys: { file: keys } },
                certificates: authority.options,
              },
              { type: "udp", host: "127.0.0.1", port: ports[2 + i] },
            ],
            upstream: { url: `mqtt://127.0.0.1:${broker.plainPort}`, mode, will: { held: "gateway" } },
            tryOutBroker: false,
            clients: { newPerSecondPerHostMax: 0, sessionsPerHostMax: 0 },
            retry: { intervalSeconds: 0.5, limit: 40 },
            store: { folder: "data", kind: "redis", redis: { url: redis.url } },
            fleet: { enabled: true, name, shards, listen: `127.0.0.1:${ports[4 + i]}`, key: { env: "FLEET_KEY" } },
            api: { enabled: true, port: ports[6 + i] },
            log: { format: "json" },
          });
          atEnd(() => made.remove());
          made.start();
          return made;
        });
        const [a, b] = gateways;
        if (!a || !b) throw new Error("there are two");
        for (const each of gateways) await each.serves();
        const show = async (from: PairGateway): Promise<Fleet> => JSON.parse((await from.ask("/fleet/members")).body);
        const metrics = async (i: number) => (await fetch(`http://127.0.0.1:${ports[6 + i]}/metrics`)).text();
        /** Both have shards, and none moves any more. */
        const settled = async (what: string) => {
          let [seen, since] = ["", 0];
          const isSettled = async () => {
            const { members, owners } = await show(b);
            const now = JSON.stringify(owners.map(({ owner }) => owner));
            if (now !== seen) [seen, since] = [now, performance.now()];
            const areServed = members.every((each) => each.shards > 0) && owners.every(({ owner }) => owner);
            return members.length === 2 && areServed && performance.now() - since > quietMs;
          };
          await until(what, isSettled, 60_000);
        };
        await settled("both have shards");
        const roads = new Crossroads((n) => fronts[n % 2] ?? 0);
        const port = await roads.open();
        atEnd(() => roads.close());
        const relays: SecureRelay[] = [];
        const devices: Publisher[] = [];
        const device = async (i: number) => {
          const name = `c${i}`;
          const certificate =
            i % 3 === 2
              ? deviceWith(makeCertificate({ name, by: authority.authority }), authority.authority)
              : undefined;
          const relay = new SecureRelay(port, {
            identity: name,
            key: Buffer.from(key, "hex"),
            suites: [certificate ? certificateSuites.ccm8 : suites.ccm8],
            certificate,
            cidOctets: i % 3 === 1 ? undefined : 0,
          });
          relays.push(relay);
          atEnd(() => relay.close());
          const own = await relay.open();
          const made = new Publisher({
            ...{ clientId: name, port: own, topic: `t/${(i + 1) % count}`, subscribeTo: `t/${i}`, retryLimit: 200 },
          });
          devices.push(made);
          atEnd(() => made.stop());
          await made.start();
        };
        for (let i = 0; i < count; i++) await device(i);
        await until("all are connected", () => devices.every(({ idle }) => idle), 20_000);
        const handshakes = () => relays.map((relay) => relay.handshakes);
        // In a moment in which a shard moved, a device may have made two.
        const atFirst = handshakes();
        await sleep(300);
        const { owners } = await show(b);
        const of = new Set(devices.map(({ clientId }) => owners[shardOf(clientId, shards)]?.owner));
        expect([...of].sort()).toEqual(["a", "b"]);
        let rounds = 0;
        const round = async (what: string) => {
          rounds++;
          for (const each of devices) each.publish(1);
          await until(
            what,
            () => devices.every((each) => each.idle && new Set(each.received).size === rounds),
            30_000,
          ).catch((error) => {
            const stuck = devices.filter((each) => !each.idle || new Set(each.received).size !== rounds);
            throw new Error(`${what}: ${stuck.map(({ clientId }) => clientId).join()}`, { cause: error });
          });
        };
        await round("each by its first gateway");
        // The other way round: the same devices, each by the other gateway.
        roads.move(count, (front) => (front === fronts[0] ? (fronts[1] ?? 0) : (fronts[0] ?? 0)));
        await round("each by the other gateway");
        // From another address, those with a connection id. The crossroads give the next front to a new address.
        for (const [i, relay] of relays.entries()) if (i % 3 !== 1) relay.rebind();
        await round("from another address");
        const both = [await metrics(0), await metrics(1)];
        const sum = (pattern: RegExp) => both.reduce((all, text) => all + Number(pattern.exec(text)?.[1] ?? 0), 0);
        expect(sum(/mqttsn_dtls_handshakes_total\{transport="dtls",outcome="done"\} (\d+)/)).toBe(count);
        expect(handshakes()).toEqual(atFirst);
        expect(sum(/mqttsn_dtls_contexts\{transport="dtls"\} (\d+)/)).toBe(count);
        expect(sum(/mqttsn_dtls_moved_total\{transport="dtls"\} (\d+)/)).toBe((count * 2) / 3);
        expect(sum(/mqttsn_fleet_passed_total\{way="to_owner"\} (\d+)/)).toBeGreaterThan(0);
        // Whoever has another key is listed with the refused devices, at the gateway of its shard.
        const stranger = new SecureRelay(port, {
          ...{ identity: "c0", key: Buffer.alloc(16, 7), suites: [suites.ccm8], cidOctets: 0 },
        });
        atEnd(() => stranger.close());
        await stranger.open();
        await until("it is listed", async () => {
          const lists = await Promise.all(gateways.map((each) => each.ask("/knocking")));
          return lists.some(({ body }) => body.includes("its key does not match"));
        });
        // A gateway dies. The other one takes its shards, and continues with the contexts of their devices.
        a.signal("SIGKILL");
        roads.leave(fronts[0] ?? 0, () => fronts[1] ?? 0);
        await round("after the end of a gateway");
        // It comes back, and gets shards. A device that is switched on anew replaces its context.
        a.start();
        await a.serves(60_000);
        await settled("both have shards again");
        roads.move(count, (front) => (front === fronts[0] ? (fronts[1] ?? 0) : (fronts[0] ?? 0)));
        await round("after it came back");
        expect(handshakes()).toEqual(atFirst);
        for (const relay of relays.slice(0, 6)) relay.handshake();
        await until("new handshakes are done", () => relays.every(({ outcome }) => outcome === "opened"), 30_000);
        await round("after new handshakes");
        expect(handshakes().slice(6)).toEqual(atFirst.slice(6));
        expect(devices.map(({ connects }) => connects)).toEqual(devices.map(() => 1));
        // A key that is removed ends the context at the gateway that has it.
        writeFileSync(keys, JSON.stringify(Object.fromEntries(names.slice(1).map((name) => [name, key]))));
        for (const each of gateways) each.signal("SIGHUP");
        await until("it is put out", () => /alert 49/.test(relays[0]?.outcome ?? ""));
        expect([...a.errors, ...b.errors]).toEqual([]);
      });
  },
);
