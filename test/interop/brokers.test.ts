/**
 * The promises of docs/guide/operations.md, with well-known brokers, in both modes. A row says what a broker cannot do;
 * docs/guide/brokers.md tells users the same. All tests run at the same time, each with its own gateway.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import mqtt from "mqtt";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import type { Gateway } from "../../src/gateway.ts";
import type { QoS } from "../../src/wire/fields.ts";
import { CutProxy } from "../helpers/cut-proxy.ts";
import { Listener } from "../helpers/listener.ts";
import { aedes, type BrokerKind, mosquitto, nats, type RealBroker, rabbit } from "../helpers/real-brokers.ts";
import { Publisher, startGateway, until } from "../helpers/test-gateway.ts";

interface Row {
  readonly title: string;
  readonly kind: BrokerKind;
  readonly preset?: string;
  readonly qosMax: QoS;
  /** What is retained comes for a filter with wildcards too. */
  readonly retainedForWildcards: boolean;
  /** Its session keeps each message once, and the packet ids of QoS 2, while no client is connected. */
  readonly keepsSessions: boolean;
  /** Topic and payload of a publication at QoS 1 for which it closes the connection; undefined: none is known. */
  readonly poison: readonly [topic: string, payload: string] | undefined;
}

const all = { qosMax: 2, retainedForWildcards: true, keepsSessions: true } as const;

const rows: readonly Row[] = [
  { title: "mosquitto", kind: mosquitto(["max_packet_size 2000"]), ...all, poison: ["x", "x".repeat(2_000)] },
  {
    title: "mosquitto, a copy for each subscription",
    kind: mosquitto(["allow_duplicate_messages true"]),
    ...all,
    preset: "mosquitto",
    poison: undefined,
  },
  { title: "NATS", kind: nats(), ...all, preset: "nats", qosMax: 1, poison: ["a b", "poison"] },
  {
    title: "RabbitMQ",
    kind: rabbit(),
    ...all,
    preset: "rabbitmq",
    qosMax: 1,
    retainedForWildcards: false,
    poison: undefined,
  },
  { title: "aedes", kind: aedes(), ...all, keepsSessions: false, poison: ["$SYS/x", "poison"] },
];

for (const { title, kind } of rows)
  if (kind.missing !== undefined && process.env["CI"]) throw new Error(`${title}: ${kind.missing}`);

/** The parts of one test: a gateway between a broker and its devices, and an observer at the broker. */
class Scene {
  readonly #folder = mkdtempSync(join(tmpdir(), "brokers-"));
  readonly #open: { close?(): void; stop?(): void }[] = [];
  readonly #upstream: Record<string, unknown>;
  readonly proxy: CutProxy;
  readonly observer: mqtt.MqttClient;
  /** How often each payload came to the observer, by topic and payload. */
  readonly seen = new Map<string, number>();
  readonly name: string;
  #gateway: Gateway | undefined;
  #port = 0;

  private constructor(name: string, proxy: CutProxy, observer: mqtt.MqttClient, upstream: Record<string, unknown>) {
    this.name = name;
    this.proxy = proxy;
    this.observer = observer;
    this.#upstream = upstream;
    observer.on("message", (topic, payload) => {
      const what = `${topic.slice(name.length + 1)} ${payload}`;
      this.seen.set(what, (this.seen.get(what) ?? 0) + 1);
    });
  }

  /** Topics of the scene are under its name; so no other test sees them. */
  static async set(
    context: TestContext,
    row: Row,
    broker: RealBroker,
    { mode, name, prefix = `${name}/` }: { mode: string; name: string; prefix?: string | undefined },
  ): Promise<Scene> {
    const proxy = await CutProxy.to(broker.port);
    const observer = mqtt.connect(`mqtt://127.0.0.1:${broker.port}`, { clientId: `observer-${name}` });
    const scene = new Scene(name, proxy, observer, {
      url: `mqtt://127.0.0.1:${proxy.port}`,
      mode,
      ...(row.preset !== undefined && { preset: row.preset }),
      clientIdPrefix: `${name}-`,
      topicPrefix: prefix,
      keepAliveSeconds: 5,
      connectTimeoutSeconds: 10,
      reconnect: { minSeconds: 0.1, maxSeconds: 0.5 },
    });
    context.onTestFinished(() => scene.end());
    await observer.subscribeAsync(`${name}/#`, { qos: row.qosMax });
    await scene.start();
    return scene;
  }

