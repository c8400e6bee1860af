/** Scripts for payloads in the shipped gateway, with the process that it starts for them. */
import { createSocket, type Socket } from "node:dgram";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect as connectMqtt, type MqttClient } from "mqtt";
import { expect, test } from "vitest";
import { decode, encode } from "../../src/wire/v12/codec.ts";
import type { Message } from "../../src/wire/v12/messages.ts";
import { connect, publish, register, subscribe } from "../helpers/bench.ts";
import { freePort } from "../helpers/ports.ts";
import { Processes } from "../helpers/processes.ts";
import { until } from "../helpers/test-gateway.ts";

const processes = new Processes("scripts");

/** Octet 0 says what is wrong with the payload. */
const script = (mark: string) => `
  function decodeUplink({ bytes, variables }) {
    if (bytes[0] === 1) for (;;);
    if (bytes[0] === 2) { const all = []; for (;;) all.push(new Array(1000).fill("x" + all.length)); }
    if (bytes[0] === 3) throw new Error("broken");
    return { data: { n: bytes[1], by: variables.client, mark: ${JSON.stringify(mark)} } };
  }
  function encodeDownlink({ data }) {
    return { bytes: [data.level, 255] };
  }`;

/** Sends what the test says, datagram by datagram. */
class Device {
  readonly heard: Message[] = [];
  readonly #socket: Socket;
  readonly #port: number;

  constructor(port: number) {
    this.#port = port;
    this.#socket = createSocket("udp4", (bytes) => {
      const read = decode(bytes);
      if (read.ok) this.heard.push(read.message);
    });
  }

  says(message: Message): void {
    this.#socket.send(encode(message), this.#port, "127.0.0.1");
  }

  async asks<T extends Message["type"]>(message: Message, type: T): Promise<Extract<Message, { type: T }>> {
    const before = this.heard.length;
    const found = () => this.heard.slice(before).find((each) => each.type === type);
    this.says(message);
    await until(`${type} for ${message.type}`, () => found() !== undefined);
    return found() as Extract<Message, { type: T }>;
  }

  async begins(clientId: string, ...topics: string[]): Promise<number[]> {
    await this.asks(connect({ clientId }), "CONNACK");
    const ids: number[] = [];
    for (const [i, topic] of topics.entries()) ids.push((await this.asks(register(topic, 100 + i), "REGACK")).topicId);
    return ids;
  }

  close(): void {
    this.#socket.close();
  }
}

interface World {
  readonly device: () => Device;
  readonly heard: string[];
  readonly watcher: MqttClient;
  readonly gateway: ReturnType<typeof processes.command>;
  readonly writeScript: (mark: string) => void;
}

async function inWorld(play: (world: World) => Promise<void>): Promise<void> {
  const ports = { udp: await freePort(), broker: await freePort() };
  const at = (name: string) => join(processes.folder, name);
  const writeScript = (mark: string) => writeFileSync(at("barn.js"), script(mark));
  writeScript("first");
  writeFileSync(
    at("gateway.config.json"),
    JSON.stringify({
      transports: [{ type: "udp", host: "127.0.0.1", port: ports.udp }],
      tryOutBroker: true,
      upstream: { url: `mqtt://127.0.0.1:${ports.broker}` },
      api: { enabled: false },
      // A machine that does other things, too, is not to blame the script for it.
      scripts: { runMsMax: 1_000 },
      payloads: [{ topics: "barn/#", script: "barn.js" }],
    }),
  );
  const gateway = processes.command(["start"]);
  const devices: Device[] = [];
  let watcher: MqttClient | undefined;
  try {
    await gateway.says("ready");
    watcher = connectMqtt(`mqtt://127.0.0.1:${ports.broker}`);
    const heard: string[] = [];
    watcher.on("message", (topic, payload) => {
      const said = payload.toString();
      heard.push(`${topic} ${said.startsWith("{") ? said : payload.toString("hex")}`);
    });
    await new Promise<void>((done) => watcher?.subscribe("#", { qos: 2 }, () => done()));
    const device = () => {
      const each = new Device(ports.udp);
      devices.push(each);
      return each;
    };
    await play({ device, heard, watcher, gateway, writeScript });
  } finally {
    for (const each of devices) each.close();
    watcher?.end(true);
  }
}

