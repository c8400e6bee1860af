/**
 * Gateways of a fleet over one Redis: killed, stopped and continued, cut off from Redis and from each other, told to end, drained, joined,
 * again and again, under traffic both ways, with sleepers and with devices that move between fronts. FLEET_EVENTS says how often in each mode
 * (4: each trouble once in one of both), FLEET_GATEWAYS how many there are (3), FLEET_DEVICES (24), FLEET_MODES (transparent,aggregating), FLEET_SEED which trouble comes when,
 * FLEET_DTLS says that each so many-th device speaks DTLS (4; 0: none), FLEET_LEASE the length of a lease in seconds (3; a machine with too much to do needs more);
 * PAIR_LOG is a file to which all words of the gateways go, FLEET_REPORT one for what became of each event.
 *
 * What devices were told is published is at the broker, at QoS 2 once; what the broker was told is delivered reaches its device, at
 * QoS 2 once; nobody has to CONNECT again, or to make a second handshake. After another gateway has claimed a shard, Redis takes no write of the one before (an observer in
 * front of Redis says so, not the gateways).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { QoS } from "../../src/wire/fields.ts";
import { Sleeper } from "../crash/sleeper.ts";
import { BetweenProxy } from "../helpers/between-proxy.ts";
import { Crossroads } from "../helpers/crossroads.ts";
import { KeyedDevices } from "../helpers/keyed-devices.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePorts } from "../helpers/ports.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { RedisObserver } from "../helpers/redis-observer.ts";
import { silentInFleet } from "../helpers/silent-clients.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";
import { Rng } from "../simulation/rng.ts";

const program = findRedis();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const number = (name: string, usual: number) => Number(process.env[name] ?? usual);
const events = number("FLEET_EVENTS", 4);
const gatewayCount = number("FLEET_GATEWAYS", 3);
const deviceCount = number("FLEET_DEVICES", 24);
const modes = (process.env["FLEET_MODES"] ?? "transparent,aggregating").split(",") as ("transparent" | "aggregating")[];
const shards = 16;
/** In all shards together. A gateway serves a shard while it restores those there. */
const silentClients = 4_800;
const leaseMs = number("FLEET_LEASE", 3) * 1_000;
const dtlsEach = number("FLEET_DTLS", 4);
const patienceMs = 40 * leaseMs;
/** Messages for one device that are on their way; beyond, no more are published for it. */
const behindMax = 50;
/** Up and down, each so often. */
const tickMs = 50;
const perTick = 3;

const troubles = [
  "killed",
  "stopped",
  "cut from Redis",
  "cut between",
  "drained",
  "told to end",
  "stopped shortly",
  "away for a while",
] as const;
type Trouble = (typeof troubles)[number];

interface Event {
  readonly trouble: Trouble;
  readonly of: string;
  /** From the trouble until all shards are served again; absent: none had to move. */
  servedMs?: number;
  /** Shards that it had. */
  shards?: number;
}

interface Fleet {
  readonly members: readonly { readonly name: string; readonly secondsAgo: number; readonly shards: number }[];
  readonly owners: readonly { readonly shard: number; readonly owner: string; readonly here?: string }[];
}

