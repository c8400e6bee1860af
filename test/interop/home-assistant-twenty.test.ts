/**
 * Twenty devices with different habits at mosquitto, with a model of Home Assistant. After each of its messages the test checks which
 * devices are available. No sleeping device is ever offline, no lost one online, and nothing is left behind. A broker that lost its
 * retained messages, and a gateway that starts again, change nothing of this. HOME_SEED repeats a run, HOME_ROUNDS makes it longer.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { UdpDevice } from "../../src/cli/udp-device.ts";
import { HomeAssistant, homeFilters } from "../helpers/home-assistant.ts";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { startGateway, until } from "../helpers/test-gateway.ts";
import { Rng } from "../simulation/rng.ts";

const program = findMosquitto();
const missing = "missing" in program ? program.missing : undefined;
if (missing !== undefined && process.env["CI"]) throw new Error(missing);
const seed = Number(process.env["HOME_SEED"] ?? 1);
const rounds = Number(process.env["HOME_ROUNDS"] ?? 24);
/** Devices that do something at the same time. */
const atOnce = 6;
/** Keep alive of who vanishes: a few seconds later it is lost. */
const shortSeconds = 1;

type Character = "sleeper" | "talker" | "vanisher" | "leaver" | "guest";

class Thing {
  readonly name: string;
  readonly character: Character;
  /** What Home Assistant must show, as far as the device itself can know it. */
  must: "anything" | "available" | "unavailable" | "absent" = "anything";
  #udp: UdpDevice | undefined;
  readonly #port: number;
  #value = 0;

  constructor(name: string, character: Character, port: number) {
    this.name = name;
    this.character = character;
    this.#port = port;
  }

  get isActive(): boolean {
    return this.#udp?.device.state === "active" && this.#udp.device.idle;
  }

  get isAsleep(): boolean {
    return this.#udp?.device.state === "asleep" && this.#udp.device.idle;
  }

  async connect(): Promise<void> {
    const { name: clientId, character } = this;
    this.#udp?.close();
    const udp = new UdpDevice({
      clientId,
      host: "127.0.0.1",
      port: this.#port,
      retryMs: 500,
      retryLimit: 20,
      debug: false,
    });
    this.#udp = udp;
    await udp.open(() => {});
    const keepAliveSeconds = character === "vanisher" ? shortSeconds : 60;
    udp.act((device, now) => device.connect({ clean: character === "guest", keepAliveSeconds }, now));
    await until(`${clientId} is connected`, () => this.isActive);
  }

  /** Connects if it is not connected, sends something, and stays, sleeps or leaves according to its habits. */
  async speak(): Promise<void> {
    if (this.isAsleep) this.#act((device, now) => device.connect({ clean: false, keepAliveSeconds: 60 }, now));
    else if (!this.isActive) await this.connect();
    await until(`${this.name} is there`, () => this.isActive);
    const topicName = `barn/${this.name.replace(/[^a-z0-9]/g, "-")}/climate`;
    const payload = Uint8Array.of(++this.#value % 100);
    this.#act((device, now) => device.publish({ topic: { by: "name", topicName }, payload, qos: 1 }, now));
    await until(`${this.name} was heard`, () => this.isActive);
    if (this.character === "sleeper") await this.sleep();
  }

  async sleep(): Promise<void> {
    this.#act((device, now) => device.sleep(300, now));
    await until(`${this.name} sleeps`, () => this.isAsleep);
  }

  async wake(): Promise<void> {
    this.#act((device, now) => device.wake(now));
    await until(`${this.name} sleeps again`, () => this.isAsleep);
  }

  async disconnect(): Promise<void> {
    this.#act((device, now) => device.disconnect(now));
    await until(`${this.name} has gone`, () => this.#udp?.device.state === "disconnected");
    this.close();
  }

  /** Without a word. */
  close(): void {
    this.#udp?.close();
    this.#udp = undefined;
  }

  #act(what: Parameters<UdpDevice["act"]>[0]): void {
    this.#udp?.act(what);
  }
}

/** Looks at everything that must hold, each time that something changes. */
class Judge {
  readonly faults: string[] = [];
  looks = 0;
  /** The gateway or the broker is away: then no device is available, as it should be. */
  isAway = false;
  readonly #home: HomeAssistant;
  readonly #things: readonly Thing[];

