/**
 * Two gateways over one Redis, of which one is active. Again and again one of them is killed, stopped and continued, cut off from Redis,
 * or told to end, under traffic in both directions with sleeping devices. Both modes run at the same time. EVENTS sets the number of events
 * (16: each kind once in each mode), PAIR_SEED their order, PAIR_LOG a file for the output of the gateways, PAIR_REPORT one for the result of
 * each event.
 *
 * A message that was acknowledged to a device is at the broker, at QoS 2 once. A message that was acknowledged to the broker reaches its
 * device, at QoS 2 once. No device has to connect again. After a takeover, Redis accepts no write of the earlier gateway (an observer in
 * front of Redis reports this, not the gateways), and that gateway sends nothing to devices and brokers any more.
 */
import { writeFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { QoS } from "../../src/wire/fields.ts";
import { Sleeper } from "../crash/sleeper.ts";
import { BrokerWay, OneAddress } from "../helpers/one-address.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePorts } from "../helpers/ports.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { findRedis, RedisServer } from "../helpers/redis.ts";
import { RedisObserver } from "../helpers/redis-observer.ts";
import { silentAtRedis } from "../helpers/silent-clients.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";
import { Rng } from "../simulation/rng.ts";

const program = findRedis();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);

const events = Number(process.env["EVENTS"] ?? 16);
const leaseMs = 3_000;
/** A gateway that takes over serves while it restores them. */
const silentClients = 5_000;
/** Open messages for one device. If there are as many, no more are published for it. */
const behindMax = 100;

const troubles = [
  "killed",
  "stopped",
  "stopped shortly",
  "cut from Redis",
  "told to end",
  "drained",
  "standby killed",
  "standby cut",
] as const;
type Trouble = (typeof troubles)[number];

interface Event {
  readonly trouble: Trouble;
  readonly from: string;
  /** From the fault until the other gateway serves; absent: there is no takeover. */
  takenOverMs?: number;
  /** How the one before ended. */
  end?: string | undefined;
}

