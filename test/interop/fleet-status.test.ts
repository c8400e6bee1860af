/** The states that a fleet publishes (status.topic): two gateways as processes, one redis-server and mosquitto. */
import { connect as connectMqtt } from "mqtt";
import { describe, expect, test } from "vitest";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePorts } from "../helpers/ports.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";

const [redisProgram, brokerProgram] = [findRedis(), findMosquitto()];
const missing = [redisProgram, brokerProgram].flatMap((each) => ("missing" in each ? each.missing : []))[0];
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const shards = 16;

/** What the broker retains under the topic of the fleet, as it is now for a new subscriber, and from then on. */
class Retained {
  readonly states = new Map<string, string>();
  readonly #client: ReturnType<typeof connectMqtt>;

  constructor(port: number) {
    this.#client = connectMqtt(`mqtt://127.0.0.1:${port}`);
    this.#client.on("message", (topic, payload) => void this.states.set(topic, payload.toString()));
    this.#client.subscribe("site/#");
  }

  /** The states of gateways. */
  get gateways(): Record<string, string> {
    return Object.fromEntries([...this.states].filter(([topic]) => topic.endsWith("/gateway")).sort());
  }

  close(): void {
    this.#client.end(true);
  }
}

const title = `states of a fleet${missing === undefined ? "" : ` (skipped: ${missing})`}`;

describe.skipIf(missing !== undefined)(title, () => {
  test.each(["transparent", "aggregating"] as const)(
    "%s: each gateway has one, its will says offline when it is killed, and the states of clients move with their shards",
    { timeout: 120_000 },
    async (mode) => {
      if ("missing" in redisProgram || "missing" in brokerProgram) throw new Error(missing);
      const ends: (() => unknown)[] = [];
      try {
        const redis = await RedisServer.create(redisProgram);
        ends.push(() => redis.close());
        const broker = await Mosquitto.create(brokerProgram);
        ends.push(() => broker.stop());
        const [portA = 0, portB = 0, betweenA = 0, betweenB = 0] = await freePorts(4);
        const gateway = (name: string, port: number, between: number) => {
          const made = new PairGateway(name, {
            transports: [{ type: "udp", host: "127.0.0.1", port }],
            upstream: { url: `mqtt://127.0.0.1:${broker.plainPort}`, mode, will: { held: "gateway" } },
            tryOutBroker: false,
            store: { folder: "data", kind: "redis", redis: { url: redis.url } },
            fleet: { enabled: true, name, shards, listen: `127.0.0.1:${between}` },
            status: { topic: "site/{gateway}" },
            api: { enabled: false },
            log: { format: "json" },
          });
          ends.push(() => made.remove());
          made.start();
          return made;
        };
        const retained = new Retained(broker.plainPort);
        ends.push(() => retained.close());
        const a = gateway("a", portA, betweenA);
        await a.serves();
        await until("A is online", () => retained.gateways["site/a/gateway"] === "online");
        const b = gateway("b", portB, betweenB);
        await b.serves();
        await until("B is online", () => retained.gateways["site/b/gateway"] === "online");
        const owners = async () =>
          (JSON.parse((await b.ask("/fleet/members")).body) as { owners: { owner: string; here?: string }[] }).owners;
        await until(
          "both have shards",
          async () => new Set((await owners()).map(({ owner }) => owner)).size === 2,
          40_000,
        );
        const devices = Array.from(
          { length: 8 },
          (_, i) => new Publisher({ clientId: `c${i}`, port: portB, topic: "t/1" }),
        );
        for (const each of devices) {
          await each.start();
          ends.push(() => each.stop());
        }
        const clientsAre = (state: string, states = retained.states) =>
          devices.every(({ clientId }) => states.get(`site/clients/${clientId}`) === state);
        await until("all clients are active", () => clientsAre("active"));
        expect(retained.gateways).toEqual({ "site/a/gateway": "online", "site/b/gateway": "online" });

        // Killed: the broker publishes the will of A. Its clients are B's from then on, under the same topics.
        await a.end("SIGKILL");
        await until("A is offline", () => retained.gateways["site/a/gateway"] === "offline");
        await until("B serves all shards", async () => (await owners()).every(({ here }) => here === "serving"));
        const later = new Retained(broker.plainPort);
        ends.push(() => later.close());
        await until("a new subscriber sees all clients", () => clientsAre("active", later.states));
        expect(later.gateways).toEqual({ "site/a/gateway": "offline", "site/b/gateway": "online" });
        expect(later.states.size, "there is nothing of shards").toBe(devices.length + 2);

        // Started again, and ended in order.
        a.start();
        await until("A is online again", () => retained.gateways["site/a/gateway"] === "online");
        await b.end("SIGTERM");
        await until("B is offline", () => retained.gateways["site/b/gateway"] === "offline");
        expect(retained.gateways["site/a/gateway"]).toBe("online");
        expect([...a.errors, ...b.errors]).toEqual([]);
      } finally {
        for (const end of ends.reverse()) await end();
      }
    },
  );
});