describe.skipIf(missing !== undefined)(`a fleet${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  for (const mode of modes)
    test(
      `${mode}: nothing lost, nothing doubled, nobody connects again, no write after another epoch`,
      { timeout: events * 60_000 + 240_000 },
      ({ onTestFinished }) => trial(mode, (close) => onTestFinished(async () => void (await close()))),
    );
});

async function trial(mode: "transparent" | "aggregating", atEnd: (close: () => unknown) => void): Promise<void> {
  if ("missing" in program) throw new Error(program.missing);
  const random = new Rng(number("FLEET_SEED", 7));
  const redis = await RedisServer.create(program, { appendfsync: "everysec" });
  atEnd(() => redis.close());
  await silentInFleet(redis.url, silentClients, mode, shards);
  const observer = new RedisObserver(redis.port, 0);
  atEnd(() => observer.close());
  const broker = await RecordingBroker.start(7);
  atEnd(() => broker.close());
  const names = Array.from({ length: gatewayCount }, (_, i) => `g${i}`);
  const ports = await freePorts(gatewayCount * 5);
  const places = names.map((name, i) => ({ name, listen: ports[5 * i] ?? 0, announce: ports[5 * i + 1] ?? 0 }));
  const fronts = names.map((_, i) => ports[5 * i + 2] ?? 0);
  const apis = names.map((_, i) => ports[5 * i + 3] ?? 0);
  const dtlsFronts = names.map((_, i) => ports[5 * i + 4] ?? 0);
  const devicesFolder = mkdtempSync(join(tmpdir(), "fleet-keys-"));
  atEnd(() => rmSync(devicesFolder, { recursive: true }));
  const keyed = Array.from({ length: deviceCount }, (_, i) => (isKeyed(i) ? [`c${i}`, `s${i}`] : [])).flat();
  const keys = new KeyedDevices(join(devicesFolder, "keys.json"), keyed);
  const between = new BetweenProxy(places);
  await between.open();
  atEnd(() => between.close());
  const gateways: PairGateway[] = [];
  for (const [i, { name, listen, announce }] of places.entries()) {
    const made = new PairGateway(name, {
      transports: [
        { type: "udp", host: "127.0.0.1", port: fronts[i] },
        { type: "dtls", host: "127.0.0.1", port: dtlsFronts[i], keys: { file: keys.file } },
      ],
      upstream: {
        url: broker.url,
        mode,
        protocol: "5",
        reconnect: { minSeconds: 0.05, maxSeconds: 0.2 },
        will: { held: "gateway" },
      },
      retry: { intervalSeconds: 0.5, limit: 40 },
      clients: { newPerSecondPerHostMax: 0, sessionsPerHostMax: 0 },
      store: {
        kind: "redis",
        redis: { url: `redis://127.0.0.1:${await observer.listen(name)}` },
        serveAfterSeconds: 0,
      },
      fleet: {
        enabled: true,
        name,
        shards,
        listen: `127.0.0.1:${listen}`,
        announce: `127.0.0.1:${announce}`,
        leaseSeconds: leaseMs / 1_000,
        key: { env: "FLEET_TEST_KEY" },
      },
      api: { enabled: true, port: apis[i], console: false },
      log: { level: "info", format: "json" },
    });
    atEnd(() => made.remove());
    gateways.push(made);
  }
  process.env["FLEET_TEST_KEY"] = "0123456789abcdef0123456789abcdef";
  for (const each of gateways) each.start();
  for (const each of gateways) await each.serves(patienceMs);
  /** Members that answer, and what they serve. */
  const serving = async (): Promise<Map<string, number[]>> => {
    const all = new Map<string, number[]>();
    for (const each of gateways) {
      if (!each.isRunning || each.isStopped) continue;
      const { status, body } = await each.ask("/fleet/members").catch(() => ({ status: 0, body: "" }));
      if (status !== 200) continue;
      const { owners } = JSON.parse(body) as Fleet;
      all.set(
        each.name,
        owners.flatMap(({ shard, here }) => (here === "serving" ? [shard] : [])),
      );
    }
    return all;
  };
  const allServed =
    (without = "") =>
    async () => {
      const by = await serving();
      const all = [...by].flatMap(([name, those]) => (name === without ? [] : those));
      return new Set(all).size === shards;
    };
  /** As `until`; who serves what is shown where it does not come true. */
  const untilServed = async (what: string, holds: () => Promise<boolean>) => {
    await until(what, holds, patienceMs).catch(async (error) => {
      throw new Error(`${what}: not so, but ${JSON.stringify([...(await serving())])}`, { cause: error });
    });
  };
  await untilServed("each has shards, and all are served", async () => {
    const by = [...(await serving()).values()];
    return by.every((those) => those.length > 0) && by.flat().length === shards;
  });

  const road = new Crossroads((count) => fronts[count % fronts.length] ?? 0);
  const port = await road.open();
  atEnd(() => road.close());
  const dtlsRoad = new Crossroads((count) => dtlsFronts[count % dtlsFronts.length] ?? 0);
  keys.port = await dtlsRoad.open();
  atEnd(() => dtlsRoad.close());
  atEnd(() => keys.close());
  const otherFront = (not: number, of = fronts) => {
    const living = of.filter((front, i) => front !== not && gateways[i]?.isRunning && !gateways[i]?.isStopped);
    return living[random.int(0, living.length - 1)] ?? not;
  };
  /** Every device that writes to this gateway writes to another one. */
  const leave = (index: number) => {
    const [front = 0, dtlsFront = 0] = [fronts[index], dtlsFronts[index]];
    road.leave(front, () => otherFront(front));
    dtlsRoad.leave(dtlsFront, () => otherFront(dtlsFront, dtlsFronts));
  };
  const will = (topicName: string) => ({ topicName, payload: Buffer.from("a will"), qos: 1 as const, retain: false });
  const sleeperCount = Math.ceil(deviceCount / 6);
  const devices: Publisher[] = [];
  for (let i = 0; i < deviceCount - sleeperCount; i++) {
    const topics = { topic: `t/${i}`, subscribeTo: `d/${i}`, will: will(`w/${i}`) };
    const own = isKeyed(i) ? await keys.portFor(`c${i}`) : port;
    devices.push(new Publisher({ clientId: `c${i}`, port: own, retryLimit: 400, ...topics }));
  }
  const sleepers: Sleeper[] = [];
  for (let i = 0; i < sleeperCount; i++) {
    const own = isKeyed(i) ? await keys.portFor(`s${i}`) : port;
    sleepers.push(new Sleeper(`s${i}`, own, `s/${i}`, false, 400));
  }
  for (const each of [...devices, ...sleepers]) {
    await each.start();
    atEnd(() => each.stop());
  }
  /** What there is to see of it when it does not come true. */
  const untilIdle = async (what: string) => {
    try {
      await until(what, () => devices.every((device) => device.idle), patienceMs);
    } catch (error) {
      const stuck = devices.filter(({ idle }) => !idle);
      const seen = await Promise.all(
        apis.map(async (api, i) => {
          const response = await fetch(`http://127.0.0.1:${api}/metrics`).catch(() => undefined);
          const lines = ((await response?.text()) ?? "").split("\n");
          return [names[i], ...lines.filter((line) => /^mqttsn_(fleet_|dropped)\S* [1-9]/.test(line))].join("\n  ");
        }),
      );
      const who = stuck.map(({ clientId, connected, ends, sent }) =>
        JSON.stringify({ clientId, connected, ends, sent }),
      );
      throw new Error([`${what}: not ${who.join(", ")}`, ...seen].join("\n"), { cause: error });
    }
  };
  await untilIdle("everybody is connected");
  keys.settled();
  const receivers: readonly (readonly [topic: string, texts: readonly string[]])[] = [
    ...devices.map((device, i) => [`d/${i}`, device.received] as const),
    ...sleepers.map((sleeper, i) => [`s/${i}`, sleeper.received] as const),
  ];
  const sent = new Map<string, QoS>();
  const sentAt = new Map<string, number>();
  const perTopic = new Map<string, number>();
  let [down, ticks, turn] = [0, 0, 0];
  const traffic = setInterval(() => {
    ticks++;
    for (let i = 0; i < perTick; i++) {
      const device = devices[turn % devices.length];
      device?.publish((1 + (device.sent % 2)) as QoS);
      const [topicName, texts] = receivers[turn++ % receivers.length] ?? [];
      if (topicName === undefined || texts === undefined) continue;
      if ((perTopic.get(topicName) ?? 0) - texts.length > behindMax) continue;
      perTopic.set(topicName, (perTopic.get(topicName) ?? 0) + 1);
      const qos = (1 + (ticks % 2)) as QoS;
      const text = `${topicName} ${++down} QoS ${qos}`;
      sent.set(text, qos);
      sentAt.set(text, Math.round(performance.now()));
      broker.broker.publish({ topicName, payload: Buffer.from(text), qos, retain: false });
    }
    // Some are on the way from one front to another at any time.
    if (ticks % 20 !== 0) return;
    road.move(Math.ceil(deviceCount / 24), otherFront);
    if (dtlsEach > 0) dtlsRoad.move(Math.ceil(deviceCount / (24 * dtlsEach)), (not) => otherFront(not, dtlsFronts));
  }, tickMs);
  atEnd(() => clearInterval(traffic));

  const report: Event[] = [];
  for (let i = 0; i < events; i++) {
    await sleep(random.int(200, 1_000));
    await untilServed("all are there, and all shards are served", async () => {
      const by = await serving();
      const those = [...by.values()];
      return by.size === gatewayCount && those.every(({ length }) => length > 0) && those.flat().length === shards;
    });
    const inTurn = (i + (mode === "transparent" ? 0 : events)) % troubles.length;
    const trouble = troubles[i < troubles.length ? inTurn : random.int(0, troubles.length - 1)] ?? "killed";
    const index = random.int(0, gatewayCount - 1);
    const gateway = gateways[index];
    if (!gateway) continue;
    const had = (await serving()).get(gateway.name)?.length ?? 0;
    const event: Event = { trouble, of: gateway.name, shards: had };
    report.push(event);
    const began = performance.now();
    const servedAgain = async (without = gateway.name) => {
      await untilServed(`all served after ${trouble}`, allServed(without));
      event.servedMs = Math.round(performance.now() - began);
    };
    switch (trouble) {
      case "killed":
        await gateway.end("SIGKILL");
        leave(index);
        await servedAgain();
        gateway.start();
        break;
      case "stopped":
        gateway.stopForAWhile();
        leave(index);
        await servedAgain();
        await sleep(random.int(0, 500));
        gateway.goOn();
        break;
      case "stopped shortly":
        gateway.stopForAWhile();
        await sleep(leaseMs / 4);
        gateway.goOn();
        await sleep(leaseMs / 2);
        break;
      case "cut from Redis":
        observer.cut(gateway.name);
        await sleep(200);
        leave(index);
        await servedAgain();
        // What it wrote in vain arrives now.
        observer.heal(gateway.name);
        break;
      case "cut between": {
        const other = gateways[(index + 1) % gatewayCount];
        if (other) between.cut(gateway.name, other.name);
        await sleep(2_000);
        between.heal();
        break;
      }
      case "drained": {
        // It refuses while Redis does not answer, as on a machine with too much to do.
        let said = "";
        const isDrained = async () => {
          const { status, body } = await gateway.ask("/fleet/leave", "POST");
          said = body;
          return status === 200;
        };
        await until("drained", isDrained, patienceMs).catch((cause) => {
          throw new Error(`not drained: ${said}`, { cause });
        });
        leave(index);
        await servedAgain();
        await until("it is there again", () => gateway.ends.at(-1) === "75" && gateway.isServing, patienceMs);
        break;
      }
      case "told to end": {
        const ended = gateway.end("SIGTERM");
        leave(index);
        await servedAgain();
        expect(await ended).toBe("0");
        gateway.start();
        break;
      }
      case "away for a while":
        await gateway.end("SIGKILL");
        leave(index);
        await servedAgain();
        await sleep(2 * leaseMs);
        gateway.start();
        break;
    }
  }
  await untilServed("all shards are served", allServed());
  if (process.env["FLEET_REPORT"]) writeFileSync(`${process.env["FLEET_REPORT"]}-${mode}.json`, JSON.stringify(report));
  await sleep(1_000);
  clearInterval(traffic);

  expect(observer.late, "Redis took writes after another epoch").toEqual([]);
  await untilIdle("everybody is idle");
  expect(sleepers.flatMap(({ gaveUp, ends }) => (gaveUp ? ends : []))).toEqual([]);
  const missingTexts = () => {
    const received = new Set(receivers.flatMap(([, texts]) => texts));
    return [...sent.keys()].filter((text) => !received.has(text));
  };
  await until("all is delivered", () => missingTexts().length === 0, patienceMs).catch(() => {});
  for (const text of missingTexts().slice(0, 3)) {
    const topic = text.split(" ")[0] ?? "";
    const passed = road.passedWith(text).length > 0 ? road.passedWith(text) : road.passedWith(`${topic} `);
    console.error([`${text}: sent by the broker at ${sentAt.get(text)}`, ...passed.slice(-400)].join("\n"));
  }
  expect(missingTexts(), "at the broker, and not delivered").toEqual([]);
  const told = devices.flatMap(({ acknowledged }) => [...acknowledged]);
  await until("all is at the broker", () => told.every(([text]) => broker.saved.has(text)), patienceMs).catch(() => {});
  expect(
    told.filter(([text]) => !broker.saved.has(text)),
    "acknowledged, and not at the broker",
  ).toEqual([]);
  // Every second one that a device sends is at QoS 2, acknowledged or not.
  const isQoS2Up = (text: string) => /^c\d+#\d*[02468]$/.test(text);
  const doubledUp = [...broker.saved].filter(([text, times]) => times > 1 && isQoS2Up(text));
  for (const [text] of doubledUp.slice(0, 3)) {
    const clientId = text.slice(0, text.indexOf("#"));
    const hex = Buffer.from(text).toString("hex");
    const passed = road.passedWith(text);
    const lines = [`${text}: by the device`, ...around(passed, hex), "at the broker", ...broker.around(clientId, text)];
    console.error(lines.join("\n"));
  }
  expect(doubledUp, "twice at the broker, at QoS 2").toEqual([]);
  for (const [topic, texts] of receivers) {
    const once = new Set<string>();
    const doubled = texts.filter((text) => sent.get(text) === 2 && (once.has(text) || !once.add(text)));
    const first = doubled[0];
    if (first !== undefined)
      console.error(around(road.passedWith(first), Buffer.from(first).toString("hex")).join("\n"));
    expect(doubled, `twice at ${topic}, at QoS 2`).toEqual([]);
  }
  expect(
    [...devices, ...sleepers].filter(({ connects }) => connects !== 1).length,
    "devices that had to CONNECT again",
  ).toBe(0);
  expect(keys.again, "devices that had to make a second handshake").toEqual([]);
  expect(broker.wills, "wills").toEqual([]);
  expect(told.length).toBeGreaterThan(events * 10);
  const commits = observer.seen.filter(({ script }) => script === "commitScript");
  const refused = commits.filter(({ answer }) => ["other", "epoch"].includes(answer)).length;
  const claims = observer.seen.filter(({ script, answer }) => script === "claimScript" && answer === "claimed").length;
  console.log(
    [
      `a fleet of ${gatewayCount}, ${mode}, ${deviceCount} devices: ${events} events, ${claims} claims of ${shards} shards`,
      `${commits.length} commits, ${refused} of one before refused, 0 taken`,
      `up ${told.length} acknowledged, down ${sent.size} sent: 0 lost, 0 QoS 2 twice, 0 connected again`,
      `${keys.count} devices with DTLS: 0 second handshakes`,
      `${between.passed} frames between gateways, ${between.dropped} cut`,
      `served again after ${report.flatMap(({ trouble, servedMs, shards: had }) => (servedMs === undefined ? [] : [`${servedMs} ms (${trouble}, ${had} shards)`])).join(", ")}`,
    ].join("; "),
  );
}

function isKeyed(i: number): boolean {
  return dtlsEach > 0 && i % dtlsEach === dtlsEach - 1;
}

/** What went by from a little before this was first there until a little after it was last there. */
function around(passed: readonly string[], hex: string): readonly string[] {
  const has = (line: string) => line.includes(hex);
  return passed.slice(Math.max(0, passed.findIndex(has) - 20), passed.findLastIndex(has) + 20);
}