describe.skipIf(missing !== undefined)(`a pair${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  for (const mode of ["transparent", "aggregating"] as const)
    test.concurrent(
      `${mode}: nothing lost, nothing doubled, nobody connects again, the one before is silent`,
      { timeout: events * 15_000 + 120_000 },
      ({ onTestFinished }) =>
        trial(mode, Math.ceil(events / 2), (close) => onTestFinished(async () => void (await close()))),
    );
});

async function trial(
  mode: "transparent" | "aggregating",
  count: number,
  atEnd: (close: () => unknown) => void,
): Promise<void> {
  if ("missing" in program) throw new Error(program.missing);
  const random = new Rng(Number(process.env["PAIR_SEED"] ?? 7));
  const redis = await RedisServer.create(program, { appendfsync: "always" });
  atEnd(() => redis.close());
  await silentAtRedis(redis.url, silentClients, mode);
  const observer = new RedisObserver(redis.port);
  atEnd(() => observer.close());
  const broker = await RecordingBroker.start(7);
  atEnd(() => broker.close());
  const [portA = 0, portB = 0] = await freePorts(2);
  const address = new OneAddress(
    new Map([
      [portA, "a"],
      [portB, "b"],
    ]),
  );
  const port = await address.open();
  atEnd(() => address.close());
  const ways = new Map<string, BrokerWay>();
  const gateway = async (name: string, udp: number) => {
    const way = new BrokerWay(Number(new URL(broker.url).port));
    ways.set(name, way);
    atEnd(() => way.close());
    const made = new PairGateway(name, {
      transports: [{ type: "udp", host: "127.0.0.1", port: udp }],
      upstream: {
        url: `mqtt://127.0.0.1:${await way.listen()}`,
        mode,
        protocol: "5",
        reconnect: { minSeconds: 0.05, maxSeconds: 0.2 },
        will: { held: "gateway" },
      },
      retry: { intervalSeconds: 0.5, limit: 40 },
      store: {
        kind: "redis",
        redis: { url: `redis://127.0.0.1:${await observer.listen(name)}` },
        pair: { enabled: true, name, leaseSeconds: leaseMs / 1_000 },
        serveAfterSeconds: 0,
      },
      api: { enabled: false },
      log: { level: "info", format: "json" },
    });
    atEnd(() => made.remove());
    return made;
  };
  const gateways = { a: await gateway("a", portA), b: await gateway("b", portB) };
  observer.claimed = (by) => {
    address.speaker = by;
    for (const [name, way] of ways) way.mustBeSilent = name !== by;
  };
  gateways.a.start();
  await gateways.a.serves();
  gateways.b.start();
  await gateways.b.standsBy();

  const will = (topicName: string) => ({ topicName, payload: Buffer.from("a will"), qos: 1 as const, retain: false });
  const devices = Array.from({ length: 4 }, (_, i) => {
    const topics = { topic: `t/${i}`, subscribeTo: `d/${i}`, will: will(`w/${i}`) };
    return new Publisher({ clientId: `c${i}`, port, retryLimit: 240, ...topics });
  });
  const sleepers = [0, 1].map((i) => new Sleeper(`s${i}`, port, `s/${i}`, false, 240));
  const receivedBy = new Map<string, readonly string[]>([
    ...devices.map((device, i) => [`d/${i}`, device.received] as const),
    ...sleepers.map((sleeper, i) => [`s/${i}`, sleeper.received] as const),
  ]);
  for (const each of [...devices, ...sleepers]) {
    await each.start();
    atEnd(() => each.stop());
  }
  await until("everybody is connected", () => devices.every((device) => device.idle));
  const sent = new Map<string, QoS>();
  const perTopic = new Map<string, number>();
  let [down, ticks] = [0, 0];
  const traffic = setInterval(() => {
    for (const device of devices) device.publish((1 + (device.sent % 2)) as QoS);
    const qos = (1 + (++ticks % 2)) as QoS;
    for (const [topicName, texts] of receivedBy) {
      if ((perTopic.get(topicName) ?? 0) - texts.length > behindMax) continue;
      perTopic.set(topicName, (perTopic.get(topicName) ?? 0) + 1);
      const text = `${topicName} ${++down} QoS ${qos}`;
      sent.set(text, qos);
      broker.broker.publish({ topicName, payload: Buffer.from(text), qos, retain: false });
    }
  }, 25);
  atEnd(() => clearInterval(traffic));

  const report: Event[] = [];
  const both = [gateways.a, gateways.b];
  /** One gateway serves and one stands by: which. On a busy machine the lease may pass to the other one by itself. */
  const settled = async (): Promise<[active: PairGateway, other: PairGateway]> => {
    await until(
      "one serves, and one stands by",
      () => both.some((each) => each.isServing) && both.some((each) => each.isStandby),
      60_000,
    );
    return gateways.a.isServing ? [gateways.a, gateways.b] : [gateways.b, gateways.a];
  };
  for (let i = 0; i < count; i++) {
    await sleep(random.int(100, 700));
    const [active, other] = await settled();
    // Each in its turn first, then by chance.
    const inTurn = (i + (mode === "transparent" ? 0 : 4)) % troubles.length;
    const trouble = troubles[i < troubles.length ? inTurn : random.int(0, troubles.length - 1)] ?? "killed";
    const began = performance.now();
    const takenOver = async (): Promise<number> => {
      await other.serves(leaseMs + 30_000);
      return Math.round(performance.now() - began);
    };
    const from = active.name;
    const event: Event = { trouble, from };
    report.push(event);
    const runs = active.ends.length;
    switch (trouble) {
      case "killed":
        await active.end("SIGKILL");
        event.takenOverMs = await takenOver();
        active.start();
        break;
      case "stopped":
        active.signal("SIGSTOP");
        event.takenOverMs = await takenOver();
        await sleep(random.int(0, 500));
        active.signal("SIGCONT");
        await until("it has ended", () => active.ends.length > runs);
        event.end = active.ends.at(-1);
        break;
      case "stopped shortly":
        active.signal("SIGSTOP");
        await sleep(leaseMs / 4);
        active.signal("SIGCONT");
        await sleep(leaseMs / 2);
        break;
      case "cut from Redis":
        observer.cut(from);
        event.takenOverMs = await takenOver();
        // Its last commands arrive now.
        observer.heal(from);
        await until("it has ended", () => active.ends.length > runs);
        event.end = active.ends.at(-1);
        break;
      case "told to end": {
        const ended = active.end("SIGTERM");
        event.takenOverMs = await takenOver();
        event.end = await ended;
        active.start();
        break;
      }
      case "drained":
        // As soon as it has seen that the other gateway stands by, and no other command drains it meanwhile.
        await until("it is drained", async () => {
          const { status, body } = await active.ask("/fleet/drain", "POST");
          return status === 200 || body.includes("drain it there");
        });
        event.takenOverMs = await takenOver();
        await until("it has ended", () => active.ends.length > runs);
        event.end = active.ends.at(-1);
        break;
      case "standby killed":
        await other.end("SIGKILL");
        other.start();
        break;
      case "standby cut":
        observer.cut(other.name);
        await sleep(leaseMs * 1.5);
        observer.heal(other.name);
        break;
    }
  }
  await settled();
  if (process.env["PAIR_REPORT"]) writeFileSync(`${process.env["PAIR_REPORT"]}-${mode}.json`, JSON.stringify(report));
  await sleep(500);
  clearInterval(traffic);

  expect(observer.late, "Redis took writes after another epoch").toEqual([]);
  expect(address.wrong, "said to devices after another one had the lease").toEqual([]);
  expect(
    [...ways.values()].flatMap(({ wrong }) => wrong),
    "said to the broker after another one had the lease",
  ).toEqual([]);
  for (const { trouble, end } of report) {
    if (trouble === "stopped" || trouble === "cut from Redis" || trouble === "drained") expect(end).toBe("75");
    if (trouble === "told to end") expect(end).toBe("0");
  }
  const received = new Map<string, Set<string>>();
  const missingTexts = () => {
    for (const [topic, texts] of receivedBy) received.set(topic, new Set(texts));
    return [...sent.keys()].filter((text) => !received.get(text.slice(0, 3))?.has(text));
  };
  await until("everybody is idle", () => devices.every((device) => device.idle));
  expect(sleepers.flatMap(({ gaveUp, ends }) => (gaveUp ? ends : []))).toEqual([]);
  await until("all is delivered", () => missingTexts().length === 0, 60_000).catch(() => {});
  expect(missingTexts(), "at the broker, and not delivered").toEqual([]);
  const told = devices.flatMap(({ acknowledged }) => [...acknowledged]);
  await until("all is at the broker", () => told.every(([text]) => broker.saved.has(text)), 60_000).catch(() => {});
  expect(
    told.filter(([text]) => !broker.saved.has(text)),
    "acknowledged, and not at the broker",
  ).toEqual([]);
  // Every second one that a device sends is at QoS 2, acknowledged or not.
  const isQoS2Up = (text: string) => /^c\d#\d*[02468]$/.test(text);
  const doubledUp = [...broker.saved].filter(([text, times]) => times > 1 && isQoS2Up(text));
  expect(doubledUp, "twice at the broker, at QoS 2").toEqual([]);
  for (const [topic, texts] of receivedBy) {
    const once = new Set<string>();
    const doubled = texts.filter((text) => sent.get(text) === 2 && (once.has(text) || !once.add(text)));
    expect(doubled, `twice at ${topic}, at QoS 2`).toEqual([]);
  }
  expect(
    [...devices, ...sleepers].map(({ connects }) => connects),
    "CONNECTs",
  ).toEqual([1, 1, 1, 1, 1, 1]);
  expect(broker.wills, "wills").toEqual([]);
  expect(told.length).toBeGreaterThan(count * 10);
  expect(told.filter(([, qos]) => qos === 2).length).toBeGreaterThan(told.length / 4);
  const writes = observer.seen.filter(({ script, answer }) => script === "commitScript" && answer === "done").length;
  const refused = observer.seen.filter(
    ({ script, answer }) => script === "commitScript" && ["other", "epoch"].includes(answer),
  ).length;
  if (report.some(({ trouble }) => trouble === "cut from Redis"))
    expect(refused, "what came late, and was refused").toBeGreaterThan(0);
  console.log(
    [
      `a pair, ${mode}: ${count} events, ${observer.seen.filter(({ answer }) => answer === "claimed").length} times taken over`,
      `${writes} writes, ${refused} of the one before refused, 0 taken`,
      `up ${told.length} acknowledged, down ${sent.size} sent: 0 lost, 0 QoS 2 twice, 0 connected again`,
      `taken over after ${report.flatMap(({ trouble, takenOverMs }) => (takenOverMs === undefined ? [] : [`${takenOverMs} ms (${trouble})`])).join(", ")}`,
    ].join("; "),
  );
}
