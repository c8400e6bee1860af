/**
 * The remote radio: its application in C, step by step and fuzzed, and as a program on an emulated controller, between sensors
 * on Bluetooth LE and a gateway that has no Bluetooth at all.
 */
import { type ChildProcessWithoutNullStreams, spawn, spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import type { Gateway } from "../../src/gateway.ts";
import { startTryOutBroker } from "../../src/tryout-broker.ts";
import { Air } from "../ble/lab/air.ts";
import { BleDevice, type BleDeviceOptions } from "../ble/lab/ble-device.ts";
import { findBtvirt } from "../ble/lab/find-btvirt.mjs";
import { freePort } from "../helpers/ports.ts";
import { startGateway, until } from "../helpers/test-gateway.ts";
import { hardware, make, missingCompiler } from "./compiler.ts";
import { PtyLine } from "./pty-line.ts";

const folder = join(hardware, "radio");
const missing = missingCompiler();
const uart = "9ecadc240ee5a9e093f3a3b50100406e";
const advertisement = `1107${uart}`;
const [a, b] = ["01c00000000a01", "01c00000000a02"];
const encapsulated = (device: string, message: string) => `0afe00${device}${message}`;
const connect = "0a0404010258676f6174"; // of "goat"

const open: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});

/** The application in a separate process: a line goes in, its requests come out. */
class Lines {
  readonly #process: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;