const data = (topicId: number, msgId: number, octets: readonly number[], more: { dup?: boolean } = {}) =>
  publish({ topicId, msgId, data: Uint8Array.from(octets), ...more });

const said = (topic: string, n: number, by: string, mark = "first") => `${topic} ${JSON.stringify({ n, by, mark })}`;

test("order, repetitions, and commands: what a script makes is said once, where it belongs", async () => {
  await inWorld(async ({ device, heard, watcher }) => {
    const one = device();
    const [barn = 0, yard = 0] = await one.begins("one", "barn/1", "yard");
    for (let n = 1; n <= 5; n++) {
      one.says(data(barn, 2 * n, [0, n]));
      one.says(data(barn, 2 * n, [0, n], { dup: true }));
      one.says(data(yard, 2 * n + 1, [n]));
    }
    await until("all of them", () => heard.length >= 10);
    await one.asks({ type: "PINGREQ", clientId: "" }, "PINGRESP"); // everything that was sent before has passed
    expect(heard).toEqual([1, 2, 3, 4, 5].flatMap((n) => [said("barn/1", n, "one"), `yard 0${n}`]));
    await one.asks(subscribe("barn/1/set", 1, 50), "SUBACK");
    watcher.publish("barn/1/set", '{"level":7}', { qos: 1 });
    await until("the command", () => one.heard.some(({ type }) => type === "PUBLISH"));
    const command = one.heard.find((each) => each.type === "PUBLISH");
    expect(command?.type === "PUBLISH" && Buffer.from(command.data).toString("hex")).toBe("07ff");
  });
});

test("a payload that never ends delays nobody else; it goes as it is, and so does what is thrown at", async () => {
  await inWorld(async ({ device, heard, gateway }) => {
    const [bad, good] = [device(), device()];
    const [barn = 0, third = 0] = await bad.begins("bad", "barn/1", "barn/3");
    const [yard = 0, other = 0] = await good.begins("good", "yard", "barn/2");
    bad.says(data(barn, 1, [1, 1]));
    bad.says(data(third, 2, [3, 2]));
    await good.asks(data(yard, 1, [9]), "PUBACK");
    await until("what the bad one said", () => heard.length === 3);
    expect(heard).toEqual(["yard 09", "barn/1 0101", "barn/3 0302"]);
    await good.asks(data(other, 2, [0, 4]), "PUBACK");
    bad.says(data(barn, 3, [2, 3])); // memory
    await until("that, too", () => heard.length === 5);
    expect(heard.slice(3)).toEqual([said("barn/2", 4, "good"), "barn/1 0203"]);
    await until("the reasons", () => /barn\.js threw Error: broken/.test(gateway.output.text));
    expect(gateway.output.text).toMatch(/barn\.js took more than 1000 ms/);
  });
});

test("the process is killed: payloads go as they are until there is a new one; a changed file counts at SIGHUP", async () => {
  await inWorld(async ({ device, heard, gateway, writeScript }) => {
    const one = device();
    const [barn = 0] = await one.begins("one", "barn/1");
    await one.asks(data(barn, 1, [0, 1]), "PUBACK");
    writeScript("second");
    gateway.child.kill("SIGHUP");
    await gateway.says("are read again");
    await one.asks(data(barn, 2, [0, 2]), "PUBACK");
    await until("both", () => heard.length === 2);
    expect(heard).toEqual([said("barn/1", 1, "one"), said("barn/1", 2, "one", "second")]);
    const pid = Number(readFileSync(`/proc/${gateway.child.pid}/task/${gateway.child.pid}/children`, "utf8").trim());
    process.kill(pid, "SIGKILL");
    await gateway.says("the process for scripts ended: it got SIGKILL");
    await one.asks(data(barn, 3, [0, 3]), "PUBACK");
    await until("the octets", () => heard.length === 3);
    expect(heard.at(-1)).toBe("barn/1 0003");
    let msgId = 4;
    await until("a new process", async () => {
      await one.asks(data(barn, msgId++, [0, 4]), "PUBACK");
      return heard.at(-1) === said("barn/1", 4, "one", "second");
    });
    gateway.child.kill("SIGTERM");
    await gateway.ends();
    expect(gateway.output.code).toBe(0);
  });
});