  constructor(home: HomeAssistant, things: readonly Thing[]) {
    this.#home = home;
    this.#things = things;
    home.onChange = () => this.look("a message");
  }

  look(when: string): void {
    if (this.isAway) return;
    this.looks++;
    const devices = new Set(this.#home.devices);
    for (const { name, character, must } of this.#things) {
      const isAvailable = this.#home.isAvailable(name);
      const isWrong =
        (must === "available" && !isAvailable) ||
        (must === "unavailable" && isAvailable) ||
        (must === "absent" && devices.has(name));
      if (isWrong && this.faults.length < 20)
        this.faults.push(`at ${when}: ${character} ${name} must be ${must}; available: ${isAvailable}`);
    }
  }
}

describe.skipIf(missing !== undefined)(
  `twenty devices and Home Assistant${missing === undefined ? "" : ` (skipped: ${missing})`}`,
  () => {
    const modes = ["transparent", "aggregating"] as const;
    // They wait most of the time.
    test.concurrent.for(modes)(`seed ${seed}: %s`, { timeout: 300_000 }, async (mode, context) => {
      if ("missing" in program) return;
      const atEnd: (() => unknown)[] = [];
      context.onTestFinished(async () => {
        for (const end of atEnd.reverse()) await end();
      });
      const broker = await Mosquitto.create(program);
      atEnd.push(() => broker.dispose());
      const folder = mkdtempSync(join(tmpdir(), "twenty-"));
      atEnd.push(() => rmSync(folder, { recursive: true, force: true }));
      const config = {
        upstream: {
          url: `mqtt://127.0.0.1:${broker.plainPort}`,
          mode,
          serviceClientId: "gw",
          reconnect: { minSeconds: 0.1, maxSeconds: 0.2 },
        },
        store: { kind: "disk", folder },
        retry: { intervalSeconds: 0.5, limit: 2 },
        clients: { sessionExpirySeconds: 3_600 },
        homeAssistant: { enabled: true },
        payloads: [
          { topics: "barn/+/climate", to: "{topic}/json", fields: [{ name: "warmth", type: "u8", unit: "°C" }] },
        ],
      };
      let { gateway, port } = await startGateway(config);
      atEnd.push(() => gateway.stop());
      const home = new HomeAssistant(broker.plainPort);
      atEnd.push(() => home.close());

      const characters: Character[] = ["sleeper", "talker", "vanisher", "leaver", "guest"];
      const counts = { sleeper: 7, talker: 4, vanisher: 4, leaver: 3, guest: 2 };
      const things = characters.flatMap((character) =>
        Array.from(
          { length: counts[character] },
          (_, i) => new Thing(`${character}/${i} +ä`.slice(0, 23), character, port),
        ),
      );
      expect(things).toHaveLength(20);
      atEnd.push(() => {
        for (const thing of things) thing.close();
      });
      const judge = new Judge(home, things);
      const rng = new Rng(seed);

      const seen = async (thing: Thing, must: Thing["must"] = "available") => {
        await until(`${thing.name} is available`, () => home.isAvailable(thing.name));
        thing.must = must;
      };
      /** A new subscriber at the broker gets what was received, and nothing more. */
      const asRetained = async () => {
        let [heard, retained] = ["", "-"];
        await until("the broker retains what was heard", async () => {
          const found = await HomeAssistant.retainedAt(broker.plainPort, homeFilters);
          const sorted = (all: ReadonlyMap<string, string>) =>
            JSON.stringify([...all].filter(([topicName]) => !topicName.startsWith("barn/")).sort());
          [heard, retained] = [sorted(home.kept), sorted(found)];
          return heard === retained;
        });
      };

      // All devices connect one after the other; those that are connected are judged while the others connect.
      for (const thing of things) {
        await thing.speak();
        await seen(thing);
      }
      await asRetained();

      // While a device acts, its state is not judged; before and after it must be right.
      const steps: Record<Character, (thing: Thing) => Promise<void>> = {
        sleeper: async (thing) => (rng.chance(0.5) ? thing.wake() : thing.speak()), // available throughout
        talker: (thing) => thing.speak(),
        vanisher: async (thing) => {
          if (thing.must === "available") {
            thing.must = "anything";
            thing.close();
            await until(`${thing.name} is lost`, () => !home.isAvailable(thing.name));
            thing.must = "unavailable";
            return;
          }
          thing.must = "anything";
          await thing.speak();
          await seen(thing);
        },
        leaver: async (thing) => {
          const [leaves] = [thing.must === "available"];
          thing.must = "anything";
          await (leaves ? thing.disconnect() : thing.speak());
          await until(`${thing.name} as it is`, () => home.isAvailable(thing.name) !== leaves);
          thing.must = leaves ? "unavailable" : "available";
        },
        guest: async (thing) => {
          const [leaves] = [thing.must === "available"];
          thing.must = "anything";
          await (leaves ? thing.disconnect() : thing.speak());
          if (!leaves) return seen(thing);
          await until(`${thing.name} is removed`, () => !home.devices.includes(thing.name));
          thing.must = "absent";
        },
      };
      const live = async (times: number) => {
        for (let i = 0; i < times; i++) {
          // Several at once, each only once.
          const chosen = new Set(Array.from({ length: atOnce }, () => rng.pick(things)));
          await Promise.all([...chosen].map((thing) => steps[thing.character](thing)));
          judge.look("the end of a round");
        }
      };
      await live(rounds);
      await asRetained();
      expect(judge.faults).toEqual([]);

      // The broker loses what it retained.
      judge.isAway = true;
      await broker.stop();
      broker.forget();
      await broker.start();
      const allAsTheyWere = () =>
        things.every(({ name, must }) => home.isAvailable(name) === (must === "available")) &&
        things.every(({ name, must }) => home.devices.includes(name) === (must !== "absent"));
      await until("everything is as it was", allAsTheyWere, 60_000);
      judge.isAway = false;
      await live(rounds / 4);
      await asRetained();

      // The gateway ends and starts again; no device sends anything meanwhile except to keep alive.
      judge.isAway = true;
      await gateway.stop();
      await until("the gateway is offline", () => home.kept.get("mqtt-sn/gw/gateway") === "offline");
      expect(things.filter(({ name }) => home.isAvailable(name))).toEqual([]);
      ({ gateway, port } = await startGateway({
        ...config,
        transports: [{ type: "udp", host: "127.0.0.1", port }],
      }));
      await until("everything is as it was before the start", allAsTheyWere, 60_000);
      judge.isAway = false;
      await live(rounds / 4);

      // All sessions end, those of clients that are there too, and in a gateway that knows nothing of them any more.
      for (const thing of things) {
        thing.must = "anything";
        thing.close();
      }
      await gateway.stop();
      rmSync(folder, { recursive: true });
      ({ gateway, port } = await startGateway({ ...config, transports: [{ type: "udp", host: "127.0.0.1", port }] }));
      await until("nothing is left", () => home.devices.join() === "gw", 60_000);
      for (const thing of things) thing.must = "absent";
      judge.look("the end");
      await asRetained();
      expect(home.wrong).toEqual([]);
      expect(judge.faults).toEqual([]);
      expect(judge.looks).toBeGreaterThan(rounds);
      const left = await HomeAssistant.retainedAt(broker.plainPort, homeFilters);
      expect([...left.keys()].filter((topicName) => topicName.includes("clients/"))).toEqual([]);
    });
  },
);