  async start(): Promise<void> {
    ({ gateway: this.#gateway, port: this.#port } = await startGateway({
      transports: [{ type: "udp", host: "127.0.0.1", port: this.#port }],
      store: { kind: "disk", folder: this.#folder },
      upstream: this.#upstream,
      retry: { intervalSeconds: 1, limit: 10 },
    }));
    await until("the connection", () => this.#gateway?.health().broker === "connected");
  }

  async stop(): Promise<void> {
    await this.#gateway?.stop();
    this.#gateway = undefined;
  }

  async device(
    clientId: string,
    options?: Parameters<Listener["connect"]>[0],
    retry?: { ms: number; limit: number },
  ): Promise<Listener> {
    const made = new Listener(clientId, this.#port, retry);
    this.#open.push(made);
    return made.connect(options);
  }

  async publisher(clientId: string, topic: string): Promise<Publisher> {
    const made = new Publisher({ clientId, port: this.#port, topic });
    this.#open.push(made);
    await made.start();
    await until("CONNACK", () => made.connected);
    return made;
  }

  /** Every connection is reset; all of them are back when this is over. */
  async cut(): Promise<void> {
    const { connections, opened } = this.proxy;
    this.proxy.reset();
    await until("the connections are back", () => this.proxy.opened >= opened + connections, 20_000);
    await calm();
  }

  /** From the broker's side. */
  async say(topic: string, payload: string, qos: QoS, retain = false): Promise<void> {
    await this.observer.publishAsync(`${this.name}/${topic}`, payload, { qos, retain });
  }

  async end(): Promise<void> {
    for (const each of this.#open) (each.close ?? each.stop)?.call(each);
    await this.stop();
    await this.proxy.close();
    await this.observer.endAsync(true);
    rmSync(this.#folder, { recursive: true });
  }
}

const qoses = (row: Row) => ([0, 1, 2] as const).filter((qos) => qos <= row.qosMax);
/** No further message is in flight that a test could see. */
const calm = () => new Promise((done) => setTimeout(done, 300));

describe.concurrent.each(rows)("$title", (row) => {
  const { kind } = row;
  let broker: RealBroker;
  let starting: Promise<RealBroker> | undefined;
  let count = 0;
  beforeAll(async () => {
    if (kind.missing !== undefined) return;
    starting = kind.start();
    broker = await starting;
  }, 200_000);
  afterAll(async () => {
    const started = await starting?.catch(() => undefined); // also one that took too long
    await started?.dispose();
  }, 200_000);

  describe.skipIf(kind.missing !== undefined).each(["transparent", "aggregating"])(
    `%s${kind.missing === undefined ? "" : ` (skipped: ${kind.missing})`}`,
    (mode) => {
      const scene = (context: TestContext, prefix?: string) =>
        Scene.set(context, row, broker, { mode, name: `${mode.charAt(0)}${++count}`, prefix });

      test("up, at every QoS, while the connection is cut again and again", async (context) => {
        const at = await scene(context);
        const devices = [await at.publisher("p0", "t/0"), await at.publisher("p1", "t/1")];
        const traffic = setInterval(() => {
          for (const device of devices) device.publish((device.sent % (row.qosMax + 1)) as QoS);
        }, 5);
        for (let cuts = 0; cuts < 5; cuts++) {
          const target = devices.map((d) => d.acknowledged.size + 10);
          const goesOn = () => devices.every((d, n) => d.acknowledged.size >= (target[n] ?? 0));
          await until("traffic goes on", goesOn, 30_000);
          if (cuts < 4) at.proxy.reset();
        }
        clearInterval(traffic);
        await until("everybody is idle", () => devices.every((d) => d.idle), 30_000);
        const sure = devices.flatMap((d, n) =>
          [...d.acknowledged].filter(([, qos]) => qos > 0).map(([payload, qos]) => [`t/${n} ${payload}`, qos] as const),
        );
        await until("all at the observer", () => sure.every(([what]) => at.seen.has(what)), 20_000);
        for (const [what, qos] of sure) if (qos === 2) expect(at.seen.get(what), what).toBe(1);
      });

      test.runIf(row.qosMax < 2)("QoS 2 is refused, and nobody loses anything by it", async (context) => {
        const at = await scene(context);
        const device = await at.device("d");
        const other = await at.device("other");
        expect(await device.publish("t/a", "twice", 2)).toBe(3);
        expect(await other.publish("t/b", "once", 1)).toBe(0);
        await until("the other's", () => at.seen.has("t/b once"));
        expect(at.seen.has("t/a twice")).toBe(false);
        await device.subscribe("t/c", 2);
        await at.say("t/c", "down", 1);
        await until("at QoS 1", () => device.received.includes("t/c down QoS 1"));
      });

      test("down, at every QoS, also to who sleeps", async (context) => {
        const at = await scene(context);
        const awake = await at.device("awake");
        const sleeper = await at.device("sleeper");
        for (const device of [awake, sleeper]) await device.subscribe("d/+", 2);
        sleeper.sleep();
        await until("asleep", () => sleeper.isAsleep);
        for (const qos of qoses(row)) await at.say(`d/${qos}`, "hello", qos);
        const expected = qoses(row).map((qos) => `d/${qos} hello QoS ${qos}`);
        await until("all of them", () => awake.received.length >= expected.length);
        const kept = expected.filter((what) => !what.endsWith("0"));
        await sleeper.wakeUntil("handed over", () => kept.every((what) => sleeper.received.includes(what)));
        await calm();
        expect(awake.received.sort()).toEqual(expected);
        expect(sleeper.received.filter((what) => !what.endsWith("0")).sort()).toEqual(expected.slice(1));
      });

      test("retained: set by a device, got by who subscribes later, taken back", async (context) => {
        const at = await scene(context);
        const device = await at.device("d");
        expect(await device.publish("r/1", "kept", 1, true)).toBe(0);
        await until("at the observer", () => at.seen.has("r/1 kept"));
        const later = await at.device("later");
        await later.subscribe("r/1", 1);
        await until("what is retained", () => later.received.length > 0);
        expect(later.received).toEqual(["r/1 kept QoS 1 retained"]);
        const wild = await at.device("wild");
        await wild.subscribe("r/#", 1);
        await at.say("r/2", "live", 1);
        await until("what is live", () => wild.received.includes("r/2 live QoS 1"));
        if (row.retainedForWildcards)
          await until("what is retained", () => wild.received.includes("r/1 kept QoS 1 retained"));
        expect(await device.publish("r/1", "", 1, true)).toBe(0);
        await until("it is empty", () => later.received.length > 1);
        const last = await at.device("last");
        await last.subscribe("r/1", 1);
        await calm();
        expect(last.received).toEqual([]);
      });

      test("the will of a device that falls silent", async (context) => {
        const at = await scene(context);
        const will = { topicName: "w", payload: new TextEncoder().encode("gone"), qos: 1, retain: false } as const;
        const device = await at.device("d", { keepAliveSeconds: 1, will });
        device.close();
        await until("the will", () => at.seen.has("w gone"), 20_000);
        await calm();
        expect(at.seen.get("w gone")).toBe(1);
      });

      test("the gateway stops and starts: nobody connects again, nothing is missed or double", async (context) => {
        const at = await scene(context);
        const qos = row.keepsSessions ? row.qosMax : 1;
        const sleeper = await at.device("sleeper");
        await sleeper.subscribe("s/1", qos);
        const active = await at.device("active");
        await active.subscribe("s/1", qos);
        sleeper.sleep();
        await until("asleep", () => sleeper.isAsleep);
        await at.say("s/1", "before", qos);
        await until("before", () => active.received.length > 0);
        await calm(); // what came is acknowledged at the broker
        await at.stop();
        await at.say("s/1", "meanwhile", qos);
        await at.start();
        await until("meanwhile", () => active.received.length > 1, 20_000);
        await at.say("s/1", "after", qos);
        await until("after", () => active.received.length > 2);
        await sleeper.wakeUntil("all handed over", () => sleeper.received.length >= 3);
        const expected = ["before", "meanwhile", "after"].map((what) => `s/1 ${what} QoS ${qos}`);
        expect(sleeper.received).toEqual(expected);
        expect(active.received).toEqual(expected);
        expect(active.isConnected).toBe(true);
      });

      test("overlapping filters of several devices: each message as often as over its own connection", async (context) => {
        const at = await scene(context);
        const filters = ["o/#", "o/+", "o/b"];
        const devices: Listener[] = [];
        for (const filter of filters) {
          const device = await at.device(`o${devices.length}`);
          await device.subscribe(filter, 2);
          devices.push(device);
        }
        const expected: string[] = [];
        const saying = async (...words: string[]) => {
          for (const word of words) {
            await at.say("o/b", word, row.qosMax);
            expected.push(`o/b ${word} QoS ${row.qosMax}`);
          }
          const enough = () => devices.every(({ received }) => received.length >= expected.length);
          await until(`everybody has ${words}`, enough, 20_000);
        };
        await saying("one", "two", "two", "three");
        await calm(); // what came is acknowledged at the broker
        if (row.keepsSessions) {
          await at.stop();
          await at.start();
          await saying("four", "four", "five");
          await calm();
          await at.cut(); // what NATS had said into it would come again after half a minute
          await saying("six", "six", "seven");
          await calm();
        }
        for (const { received } of devices) expect(received).toEqual(expected);
      });

      test.runIf(row.poison !== undefined)("a message for which it closes stops nobody else", async (context) => {
        const at = await scene(context, "");
        const [topic = "", payload = ""] = row.poison ?? [];
        const sick = await at.device("sick", undefined, { ms: 500, limit: 6 });
        const well = await at.publisher("well", `${at.name}/well`);
        const before = at.proxy.opened;
        const traffic = setInterval(() => well.publish(1), 100);
        context.onTestFinished(() => clearInterval(traffic));
        // The device repeats its message, gives it up, sends another one, and sends it again.
        let code = -1;
        for (let tries = 0; tries < 10 && code !== 3; tries++) {
          code = await sick.publish(topic, payload, 1);
          if (code !== 3) await sick.publish(`${at.name}/fine`, `fine ${tries}`, 1);
        }
        clearInterval(traffic);
        expect(code).toBe(3);
        expect(await sick.publish(`${at.name}/fine`, "fine", 1)).toBe(0);
        await until("the good ones", () => at.seen.has("fine fine") && well.idle);
        await until("the others'", () => [...well.acknowledged.keys()].every((good) => at.seen.has(`well ${good}`)));
        expect(at.proxy.opened - before).toBeLessThan(15);
        expect(well.connects).toBe(1);
      });
    },
  );
});
