/** What devices, probes, operators and other gateways see of a pair, while one gateway stands by and when it takes over. */
import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { chmodSync, readFileSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { suites } from "../../src/secure/suites.ts";
import { backupOctets, restoreInto, writeBackup } from "../../src/storage/backup.ts";
import { storeOptions } from "../../src/storage/options.ts";
import { RedisStore } from "../../src/storage/redis.ts";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import { commit, session } from "../conformance/store-suite.ts";
import { connect } from "../helpers/bench.ts";
import { OneAddress } from "../helpers/one-address.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePorts } from "../helpers/ports.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { SecureSocket } from "../helpers/secure-socket.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";

const program = findRedis();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const main = resolve(import.meta.dirname, "../../dist/main.js");
const key = "00112233445566778899aabbccddeeff";

/** What hardware/pair gives to Docker: the gateways' configuration, and how its Redis is started. */
const deployed = new URL("../../hardware/pair/", import.meta.url);
const given = JSON.parse(readFileSync(new URL("compose/gateway.config.json", deployed), "utf8")) as Record<
  "upstream" | "store",
  Record<string, object>
>;
const { services } = parse(readFileSync(new URL("compose.yaml", deployed), "utf8"), { merge: true }) as {
  services: { redis: { command: string[] } };
};
const [, ...redisWords] = services.redis.command;
const redisSettings = Object.fromEntries(
  redisWords.flatMap((word, i) => (word.startsWith("--") ? [[word.slice(2), redisWords[i + 1] ?? ""]] : [])),
);

let redis: RedisServer;
let broker: RecordingBroker;
let ports: number[];
const gateways: PairGateway[] = [];
const closes: (() => unknown)[] = [];

beforeEach(async () => {
  if ("missing" in program) return;
  redis = await RedisServer.create(program, redisSettings);
  broker = await RecordingBroker.start();
  ports = await freePorts(6);
});
afterEach(async () => {
  for (const close of closes.splice(0)) await close();
  for (const each of gateways.splice(0)) await each.remove();
  await broker?.close();
  await redis?.close();
});

/**
 * Number 0 or 1: its own UDP, DTLS and API ports. With the configuration of hardware/pair, except for addresses, names and a shorter lease.
 */
function gateway(name: string, number: number, store: Record<string, unknown> = {}): PairGateway {
  const made = new PairGateway(name, {
    ...given,
    transports: [
      { type: "udp", host: "127.0.0.1", port: ports[number] },
      { type: "dtls", host: "127.0.0.1", port: ports[2 + number], keys: { file: "keys.json" } },
    ],
    upstream: { ...given.upstream, url: broker.url },
    topics: { predefined: { "1": "plain/1" } },
    store: {
      ...given.store,
      folder: "data",
      redis: { ...given.store["redis"], url: redis.url },
      pair: { ...given.store["pair"], name, leaseSeconds: 2 },
      ...store,
    },
    api: { port: ports[4 + number], console: false },
    log: { level: "info", format: "json" },
  });
  writeFileSync(join(made.folder, "keys.json"), JSON.stringify({ dev1: key }));
  chmodSync(join(made.folder, "keys.json"), 0o600);
  gateways.push(made);
  return made;
}

async function pair() {
  const [a, b] = [gateway("barn-a", 0), gateway("barn-b", 1)];
  a.start();
  await a.serves();
  b.start();
  await b.standsBy();
  await until("it has seen the other one", () => b.has("barn-a is active, epoch 1"));
  return { a, b };
}

const http = async (number: number, path: string) => {
  const response = await fetch(`http://127.0.0.1:${ports[4 + number]}${path}`);
  return { status: response.status, text: await response.text() };
};

/** What stands for `name` in the metrics. */
const metric = async (number: number, name: string) =>
  (await http(number, "/metrics")).text.split("\n").find((line) => line.startsWith(`mqttsn_${name}`));

const cli = async (at: PairGateway, ...words: string[]) =>
  promisify(execFile)(process.execPath, [main, ...words], { cwd: at.folder }).catch(
    (error: { stdout: string; stderr: string; code: number }) => error,
  );

const fleet = async (at: PairGateway) => (await at.ask("/fleet")).body;

/** Answers to SEARCHGW within a while. */
async function searched(port: number): Promise<string[]> {
  const socket = createSocket("udp4");
  const types: string[] = [];
  socket.on("message", (bytes) => {
    const decoded = decode(bytes);
    if (decoded.ok) types.push(decoded.message.type);
  });
  socket.on("error", () => {});
  socket.send(encode({ type: "SEARCHGW", radius: 0 }), port, "127.0.0.1");
  await sleep(300);
  socket.close();
  return types;
}

/** They wait for what takes seconds, not for a busy machine. */
const patience = { timeout: 180_000 } as const;

describe.skipIf(missing !== undefined)(
  `a pair is seen${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  patience,
  () => {
    test("one is active and one stands by: for devices, probes, metrics, `status` and `doctor`; drained, the other one serves, and nothing is lost; alone, it is not drained", async () => {
      const { a, b } = await pair();
      expect(await searched(ports[0] ?? 0)).toEqual(["GWINFO"]);
      expect(await searched(ports[1] ?? 0)).toEqual([]);
      await until("the broker is there", async () => (await http(0, "/healthz")).status === 200);
      expect(JSON.parse((await http(0, "/healthz")).text)).toMatchObject({
        ok: true,
        pair: { role: "active", name: "barn-a", owner: "barn-a", epoch: 1 },
      });
      expect(JSON.parse((await http(1, "/healthz")).text)).toMatchObject({
        ok: true,
        pair: { role: "standby", name: "barn-b", owner: "barn-a", epoch: 1, trouble: "" },
      });
      // By this one a load balancer, or keepalived, finds the active one.
      expect([(await http(0, "/readyz")).status, (await http(1, "/readyz")).status]).toEqual([200, 503]);
      expect((await http(1, "/livez")).status).toBe(200);
      await until("the standby is seen", async () =>
        /pair_other_seen\S* 1$/.test((await metric(0, "pair_other_seen")) ?? ""),
      );
      const seen = JSON.parse((await a.ask("/fleet")).body);
      expect(seen).toMatchObject({ role: "active", other: { name: "barn-b" }, handover: { cause: "first", from: "" } });
      expect(await metric(0, "pair_active")).toBe('mqttsn_pair_active{name="barn-a",owner="barn-a"} 1');
      expect(await metric(1, "pair_active")).toBe('mqttsn_pair_active{name="barn-b",owner="barn-a"} 0');
      expect((await cli(a, "status")).stdout).toMatch(/pair: barn-a is active, barn-b stands by, epoch 1/);
      const standby = (await cli(b, "status")).stdout;
      expect(standby).toMatch(/pair: barn-b stands by, barn-a is active, epoch 1/);
      expect(standby).not.toMatch(/broker/);
      expect((await cli(b, "doctor", "--no-try")).stdout).toMatch(
        /ok +pair: barn-b stands by; barn-a is active, epoch 1/,
      );
      expect((await cli(b, "sessions")).stderr).toMatch(
        /barn-b\) stands by: barn-a is active and has the sessions; ask it/,
      );

      const address = new OneAddress(
        new Map([
          [ports[0] ?? 0, "a"],
          [ports[1] ?? 0, "b"],
        ]),
      );
      const port = await address.open();
      closes.push(() => address.close());
      const device = new Publisher({ clientId: "dev", port, retryLimit: 240, topic: "up", subscribeTo: "down" });
      await device.start();
      closes.push(() => device.stop());
      await until("it is connected", () => device.idle);
      // Messages go both ways all the time.
      let down = 0;
      const traffic = setInterval(() => {
        device.publish((1 + (device.sent % 2)) as 1 | 2);
        if (down - device.received.length < 50)
          broker.broker.publish({ topicName: "down", payload: Buffer.from(`${++down}`), qos: 1, retain: false });
      }, 20);
      closes.push(() => clearInterval(traffic));
      /** Further messages have passed in both directions. */
      const goesOn = async () => {
        const [up, before] = [device.acknowledged.size, device.received.length];
        await until("more goes up", () => device.acknowledged.size > up + 5);
        await until("more comes down", () => device.received.length > before + 5);
      };
      await goesOn();
      expect((await cli(a, "fleet", "status")).stdout).toMatch(
        /barn-a \(asked\) +active .*\nbarn-b +stands by .*\nlease: 2 s; if it is not renewed, this gateway gives up in [\d.]+ s\nepoch 1, .* ago to barn-a: no gateway was active before\n/,
      );
      expect(await b.ask("/fleet/drain", "POST")).toEqual({
        status: 409,
        body: '{"error":"barn-b stands by: barn-a is active, drain it there"}\n',
      });

      const drained = await cli(a, "fleet", "drain");
      expect(drained.stderr).toBe("");
      expect(drained.stdout).toMatch(
        /^barn-b is active now, epoch 2: it had the lease \d+ ms after barn-a sent its last message\n/,
      );
      await b.serves();
      await until("it has ended, and is started again", () => a.ends.length > 0);
      expect(a.ends).toEqual(["75"]);
      await goesOn();
      expect(await searched(ports[1] ?? 0)).toEqual(["GWINFO"]);
      expect(await metric(1, "pair_epoch")).toBe('mqttsn_pair_epoch{name="barn-b",owner="barn-b"} 2');
      await a.standsBy();
      await until("it has seen the other one", () => a.has("barn-b is active, epoch 2"));
      expect(await searched(ports[0] ?? 0)).toEqual([]);
      await until("it sees why", async () =>
        (await fleet(a)).includes('"handover":{"from":"barn-a","cause":"drained"'),
      );
      await a.end("SIGTERM");
      await until("nobody is seen", async () => !(await fleet(b)).includes('"other"'));
      const refused = await cli(b, "fleet", "drain");
      expect(refused.stderr).toMatch(/no gateway stands by, so barn-b continues\. Start the other gateway/);
      expect(b.isServing).toBe(true);
      expect(b.ends).toEqual([]);
      await goesOn();
      clearInterval(traffic);
      await until("it is idle", () => device.idle);
      await until("all is delivered", () => new Set(device.received).size === down);
      expect(device.connects).toBe(1);
      expect([...device.acknowledged.keys()].filter((text) => !broker.saved.has(text))).toEqual([]);
      const twice = [...broker.saved].filter(([text, times]) => times > 1 && /#\d*[02468]$/.test(text));
      expect(twice, "twice at the broker, at QoS 2").toEqual([]);
      expect(b.has("operator_command")).toBe(true);
      // What is asked of one that is alone.
      expect((await cli(b, "doctor", "--no-try")).stdout).toMatch(
        /DOUBTFUL +pair: barn-b is active, epoch 2, and no gateway/,
      );
    });

    test("a DTLS device goes on without a handshake, and no record number comes twice", async () => {
      const { a, b } = await pair();
      const address = new OneAddress(
        new Map([
          [ports[2] ?? 0, "a"],
          [ports[3] ?? 0, "b"],
        ]),
      );
      const port = await address.open();
      closes.push(() => address.close());
      const numbers: { readonly gateway: string; readonly number: number }[] = [];
      let handshakes = 0;
      address.heard = (name, bytes) => {
        if (bytes[0] === 22) handshakes++;
        if (bytes[0] === 23) numbers.push({ gateway: name, number: bytes.readUIntBE(5, 6) });
      };
      const device = new SecureSocket(port, {
        identity: "dev1",
        key: Buffer.from(key, "hex"),
        suites: [suites.ccm8],
        cidOctets: 0,
      });
      closes.push(() => device.close());
      const says = async (message: Parameters<typeof encode>[0], answer: string) => {
        const before = device.received.length;
        device.send(encode(message));
        await until(`${answer} to ${message.type}`, () =>
          device.received.slice(before).some((octets) => {
            const decoded = decode(octets);
            return decoded.ok && decoded.message.type === answer;
          }),
        );
      };
      device.start();
      await until("the handshake is over", () => device.outcome === "opened");
      await says(connect({ clientId: "dev1", cleanSession: false, duration: 60 }), "CONNACK");
      await says({ type: "PINGREQ", clientId: "" }, "PINGRESP");
      const shaken = handshakes;
      await a.end("SIGKILL");
      await b.serves();
      await says({ type: "PINGREQ", clientId: "" }, "PINGRESP");
      expect(handshakes).toBe(shaken);
      const last = numbers.findLast(({ gateway: name }) => name === "a")?.number ?? 0;
      const first = numbers.find(({ gateway: name }) => name === "b")?.number ?? 0;
      expect(first - last).toBeGreaterThanOrEqual(2 ** 24);
    });

    test("whoever is none of the pair does not get the store while it is active, nor is a backup restored over it", async () => {
      const { a } = await pair();
      const alone = gateway("alone", 1, { pair: { enabled: false } });
      await gateways[1]?.end("SIGTERM");
      alone.start();
      await until("it is refused", () => alone.has("is that of a pair, of which barn-a is active"));
      expect(alone.isServing).toBe(false);
      const store = () => new RedisStore(storeOptions.parse({ kind: "redis", redis: { url: redis.url } }).redis);
      const file = join(a.folder, "backup");
      const other = new RedisStore(
        storeOptions.parse({ kind: "redis", redis: { url: redis.url, prefix: "other" } }).redis,
      );
      await other.open();
      await commit(other, session("x"));
      await writeBackup(file, backupOctets(other.snapshot()));
      await other.close();
      await expect(restoreInto(file, store())).rejects.toThrow(/is that of a pair, of which barn-a is active/);
      expect(a.isServing).toBe(true);
      // Given back, it is anybody's.
      await a.end("SIGTERM");
      await alone.serves();
    });

    test("Redis away: both wait, and one serves when it is back; with older data neither does", async () => {
      const { a, b } = await pair();
      const older = await (async () => {
        await redis.end();
        const copy = redis.copyData();
        await redis.start();
        return copy;
      })();
      await until("one serves", () => a.isServing || b.isServing);
      await redis.end("SIGKILL");
      await until("nobody is active", () => !a.isServing && !b.isServing);
      await until("both wait", () => [a, b].every((each) => each.isStandby && each.has("the lease cannot be read")));
      await redis.start();
      await until("one serves again", () => a.isServing !== b.isServing);
      const [active, other] = a.isServing ? [a, b] : [b, a];
      await until("the other stands by", () => other.isStandby);
      // One epoch more, which the copy does not have.
      await active.end("SIGTERM");
      await other.serves();
      active.start();
      await active.standsBy();
      await redis.end();
      older();
      await redis.start();
      await until("neither serves", () => !a.isServing && !b.isServing);
      await until("both say why", () => [a, b].every((each) => each.has("came back with older data (epoch")));
      expect((await cli(a, "status")).stdout).toMatch(
        /bad: This gateway is the standby, and it cannot take over\. .*pair-epoch/,
      );
    });
  },
);
