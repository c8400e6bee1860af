/** With very many sessions in its store, a gateway serves its clients before it has read them all. */
import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { UdpDevice } from "../../src/cli/udp-device.ts";
import type { DeviceEvent } from "../../src/device/device.ts";
import { PairGateway } from "../helpers/pair-gateway.ts";
import { freePort } from "../helpers/ports.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { silentNames, silentOnDisk } from "../helpers/silent-clients.ts";
import { until } from "../helpers/test-gateway.ts";

const main = resolve(import.meta.dirname, "../../dist/main.js");
/** Reading them takes much longer than to answer a client. */
const silentClients = 20_000;
const restored = "sessions were restored";

class Client {
  readonly clientId: string;
  readonly #udp: UdpDevice;
  readonly received: string[] = [];
  readonly events: DeviceEvent["event"][] = [];
  /** Events that came before the gateway had said that all sessions are restored. */
  readonly early = new Set<DeviceEvent["event"]>();

  constructor(clientId: string, port: number) {
    this.clientId = clientId;
    this.#udp = new UdpDevice({ clientId, host: "127.0.0.1", port, retryMs: 300, retryLimit: 100, debug: false });
  }

  async open(gateway: PairGateway): Promise<void> {
    await this.#udp.open((event) => {
      this.events.push(event.event);
      if (!gateway.has(restored)) this.early.add(event.event);
      if (event.event === "message") this.received.push(Buffer.from(event.payload).toString());
    });
  }

  /** Waits for the event that answers the request. */
  async does(event: DeviceEvent["event"], request: Parameters<UdpDevice["act"]>[0]): Promise<void> {
    const before = this.#count(event);
    this.#udp.act(request);
    await until(`${this.clientId} is ${event}`, () => this.#count(event) > before);
  }

  connect(clean: boolean): Promise<void> {
    return this.does("connected", (device, now) => device.connect({ clean, keepAliveSeconds: 60 }, now));
  }

  /** Again while it is refused, as before the gateway has a connection to its broker. */
  async subscribe(topicName: string): Promise<void> {
    const ask = () => this.#udp.act((device, now) => device.subscribe({ by: "name", topicName }, 1, now));
    await until(`${this.clientId} is subscribed`, () => {
      if (this.#udp.device.idle && !this.events.includes("subscribed")) ask();
      return this.events.includes("subscribed");
    });
  }

  sleep(): Promise<void> {
    return this.does("asleep", (device, now) => device.sleep(600, now));
  }

  /** Waits until everything that waited for it has come. */
  wake(): Promise<void> {
    return this.does("drained", (device, now) => device.wake(now));
  }

  publish(topicName: string, text: string): Promise<void> {
    const payload = Buffer.from(text);
    return this.does("published", (device, now) =>
      device.publish({ topic: { by: "name", topicName }, payload, qos: 1 }, now),
    );
  }

  close(): void {
    this.#udp.close();
  }

  #count(event: DeviceEvent["event"]): number {
    return this.events.filter((each) => each === event).length;
  }
}

interface Listed {
  readonly clientId: string;
  readonly waitingMessages: number;
}

test.for(["aggregating", "transparent"] as const)(
  `%s: of ${silentClients} sessions, those that are needed are there at once, and all in the end`,
  { timeout: 120_000 },
  async (mode, { onTestFinished }) => {
    const broker = await RecordingBroker.start();
    onTestFinished(() => broker.close());
    const port = await freePort();
    const gateway = new PairGateway("alone", {
      transports: [{ type: "udp", host: "127.0.0.1", port }],
      upstream: { url: broker.url, mode, reconnect: { minSeconds: 0.05, maxSeconds: 0.2 } },
      store: { serveAfterSeconds: 0 },
      clients: { sessionsMax: 2 * silentClients },
      api: { enabled: false },
      log: { level: "info", format: "json" },
    });
    onTestFinished(() => gateway.remove());
    const client = async (clientId: string) => {
      const made = new Client(clientId, port);
      await made.open(gateway);
      onTestFinished(() => made.close());
      return made;
    };
    const says = (topicName: string, text: string) =>
      broker.broker.publish({ topicName, payload: Buffer.from(text), qos: 1, retain: false });
    gateway.start();
    await gateway.serves();
    const sleeper = await client("z-sleeper");
    const anew = await client("z-anew");
    for (const each of [sleeper, anew]) {
      await each.connect(false);
      await each.subscribe(`to/${each.clientId}`);
      await each.sleep();
      says(`to/${each.clientId}`, `waits for ${each.clientId}`);
    }
    await until("the messages wait at the gateway", () => broker.taken.size === 2);
    expect(await gateway.end("SIGTERM")).toBe("0");
    await silentOnDisk(join(gateway.folder, "data"), silentClients, mode);

    const first = await client("z-first");
    for (const each of [sleeper, anew, first]) {
      each.events.splice(0);
      each.early.clear();
    }
    gateway.start();
    await gateway.serves();
    await Promise.all([
      sleeper.wake(),
      anew.connect(true),
      first.connect(true).then(() => first.publish("up", "from the first")),
    ]);
    expect(sleeper.received).toEqual(["waits for z-sleeper"]);
    expect([...sleeper.early]).toEqual(["message", "drained"]);
    expect([...anew.early]).toEqual(["connected"]);
    expect([...first.early]).toContain("connected");
    await anew.subscribe("to/z-anew");
    await until("all sessions are restored", () => gateway.has(restored));
    expect(gateway.lines.filter((line) => line.includes(restored))).toEqual([
      expect.stringContaining("clients were served meanwhile"),
    ]);

    for (const { clientId } of [sleeper, anew]) says(`to/${clientId}`, `later for ${clientId}`);
    await until("the connected client has its message", () => anew.received.length > 0);
    await until("the broker has the publication", () => broker.saved.has("from the first"));
    await until("the message waits", () => broker.taken.has("later for z-sleeper"));
    await sleeper.wake();
    expect(sleeper.received).toEqual(["waits for z-sleeper", "later for z-sleeper"]);
    expect(anew.received, "a clean session has nothing of the one before").toEqual(["later for z-anew"]);
    expect(broker.saved.get("from the first")).toBe(1);

    const listed = async (): Promise<Listed[]> => {
      const words = ["sessions", "list", "--json"];
      const options = { cwd: gateway.folder, maxBuffer: 2 ** 26 };
      return JSON.parse((await promisify(execFile)(process.execPath, [main, ...words], options)).stdout);
    };
    const all = await listed();
    expect(all.map(({ clientId }) => clientId).sort()).toEqual([
      ...silentNames(silentClients),
      "z-anew",
      "z-first",
      "z-sleeper",
    ]);
    expect(all.filter(({ waitingMessages }) => waitingMessages > 0)).toEqual([]);
    if (mode === "aggregating") {
      const filters = () =>
        broker.packets.flatMap(({ packet }) => (packet.cmd === "subscribe" ? packet.subscriptions : []));
      await until("the sleepers' filters are subscribed", () => filters().some(({ topic }) => topic === "x/3"));
      says("x/3", "for one in twenty");
      await until("it waits for them", () => broker.taken.has("for one in twenty"));
      const waiting = (await listed()).filter(({ waitingMessages }) => waitingMessages > 0);
      expect(waiting.map(({ waitingMessages }) => waitingMessages)).toEqual(
        Array.from({ length: silentClients / 20 }, () => 1),
      );
    }
    expect(gateway.errors).toEqual([]);
  },
);
