/** Devices on emulated controllers, noble in its child, the gateway, mosquitto: end to end, and everything that may die. */
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { promisify } from "node:util";
import { afterEach, describe, expect, test } from "vitest";
import { encryptBthome } from "../../src/payload/bthome.ts";
import { Publisher, until } from "../helpers/test-gateway.ts";
import type { BleDevice } from "./lab/ble-device.ts";
import { element } from "./lab/controller.ts";
import { BleLab, missingFromLab } from "./lab/lab.ts";
import { Peripheral } from "./lab/peripheral.ts";

const missing = missingFromLab();
const named = missing === undefined ? "" : ` (skipped: ${missing})`;

describe.skipIf(missing !== undefined)(`Bluetooth LE, emulated controllers${named}`, () => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  async function lab(ble: Record<string, unknown> = {}, more: Record<string, unknown> = {}): Promise<BleLab> {
    const started = await BleLab.start(ble, more);
    open.push(started);
    return started;
  }

  /** QoS 0, 1 and 2, up and down. */
  async function talks(at: BleLab, device: BleDevice, round = ""): Promise<void> {
    const { clientId } = device.device;
    for (const qos of [0, 1, 2] as const) {
      await device.publish(`up/${clientId}`, `${clientId} up ${qos}${round}`, qos);
      await at.arrives(`${clientId} up ${qos}${round}`);
      await at.publish(`down/${clientId}`, `${clientId} down ${qos}${round}`, qos);
      await until(`${clientId} down ${qos}${round}`, () => device.received.includes(`${clientId} down ${qos}${round}`));
    }
  }

  async function begins(device: BleDevice, clean = true): Promise<void> {
    await device.on();
    await device.connect(clean);
    await device.subscribe(`down/${device.device.clientId}`, 2);
  }

  test.each([5, 14])("%i devices at once, QoS 0 to 2 both ways", async (count) => {
    const at = await lab();
    const devices = Array.from({ length: count }, (_, i) => at.device(`d${i}`));
    await Promise.all(devices.map((device) => begins(device)));
    for (let round = 0; round < 3; round++) {
      await Promise.all(devices.map((device) => talks(at, device, ` round ${round}`)));
    }
    for (const device of devices) {
      expect(device.received).toHaveLength(9);
      expect(new Set(device.received).size).toBe(9);
      expect(device.links).toBe(1);
    }
    expect([...at.seen.values()].every((times) => times === 1)).toBe(true);
    expect(at.seen.size).toBe(count * 9);
  });

  test.each([
    ["one message per notification, MTU 23", { mtu: 23 }],
    ["18 octets per indication, roles swapped, as the micro:bit", { chunkBytes: 18, indicates: true }],
    ["the largest MTU", { mtu: 517 }],
    ["only confirmed writes", { writes: "confirmed" }],
    ["only unconfirmed writes, one octet per notification", { writes: "unconfirmed", chunkBytes: 1 }],
  ] as const)("%s", async (_what, options) => {
    const at = await lab();
    const device = at.device("style", options);
    await begins(device);
    await talks(at, device);
    const long = "x".repeat(600);
    await device.publish("up/style", long, 1);
    await at.arrives(long);
    await at.publish("down/style", long, 1);
    await until("600 octets", () => device.received.includes(long));
  });

  test("a sleeper's link is let go; it comes back under another address and gets its messages", async () => {
    const at = await lab({ lingerSeconds: 0.2 });
    const device = at.device("sleeper", { address: "c0:00:00:00:00:01" });
    await begins(device, false);
    for (let night = 0; night < 3; night++) {
      const links = device.links;
      device.quiet();
      device.act((each, now) => each.sleep(60, now));
      await until("asleep", () => at.session("sleeper")?.state === "asleep");
      // The gateway lets the link go; the device sees it and switches its radio off.
      await until("the link's end", () => device.peripheral?.isConnected === false);
      device.off();
      for (const qos of [0, 1, 2] as const) await at.publish("down/sleeper", `night ${night} QoS ${qos}`, qos);
      await until("all three are waiting", () => at.session("sleeper")?.waitingMessages === 3);
      await device.on(`c0:00:00:00:01:0${night}`);
      await device.linked();
      device.act((each, now) => each.wake(now));
      await until(`three messages of night ${night}`, () => device.received.length === 3 * (night + 1));
      expect(device.links).toBe(links + 1);
      device.act((each, now) => each.connect({ clean: false, keepAliveSeconds: 60 }, now));
      await until("active", () => at.session("sleeper")?.state === "active");
    }
    expect(new Set(device.received).size).toBe(9);
  });

  test("the link is lost in the middle of a message: the session lives on, nothing is lost, nothing comes twice", async () => {
    const at = await lab();
    const device = at.device("torn", { mtu: 23 });
    await begins(device, false);
    for (let round = 0; round < 5; round++) {
      const text = `torn ${round} ${"y".repeat(200)}`;
      // Two hundred octets take eleven notifications: the radio dies after the first ones.
      const peripheral = device.peripheral;
      device.act((each, now) => {
        each.publish({ topic: { by: "name", topicName: "up/torn" }, payload: Buffer.from(text), qos: 2 }, now);
      });
      await new Promise((resolve) => setTimeout(resolve, round * 2));
      peripheral?.kill();
      await device.on();
      await at.arrives(text);
      expect(at.session("torn")?.state).toBe("active");
      await until("the end of the exchange", () => device.device.idle, 30_000);
      await at.publish("down/torn", `back ${round}`, 2);
      await until(`back ${round}`, () => device.received.includes(`back ${round}`));
    }
    expect([...at.seen.values()].every((times) => times === 1)).toBe(true);
    expect(device.received).toHaveLength(5);
  });

  test("kill -9 of the child: its links come back, sessions never went", async () => {
    const at = await lab();
    const devices = [at.device("k1"), at.device("k2"), at.device("k3")];
    for (const device of devices) await begins(device, false);
    for (let round = 0; round < 2; round++) {
      const before = at.childPid();
      expect(before).toBeDefined();
      const links = devices.map((device) => device.links);
      process.kill(before ?? 0, "SIGKILL");
      await until("new links", () => devices.every((device, i) => device.links > (links[i] ?? 0)), 30_000);
      await Promise.all(devices.map((device) => talks(at, device, ` after kill ${round}`)));
      for (const device of devices) expect(at.session(device.device.clientId)?.state).toBe("active");
    }
    expect([...at.seen.values()].every((times) => times === 1)).toBe(true);
  });

  test("the adapter is pulled out (kill -9 of btvirt) and put back: then everything goes on", async () => {
    const at = await lab();
    const device = at.device("radio");
    await begins(device, false);
    await at.pullOut();
    await until("the adapter's end", () => !/^adapter /.test(at.gateway.places()[1] ?? ""), 60_000);
    await at.putBack();
    await device.on();
    await talks(at, device);
    expect(at.session("radio")?.state).toBe("active");
  });

  test("kill -9 of a peripheral: its will goes out when its time is over, others notice nothing", async () => {
    const at = await lab();
    const dies = at.device("dies");
    const stays = at.device("stays");
    await dies.on();
    await dies.linked();
    dies.act((device, now) =>
      device.connect(
        {
          clean: true,
          keepAliveSeconds: 1,
          will: { topicName: "up/will", payload: Buffer.from("dies is dead"), qos: 1, retain: false },
        },
        now,
      ),
    );
    await until("active", () => dies.device.state === "active");
    await begins(stays);
    dies.close();
    await talks(at, stays);
    await at.arrives("dies is dead");
    expect(stays.links).toBe(1);
  });

  test("broadcast sensors: many advertisements of one reading are one message, without a connection", async () => {
    const at = await lab();
    const sensors = [new Peripheral(at.socket), new Peripheral(at.socket, { address: "c0:11:22:33:44:55" })];
    for (const sensor of sensors) {
      open.push({ close: () => sensor.kill() });
      await sensor.start();
    }
    for (let n = 1; n <= 5; n++) {
      for (const [i, sensor] of sensors.entries()) {
        const payload = Buffer.from(`ffffa10007${n.toString(16).padStart(4, "0")}`, "hex");
        const data = element(0xff, Buffer.concat([payload, Buffer.from(`s${i} r${n}`)]));
        for (let repeats = 0; repeats < 3; repeats++) await sensor.broadcast(data);
      }
      for (const i of [0, 1]) await at.arrives(`s${i} r${n}`);
    }
    expect(at.seen.size).toBe(10);
    expect([...at.seen.values()].every((times) => times === 1)).toBe(true);
  });

  test("sensors with other manufacturers' elements beside their own, and in the scan response", async () => {
    const at = await lab();
    const sensor = new Peripheral(at.socket);
    open.push({ close: () => sensor.kill() });
    await sensor.start();
    const reading = (n: number) =>
      element(0xff, Buffer.from(`ffffa10007000${n}${Buffer.from(`r${n}`).toString("hex")}`, "hex"));
    const beacon = element(0xff, Buffer.from("4c000215aabb", "hex"));
    const readings: [Buffer, Buffer?][] = [
      [Buffer.concat([reading(1), beacon])],
      [Buffer.concat([beacon, reading(2)])],
      [beacon, reading(3)],
      [reading(4), beacon],
    ];
    for (const [i, [data, scanResponse]] of readings.entries()) {
      await sensor.broadcast(data, scanResponse);
      await at.arrives(`r${i + 1}`);
    }
    expect([...at.seen.values()]).toEqual([1, 1, 1, 1]);
  });

  test("BTHome sensors, in clear and encrypted: published by rule, once, and not by what another sends", async () => {
    const key = Buffer.from("231d39c1d7cc1ab1aee224cd096db932", "hex");
    const secret = "c0:11:22:33:44:66";
    process.env["TEST_BIND_KEY"] = key.toString("hex");
    const rules = [{ address: secret, topic: "up/{address}" }, { topic: "up/{reading}" }];
    const at = await lab({ broadcast: { bthome: { rules, keys: { [secret]: { env: "TEST_BIND_KEY" } } } } });
    const [thermometer, hidden] = [new Peripheral(at.socket), new Peripheral(at.socket, { address: secret })];
    for (const sensor of [thermometer, hidden]) {
      open.push({ close: () => sensor.kill() });
      await sensor.start();
    }
    const data = (serviceData: Uint8Array) => element(0x16, Buffer.concat([Buffer.from("d2fc", "hex"), serviceData]));
    for (let repeats = 0; repeats < 3; repeats++) await thermometer.broadcast(data(Buffer.from("40000902ca09", "hex")));
    await at.arrives("25.06");
    const readings = ["02f6ff", "02ec09", "020000"].map((objects) => Buffer.from(`40${objects}`, "hex"));
    for (const [i, plain] of readings.entries()) {
      const ciphered = encryptBthome(plain, { address: secret, key, counter: 100 + i });
      for (let repeats = 0; repeats < 2; repeats++) await hidden.broadcast(data(ciphered));
      await at.arrives(JSON.stringify({ temperature: [-0.1, 25.4, 0][i] }));
    }
    await hidden.broadcast(data(Buffer.from("400163", "hex"))); // in clear: not from this sensor
    await hidden.broadcast(data(encryptBthome(Buffer.from("400162", "hex"), { address: secret, key, counter: 101 })));
    await thermometer.broadcast(data(Buffer.from("40000a0160", "hex")));
    await at.arrives("96");
    expect([...at.seen.values()]).toEqual([1, 1, 1, 1, 1]);
  });

  test("six devices over two links take turns, and each gets what it is sent", async () => {
    const at = await lab({ linksMax: 2, turnSeconds: 1, holdSeconds: 60 });
    const devices = Array.from({ length: 6 }, (_, i) => at.device(`turn${i}`, { retryMs: 3_000 }));
    for (const device of devices) await device.on();
    await Promise.all(
      devices.map(async (device) => {
        await until("its turn", () => device.isLinked, 60_000);
        device.act((each, now) => each.connect({ clean: false, keepAliveSeconds: 600 }, now));
        await until("active", () => device.device.state === "active", 60_000);
        await device.publish("up/turn", `${device.device.clientId} was here`, 1);
      }),
    );
    for (const device of devices) await at.arrives(`${device.device.clientId} was here`);
  });

  test("by name only: others are never touched, and who lacks the service is said to", async () => {
    const at = await lab({ allow: [{ name: "other*" }] });
    const stranger = at.device("stranger");
    const other = at.device("other1", { service: "6e400001b5a3f393e0a9e50e24dcca00" });
    await stranger.on();
    await other.on();
    await until("an attempt", () =>
      at.gateway
        .links()
        .some(({ devices }) => devices.some(({ lastFailure }) => /does not have the service/.test(lastFailure))),
    );
    expect(stranger.links + other.links).toBe(0);
  });

  test("ble scan says which devices advertise, and ble check that nothing is missing", async () => {
    const at = await lab({ allow: [] });
    const node = at.device("node");
    await node.on();
    const sensor = new Peripheral(at.socket, { address: "c0:11:22:33:44:55" });
    const stranger = new Peripheral(at.socket, {
      address: "c0:11:22:33:44:66",
      service: "0".repeat(32),
      name: "\u001b[31mred",
    });
    open.push({ close: () => sensor.kill() }, { close: () => stranger.kill() });
    await sensor.start();
    await sensor.broadcast(element(0xff, Buffer.from("ffffa10007000132", "hex")));
    await stranger.start();
    await stranger.advertise();
    const main = new URL("../../dist/main.js", import.meta.url).pathname;
    const run = promisify(execFile);
    const { stdout } = await run(process.execPath, [main, "ble", "scan", "--seconds", "2"], { cwd: tmpdir() });
    expect(stdout).toMatch(/node +yes: it has the service, and may connect/);
    expect(stdout).toMatch(/c0:11:22:33:44:55 .*broadcasts MQTT-SN/);
    expect(stdout).toMatch(/c0:11:22:33:44:66 .*\?\[31mred +no/);
    const lines = (await run(process.execPath, [main, "ble", "scan", "--seconds", "1", "--json"], { cwd: tmpdir() }))
      .stdout;
    expect(
      lines
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).address),
    ).toContain("c0:11:22:33:44:55");
    const check = await run(process.execPath, [main, "ble", "check"], { cwd: tmpdir() }).catch((error) => error);
    expect(check.stdout).toMatch(
      /ok +adapter .*driven by @abandonware\/noble \(auto: its native part is there\)\nBluetooth works/,
    );
  });

  test("the child stands still in the middle of a message: more octets come than are kept for it, none is made up", async () => {
    const at = await lab();
    const device = at.device("gap", { writes: "unconfirmed", chunkBytes: 1 });
    await begins(device, false);
    const texts = ["a", "b", "c"].map((letter) => letter.repeat(600));
    for (const text of texts) {
      const published = device.publish("up/gap", text, 1);
      await new Promise((resolve) => setTimeout(resolve, 20));
      const pid = at.childPid() ?? 0;
      process.kill(pid, "SIGSTOP");
      await new Promise((resolve) => setTimeout(resolve, 3_000));
      process.kill(pid, "SIGCONT");
      await published;
      await at.arrives(text);
    }
    expect([...at.seen.keys()]).toEqual(texts);
    expect(at.session("gap")?.state).toBe("active");
  });

  test("UDP goes on while the child stands still, and Bluetooth comes back by itself", async () => {
    const at = await lab({ supervision: { silenceSeconds: 4 } });
    const device = at.device("frozen");
    await begins(device, false);
    const publisher = new Publisher({ clientId: "udp", port: at.udpPort, topic: "up/udp" });
    open.push({ close: () => publisher.stop() });
    await publisher.start();
    await until("UDP client", () => publisher.connected);
    const pid = at.childPid();
    process.kill(pid ?? 0, "SIGSTOP");
    const before = publisher.acknowledged.size;
    while (at.childPid() === pid) {
      publisher.publish(1);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(publisher.acknowledged.size - before).toBeGreaterThan(50);
    await talks(at, device);
    expect(at.session("frozen")?.state).toBe("active");
  });
});