  constructor() {
    this.#process = spawn(join(folder, "build/radio_lines"));
    this.#answers = createInterface({ input: this.#process.stdout })[Symbol.asyncIterator]();
    const over = new Promise((done) => this.#process.once("exit", done));
    open.push(async () => {
      this.#process.stdin.end();
      expect(await over).toBe(0);
    });
  }

  async do(line: string): Promise<string[]> {
    this.#process.stdin.write(`${line}\n`);
    const said: string[] = [];
    for (;;) {
      const { value, done } = await this.#answers.next();
      if (done || value === ".") return said;
      said.push(value);
    }
  }

  async all(...lines: readonly string[]): Promise<string[]> {
    const said: string[] = [];
    for (const line of lines) said.push(...(await this.do(line)));
    return said;
  }

  async counts(): Promise<Record<string, number>> {
    const words = (await this.do("counts"))[0]?.split(" ") ?? [];
    return Object.fromEntries(words.flatMap((word, i) => (i % 2 === 0 ? [[word, Number(words[i + 1])]] : [])));
  }
}

describe.skipIf(missing !== undefined)(`remote radio${missing === undefined ? "" : ` (skipped: ${missing})`}`, () => {
  beforeAll(() => make("radio"));

  test("connects to who advertises the service, also in the scan response, and to nobody else", async () => {
    const radio = new Lines();
    expect(await radio.do(`seen 0 ${b} connectable 020106`)).toEqual([]);
    expect(await radio.do(`seen 1 ${a} connectable 020106${advertisement}`)).toEqual([`connect ${a}`]);
    expect(await radio.do(`seen 2 ${b} answer ${advertisement}`)).toEqual([]); // one attempt at a time
    expect(await radio.do(`linked 3 ${a}`)).toEqual([`connect ${b}`]);
    expect(await radio.do(`seen 4 01c00000000a03 answer ${advertisement}`)).toEqual([]); // takes no links
    expect(await radio.do(`seen 5 01c00000000a04 connectable 1107${uart.slice(2)}`)).toEqual([]); // cut off
  });

  test("[5.5] each message up is in an encapsulation with its device's address, and only such come down", async () => {
    const radio = new Lines();
    await radio.all(`seen 0 ${a} connectable ${advertisement}`, `linked 10 ${a}`);
    expect(await radio.do(`octets 20 ${a} ${connect.slice(0, 6)}`)).toEqual([]);
    expect(await radio.do(`octets 30 ${a} ${connect.slice(6)}0217`)).toEqual([
      `up ${encapsulated(a, connect)}`,
      `up ${encapsulated(a, "0217")}`,
    ]);
    expect(await radio.do(`gateway 40 ${encapsulated(a, "030500")}`)).toEqual([`write ${a} 030500`]);
    for (const other of ["0500010384", encapsulated(a, "040500"), `0bfe00${a}00030500`, `0afe00ff${a.slice(2)}0217`]) {
      expect(await radio.do(`gateway 50 ${other}`)).toEqual([]);
    }
    expect(await radio.do(`octets 60 ${a} ${encapsulated(b, "0217")}`)).toEqual([`up ${encapsulated(a, "0217")}`]);
    expect(await radio.counts()).toMatchObject({ up: 3, down: 1, not_ours: 4, nested: 1 });
  });

  test("a message for a device without a link waits ten seconds, and its queue has a limit", async () => {
    const radio = new Lines();
    const message = (n: number) => encapsulated(a, `0417000${n}`);
    await radio.do(`gateway 0 ${message(0)}`);
    for (let n = 1; n <= 9; n++) await radio.do(`gateway ${5_000 + n} ${message(n)}`);
    expect(await radio.counts()).toMatchObject({ held: 10, expired: 2 });
    const said = await radio.all("poll 15001", `seen 15002 ${a} connectable ${advertisement}`, `linked 15003 ${a}`);
    expect(said).toEqual([`connect ${a}`, ...[4, 5, 6, 7, 8, 9].map((n) => `write ${a} 0417000${n}`)]);
    expect(await radio.counts()).toMatchObject({ held: 10, expired: 4, down: 6 });
  });

  test("who the gateway lets go is let go, a sleeper when it has its messages", async () => {
    const radio = new Lines();
    await radio.all(`seen 0 ${a} connectable ${advertisement}`, `linked 10 ${a}`, `octets 20 ${a} 061667656e21`);
    await radio.do(`gateway 30 ${encapsulated(a, "0217")}`);
    expect(await radio.do("poll 1029")).toEqual([]);
    expect(await radio.do("poll 1030")).toEqual([`hang up ${a}`]);
    await radio.all(`unlinked 1040 ${a}`, `seen 1050 ${a} connectable ${advertisement}`, `linked 1060 ${a}`);
    await radio.all(`octets 1070 ${a} 0216`, `gateway 1080 ${encapsulated(a, "0217")}`); // an active one only asks
    expect(await radio.do("poll 3000")).toEqual([]);
    await radio.all(`octets 3010 ${a} 0218`, `gateway 3020 ${encapsulated(a, "0218")}`, `octets 3030 ${a} ${connect}`);
    expect(await radio.do("poll 5000")).toEqual([]); // it came back
    await radio.do(`gateway 5010 ${encapsulated(a, "0218")}`);
    expect(await radio.do("poll 6010")).toEqual([`hang up ${a}`]);
  });

  test("when all links are taken they take turns: the silent one first, then the oldest", async () => {
    const radio = new Lines();
    const device = (n: number) => `01c00000000b0${n}`;
    for (const n of [1, 2, 3, 4]) {
      const said = await radio.all(`seen ${n} ${device(n)} connectable ${advertisement}`, `linked ${n} ${device(n)}`);
      expect(said).toEqual([`connect ${device(n)}`]);
      await radio.do(`octets ${n} ${device(n)} 0216`);
    }
    for (const n of [1, 2, 4]) await radio.do(`octets 14000 ${device(n)} 0216`);
    const seen = (n: number, at: number) => radio.do(`seen ${at} ${device(n)} connectable ${advertisement}`);
    expect(await seen(5, 15_002)).toEqual([]);
    expect(await seen(5, 15_003)).toEqual([`hang up ${device(3)}`]);
    expect(await radio.do(`unlinked 15010 ${device(3)}`)).toEqual([`connect ${device(5)}`]);
    await radio.all(`linked 15020 ${device(5)}`, `octets 15030 ${device(5)} 0216`);
    for (const n of [1, 2, 4, 5]) await radio.do(`octets 59000 ${device(n)} 0216`);
    expect(await seen(3, 60_000)).toEqual([]);
    expect(await seen(3, 60_001)).toEqual([`hang up ${device(1)}`]);
    expect(await radio.counts()).toMatchObject({ turns: 2 });
  });

  test("what fails is tried again after 1 s, 2 s, 4 s; who speaks no MQTT-SN is left alone for a minute", async () => {
    const radio = new Lines();
    const seen = (at: number) => radio.do(`seen ${at} ${a} connectable ${advertisement}`);
    expect(await seen(0)).toEqual([`connect ${a}`]);
    await radio.do(`unlinked 100 ${a}`);
    expect(await seen(1_099)).toEqual([]);
    expect(await seen(1_100)).toEqual([`connect ${a}`]);
    await radio.do(`unlinked 1200 ${a}`);
    expect(await seen(3_199)).toEqual([]);
    expect(await seen(3_200)).toEqual([`connect ${a}`]);
    expect(await radio.do("poll 23200")).toEqual([`hang up ${a}`]); // its port came to no end
    await radio.do(`unlinked 23210 ${a}`);
    expect(await seen(27_200)).toEqual([`connect ${a}`]);
    await radio.do(`linked 27300 ${a}`);
    expect(await radio.do("poll 57300")).toEqual([`hang up ${a}`]);
    await radio.do(`unlinked 57310 ${a}`);
    expect(await seen(117_299)).toEqual([]);
    expect(await seen(117_300)).toEqual([`connect ${a}`]);
    expect(await radio.counts()).toMatchObject({ failed: 3, links: 1 });
  });

  test("noise, messages that are too long, and a port without room: counted, and what follows passes", async () => {
    const radio = new Lines();
    await radio.all(`seen 0 ${a} connectable ${advertisement}`, `linked 10 ${a}`);
    expect(await radio.do(`octets 20 ${a} 00ffff`)).toEqual([]);
    expect(await radio.do(`octets 30 ${a} 0101010c`)).toEqual([]); // of 257 octets
    expect(await radio.do(`octets 40 ${a} 0516`)).toEqual([]);
    expect(await radio.do(`octets 8040 ${a} 0216`)).toEqual([`up ${encapsulated(a, "0216")}`]); // the part is thrown away
    await radio.all("deaf 1", `gateway 8050 ${encapsulated(a, "0217")}`, "deaf 0");
    await radio.do(`gateway 8060 ${encapsulated(a, `010104${"00".repeat(257)}`)}`);
    expect(await radio.do(`gateway 8070 ${encapsulated(a, "0217")}`)).toEqual([`write ${a} 0217`]);
    expect(await radio.counts()).toMatchObject({ discarded: 9, no_room: 1, too_long: 1, down: 1 });
  });

  test("anything in any order, with sanitizers", () => {
    const { status, stdout, stderr } = spawnSync(join(folder, "build/fuzz"), ["1000", "1"], { encoding: "utf8" });
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    // It came everywhere.
    for (const what of ["up", "down", "links", "turns", "expired"]) expect(stdout).toMatch(new RegExp(`${what} [1-9]`));
  });
});

const btvirt = missing === undefined ? findBtvirt() : { missing };
const noRadio = "missing" in btvirt ? btvirt.missing : undefined;
if (noRadio !== undefined && process.env["CI"]) throw new Error(noRadio);
const noteRadio = noRadio === undefined ? "" : ` (skipped: ${noRadio})`;
describe.skipIf(noRadio !== undefined)(`sensors behind a remote radio${noteRadio}`, () => {
  const scratch = mkdtempSync(join(tmpdir(), "radio-"));
  beforeAll(async () => {
    await make("radio");
    PtyLine.build(scratch);
    return () => rmSync(scratch, { recursive: true });
  });

  async function air(): Promise<Air> {
    const started = new Air();
    await started.start();
    open.push(() => started.close());
    return started;
  }

  async function broker(): Promise<string> {
    const port = await freePort();
    const started = await startTryOutBroker({ host: "127.0.0.1", port });
    open.push(() => started.kind === "started" && started.close());
    return `mqtt://127.0.0.1:${port}`;
  }

  async function gatewayWith(config: Record<string, unknown>): Promise<{ gateway: Gateway; port: number }> {
    const started = await startGateway({ retry: { intervalSeconds: 1, limit: 20 }, ...config });
    open.push(() => started.gateway.stop());
    return started;
  }

  /** Runs it until the test is over. It ends well, and says what it counted. */
  function radio(words: readonly string[], env: Record<string, string> = {}): { stop(): Promise<string> } {
    const child = spawn(join(folder, "build/radio"), words, { env: { ...process.env, ...env } });
    let text = "";
    child.stderr.on("data", (chunk) => {
      text += chunk;
    });
    const over = new Promise((done) => child.once("exit", done));
    const stop = async () => {
      child.kill("SIGTERM");
      expect(await over, text).toBe(0);
      return text;
    };
    open.push(stop);
    return { stop };
  }

  function sensor(at: Air, clientId: string, more: Partial<BleDeviceOptions> = {}): BleDevice {
    const device = new BleDevice(at.socket, { clientId, name: clientId, ...more });
    open.push(() => device.close());
    return device;
  }

  const got = (device: BleDevice, text: string) =>
    until(`${device.device.clientId} gets ${text}`, () => device.received.includes(text), 40_000);

  async function talks(device: BleDevice, other: BleDevice, round: string): Promise<void> {
    const [from, to] = [device.device.clientId, other.device.clientId];
    for (const qos of [0, 1, 2] as const) {
      await device.publish(`to/${to}`, `${round} ${from} ${qos}`, qos);
      await got(other, `${round} ${from} ${qos}`);
    }
  }

  test("three kinds of devices, QoS 0, 1 and 2 both ways, through a gateway without Bluetooth", async () => {
    const at = await air();
    const { gateway, port } = await gatewayWith({ upstream: { url: await broker() } });
    const { stop } = radio([at.socket, "127.0.0.1", String(port)]);
    const sensors = [
      sensor(at, "plain"),
      sensor(at, "microbit", { indicates: true, chunkBytes: 18, mtu: 23, address: "c0:00:00:00:0d:01" }),
      sensor(at, "confirms", { writes: "confirmed", mtu: 247, address: "c0:00:00:00:0d:02" }),
    ];
    for (const each of sensors) await each.on();
    for (const each of sensors) {
      await each.connect();
      await each.subscribe(`to/${each.device.clientId}`, 2);
    }
    for (const [i, each] of sensors.entries()) {
      const next = sensors[(i + 1) % sensors.length];
      if (next) await talks(each, next, "x".repeat(100));
    }
    expect(sensors.map(({ links }) => links)).toEqual([1, 1, 1]);
    expect(sensors.map(({ received }) => received.length)).toEqual([3, 3, 3]);
    const peers = gateway.sessions().map(({ peer }) => peer);
    expect(peers).toContainEqual(expect.stringMatching(/^udp\/127\.0\.0\.1:\d+#01c00000000d01$/));
    expect(await stop()).toMatch(/links 3, failed 0/);
  });

  test("a sleeper is let go, comes back and gets its messages; a link that is lost costs nothing", async () => {
    const at = await air();
    const { gateway, port } = await gatewayWith({ upstream: { url: await broker() } });
    radio([at.socket, "127.0.0.1", String(port)]);
    const [sleeper, awake] = [sensor(at, "sleeper", { address: "c0:00:00:00:0d:01" }), sensor(at, "awake")];
    for (const each of [sleeper, awake]) {
      await each.on();
      await each.connect();
      await each.subscribe(`to/${each.device.clientId}`, 1);
    }
    sleeper.quiet();
    sleeper.act((device, now) => device.sleep(60, now));
    await until("it is let go", () => !sleeper.isLinked);
    expect(gateway.sessions().find(({ clientId }) => clientId === "sleeper")?.state).toBe("asleep");
    await awake.publish("to/sleeper", "while you slept", 1);
    sleeper.off();
    await sleeper.on();
    await sleeper.linked();
    sleeper.quiet();
    sleeper.act((device, now) => device.wake(now));
    await got(sleeper, "while you slept");
    await until("it is let go again", () => !sleeper.isLinked);

    awake.off(); // without DISCONNECT
    const late = awake.publish("to/awake", "said without a link", 1);
    await awake.on();
    await late;
    await got(awake, "said without a link");
    expect(awake.events.filter(({ event }) => event === "connected").length).toBe(1);
  });

  test("more devices than links take turns, and each gets what it is sent", async () => {
    const at = await air();
    const { port } = await gatewayWith({ upstream: { url: await broker() } });
    const { stop } = radio([at.socket, "127.0.0.1", String(port)], { RADIO_TURN_MS: "500" });
    const sensors = Array.from({ length: 6 }, (_, n) =>
      sensor(at, `many${n}`, { address: `c0:00:00:00:0e:0${n}`, retryMs: 3_000 }),
    );
    for (const each of sensors) await each.on();
    await Promise.all(sensors.map((each) => each.connect(false, 600)));
    await Promise.all(sensors.map((each) => each.subscribe(`to/${each.device.clientId}`, 1)));
    await Promise.all(sensors.map((each, i) => each.publish(`to/many${(i + 1) % 6}`, `from ${i}`, 1)));
    await Promise.all(sensors.map((each, i) => got(each, `from ${(i + 5) % 6}`)));
    expect(sensors.every((each) => each.events.filter(({ event }) => event === "connected").length === 1)).toBe(true);
    expect(await stop()).toMatch(/turns [1-9]/);
  });

  test("by a serial line, as of USB: the gateway's serial transport takes it as it is", async () => {
    const at = await air();
    // Two pseudo-terminals, with a wire between their far ends.
    const [here, there] = [join(scratch, "gateway"), join(scratch, "radio")];
    const [left, right] = [await PtyLine.plug(scratch, here), await PtyLine.plug(scratch, there)];
    left.onData = (octets) => right.send(octets);
    right.onData = (octets) => left.send(octets);
    open.push(async () => {
      await left.unplug();
      await right.unplug();
    });
    const { gateway } = await gatewayWith({
      transports: [{ type: "serial", ports: [here] }],
      upstream: { url: await broker() },
    });
    await until("open", () => gateway.links()[0]?.up === true);
    radio([at.socket, there]);
    const [one, two] = [sensor(at, "one"), sensor(at, "two", { address: "c0:00:00:00:0d:02" })];
    for (const each of [one, two]) {
      await each.on();
      await each.connect();
      await each.subscribe(`to/${each.device.clientId}`, 2);
    }
    await talks(one, two, "over USB");
    await talks(two, one, "and back");
  });
});
