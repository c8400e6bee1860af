/**
 * The library in C with a key, over mbed TLS, against the shipped gateway with a DTLS transport: hardware/device/ports and the
 * Linux program that uses them. With this Debian's mbed TLS, which has no connection ids, and with one that has.
 */
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { beforeAll, describe, expect, type TestContext, test } from "vitest";
import type { QoS } from "../../src/wire/fields.ts";
import { findMbedtls } from "../helpers/find-mbedtls.mjs";
import { freePort } from "../helpers/ports.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { Rng } from "../simulation/rng.ts";
import { hardware, make, missingCompiler } from "./compiler.ts";
import { Router } from "./router.ts";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const key = "00112233445566778899aabbccddeeff";
const otherKey = "ffeeddccbbaa99887766554433221100";
const levels: readonly QoS[] = [0, 1, 2];
/** What a flight of the handshake waits for first, and is given up after, in milliseconds: shorter than a real network needs. */
const times = "-DMQTTSN_DTLS_REPEAT_MS=200 -DMQTTSN_DTLS_REPEAT_MS_MAX=1600";

/** The release whose mbed TLS has the connection ids of RFC 9146; undefined: this machine's own. */
const libraries = [
  { of: "", hasCid: false },
  { of: "trixie", hasCid: true },
] as const;

/** As much of ESP-IDF as those files use that need little of it. */
const espHeaders = {
  "sdkconfig.h": `
    #define CONFIG_SENSOR_ID "barn-1"
    #define CONFIG_SENSOR_KEY "00112233445566778899aabbccddeeff"
    #define CONFIG_SENSOR_GATEWAY "192.0.2.1"
    #define CONFIG_SENSOR_PORT 8883
  `,
  "esp_log.h": `
    void esp_said(const char *tag, const char *format, ...);
    #define ESP_LOGE(...) esp_said(__VA_ARGS__)
    #define ESP_LOGW(...) esp_said(__VA_ARGS__)
    #define ESP_LOGI(...) esp_said(__VA_ARGS__)
  `,
  "esp_random.h": "#include <stddef.h>\nvoid esp_fill_random(void *to, size_t count);\n",
  "esp_timer.h": "#include <stdint.h>\nint64_t esp_timer_get_time(void);\n",
};

class Device {
  readonly lines: string[] = [];
  readonly #process: ChildProcess;
  readonly exit: Promise<number | null>;
  /** What a sanitizer says. */
  errors = "";

  constructor(program: string, words: readonly string[]) {
    const running = spawn(program, words, { stdio: ["pipe", "pipe", "pipe"] });
    this.#process = running;
    running.stdin.on("error", () => {});
    running.stderr.on("data", (text) => {
      this.errors += text;
    });
    createInterface({ input: running.stdout }).on("line", (line) => this.lines.push(line));
    this.exit = new Promise((done) => running.once("close", done));
  }

  tell(...lines: readonly string[]): void {
    this.#process.stdin?.write(lines.map((line) => `${line}\n`).join(""));
  }

  count(begin: string): number {
    return this.lines.filter((line) => line.startsWith(begin)).length;
  }

  /** What it said of its handshakes. */
  get dtls(): readonly string[] {
    return this.lines.filter((line) => line.startsWith("dtls"));
  }

  async says(line: string, times = 1): Promise<void> {
    await until(line, () => this.count(line) >= times).catch((error: unknown) => {
      throw new Error(`${line}: it said ${JSON.stringify(this.lines)} ${this.errors}`, { cause: error });
    });
  }

  /** Does what was said to it, and goodbye. */
  async ends(): Promise<void> {
    this.#process.stdin?.end();
    expect(await this.exit, this.errors).toBe(0);
    expect(this.errors).toBe("");
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }
}

/** A broker, a gateway as a process of its own, and devices. */
class World {
  readonly broker: RecordingBroker;
  readonly folder = mkdtempSync(join(tmpdir(), "c-dtls-"));
  readonly port: number;
  readonly #apiPort: number;
  readonly #program: string;
  readonly #onEnd: (end: () => unknown) => void;
  #gateway: ChildProcess | undefined;
  log = "";

  private constructor(
    program: string,
    onEnd: (end: () => unknown) => void,
    broker: RecordingBroker,
    ports: readonly [number, number],
  ) {
    this.#program = program;
    this.#onEnd = onEnd;
    this.broker = broker;
    [this.port, this.#apiPort] = ports;
  }

  static async make(program: string, { onTestFinished }: TestContext, store = "disk"): Promise<World> {
    const broker = await RecordingBroker.start();
    const ends: (() => unknown)[] = [];
    const world = new World(program, (end) => ends.push(end), broker, [await freePort(), await freePort()]);
    onTestFinished(async () => {
      for (const end of ends.reverse()) await end();
      await world.kill();
      await broker.close();
      rmSync(world.folder, { recursive: true, force: true });
    });
    world.keys({ dev1: key });
    writeFileSync(
      join(world.folder, "gateway.config.json"),
      JSON.stringify({
        transports: [{ type: "dtls", host: "127.0.0.1", port: world.port, keys: { file: "keys.json" } }],
        upstream: { url: broker.url, reconnect: { minSeconds: 0.1, maxSeconds: 0.5 } },
        retry: { intervalSeconds: 1, limit: 10 },
        store: { kind: store },
        api: { port: world.#apiPort, console: false },
        log: { level: "debug", format: "json" },
      }),
    );
    return world;
  }

  keys(keys: Record<string, string>): void {
    writeFileSync(join(this.folder, "keys.json"), JSON.stringify(keys));
    chmodSync(join(this.folder, "keys.json"), 0o600);
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [main, "start"], { cwd: this.folder });
    this.#gateway = child;
    const from = this.log.length;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data) => {
        this.log += data;
      });
    await until("the gateway", () => this.log.slice(from).includes("ready: devices") || child.exitCode !== null);
    expect(child.exitCode, this.log).toBeNull();
  }

  async kill(): Promise<void> {
    const child = this.#gateway;
    this.#gateway = undefined;
    if (child && child.exitCode === null) await new Promise((done) => child.once("exit", done).kill("SIGKILL"));
  }

  reload(): void {
    this.#gateway?.kill("SIGHUP");
  }

  async router(): Promise<Router> {
    const router = await Router.before(this.port);
    this.#onEnd(() => router.close());
    return router;
  }

  device({ port = this.port, identity = "dev1", deviceKey = key, retrySeconds = 1 } = {}): Device {
    const words = [identity, this.#keyFile(identity, deviceKey), "127.0.0.1", String(port), String(retrySeconds)];
    return this.#run(this.#program, words);
  }

  /** hardware/sensor; `words` behind the port. */
  sensor(program: string, words: readonly string[]): Device {
    return this.#run(program, ["dev1", this.#keyFile("dev1", key), "127.0.0.1", String(this.port), ...words]);
  }

  #run(program: string, words: readonly string[]): Device {
    const device = new Device(program, words);
    this.#onEnd(() => device.kill());
    return device;
  }

  #keyFile(identity: string, deviceKey: string): string {
    const file = join(this.folder, `${identity}.key`);
    writeFileSync(file, `${deviceKey}\n`, { mode: 0o600 });
    return file;
  }

  send(topicName: string, text: string, qos: QoS): void {
    this.broker.broker.publish({ topicName, payload: Buffer.from(text), qos, retain: false });
  }

  async arrives(text: string): Promise<void> {
    await until(`${text} at the broker`, () => this.broker.saved.has(text));
  }

  /** QoS 1 or 2: the gateway has it, and all that came before it. */
  async waits(text: string): Promise<void> {
    await until(`${text} at the gateway`, () => this.broker.taken.has(text));
  }

  async metric(name: string): Promise<number> {
    const text = await (await fetch(`http://127.0.0.1:${this.#apiPort}/metrics`)).text();
    const values = text.split("\n").filter((line) => line.startsWith(name));
    return values.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
  }
}

const noCompiler = missingCompiler();

for (const { of, hasCid } of libraries) {
  const found = noCompiler === undefined ? findMbedtls(of) : { missing: noCompiler };
  const missing = "missing" in found ? found.missing : undefined;
  if (missing !== undefined && process.env["CI"]) throw new Error(missing);
  const version = "missing" in found ? `${of || "installed"} (skipped: ${missing})` : found.version;

  describe.skipIf(missing !== undefined).concurrent(`the library in C over mbed TLS ${version}`, () => {
    const build = `build/mbedtls-${of || "installed"}`;
    const program = join(hardware, "device", build, "dtls_device");
    const world = (context: TestContext, store?: string) => World.make(program, context, store);
    const isOpen = hasCid ? "dtls open, with a connection id" : "dtls open";

    const makeWith = (folder: string, target: string) => {
      if ("missing" in found) return;
      const { include, libraries: files } = found;
      make(
        ...[folder, `${build}/${target}`, `BUILD=${build}`, `SIZES=${times}`],
        ...[`MBEDTLS=-isystem ${include}`, `MBEDTLS_LIBS=${files.join(" ")}`],
      );
    };
    beforeAll(() => makeWith("device", "dtls_device"));

    test.concurrent("QoS 0, 1 and 2 both ways; asleep it hears nothing, awake what waited; goodbye ends the context", async (context) => {
      const at = await world(context);
      await at.start();
      // Nothing is lost, so nothing has to be said twice: not even what began the handshake.
      const device = at.device({ retrySeconds: 60 });
      device.tell("connect", "subscribe down/# 2");
      await device.says("subscribed");
      for (const qos of levels) {
        device.tell(`publish up/${qos} ${qos} up ${qos}`);
        await at.arrives(`up ${qos}`);
        at.send(`down/${qos}`, `down ${qos}`, qos);
        await device.says(`message down/${qos} ${qos} down ${qos}`);
      }
      device.tell("sleep 60");
      await device.says("asleep");
      for (const qos of levels) at.send("down/z", `late ${qos}`, qos);
      await at.waits("late 2");
      device.tell("wake");
      await device.says("drained");
      for (const qos of levels) expect(device.lines).toContain(`message down/z ${qos} late ${qos}`);
      for (const qos of levels) expect(at.broker.saved.get(`up ${qos}`)).toBe(1);
      expect(device.dtls).toEqual([isOpen]);
      expect(await at.metric("mqttsn_dtls_contexts")).toBe(1);
      await device.ends();
      await until("the context is gone", async () => (await at.metric("mqttsn_dtls_contexts")) === 0);
      expect(at.log).not.toContain(key);
    });

    async function started(context: TestContext, store?: string) {
      const at = await world(context, store);
      await at.start();
      const router = await at.router();
      return { at, router, device: at.device({ port: router.port }) };
    }

    test.concurrent("another key, and an identity that is not known: both are told as such, and it gives up", async (context) => {
      const at = await world(context);
      await at.start();
      const wrongs = [at.device({ deviceKey: otherKey }), at.device({ identity: "dev2" })];
      for (const wrong of wrongs) wrong.tell("connect");
      for (const wrong of wrongs) {
        expect(await wrong.exit).toBe(3);
        expect(wrong.lines).toEqual(["dtls wrong key or identity"]);
      }
      expect(at.log).toMatch(/dev1.{1,3}at 127.0.0.1:\d+: the key does not match/);
    });

    test.concurrent("kill -9 of the gateway: the device goes on without a handshake", async (context) => {
      const { at, device } = await started(context);
      device.tell("connect", "publish up/x 1 before");
      await device.says("published");
      await at.kill();
      await at.start();
      device.tell("publish up/x 1 after");
      await at.arrives("after");
      expect(device.dtls).toEqual([isOpen]);
      expect(device.count("connected")).toBe(1);
      await device.ends();
    });

    test.concurrent(`its router gives it another port while it sleeps, unnoticed: ${hasCid ? "it goes on" : "it shakes hands again"}`, async (context) => {
      const { at, router, device } = await started(context);
      device.tell("connect", "subscribe down/x 1", "sleep 60");
      await device.says("asleep");
      router.move();
      at.send("down/x", "meanwhile", 1);
      await at.waits("meanwhile");
      device.tell("wake");
      await device.says("message down/x 1 meanwhile");
      device.tell("publish up/x 1 moved");
      await at.arrives("moved");
      expect(device.dtls).toEqual(hasCid ? [isOpen] : [isOpen, isOpen]);
      if (hasCid) expect(device.count("connected")).toBe(1);
      if (hasCid) expect(await at.metric("mqttsn_dtls_moved_total")).toBe(1);
      await device.ends();
    });

    test.concurrent("it knows that its own port is another: no time is lost", async (context) => {
      const { at, device } = await started(context);
      device.tell("connect", "publish up/x 1 before", "rebind", "publish up/x 1 after");
      await at.arrives("after");
      expect(device.dtls).toEqual(hasCid ? [isOpen] : [isOpen, isOpen]);
      expect(device.count("connected")).toBe(1);
      await device.ends();
    });

    test.concurrent("each datagram of the handshake lost, either way: it comes to an end all the same", async (context) => {
      const at = await world(context);
      await at.start();
      const losing = async (way: "up" | "down", number: number) => {
        const router = await at.router();
        router.loses = (each, n) => each === way && n === number;
        const device = at.device({ port: router.port });
        device.tell("connect", `publish up/x 1 ${way} ${number}`);
        await at.arrives(`${way} ${number}`);
        expect(router.lost).toBe(1);
        expect(device.dtls).toEqual([isOpen]);
        await device.ends();
      };
      // ClientHello, ClientHello with the cookie, the last flight; HelloVerifyRequest, ServerHello, Finished.
      for (const number of [0, 1, 2]) {
        await losing("up", number);
        await losing("down", number);
      }
    });

    // The rest is the same whichever mbed TLS it is: once with each will do.
    if (hasCid) {
      test.concurrent("the sensor with a lamp: readings, sleep with its radio off, and the lamp hears when it wakes", async (context) => {
        makeWith("sensor", "sensor-dtls");
        const at = await world(context);
        await at.start();
        const sensor = at.sensor(join(hardware, "sensor", build, "sensor-dtls"), ["2", "sleeps"]);
        await at.arrives("21.37");
        await sensor.says("radio off");
        at.send("dev1/led", "on", 1);
        await sensor.says("led on");
        await at.arrives("21.38");
        expect(sensor.count("secure")).toBe(1);
        expect(sensor.errors).toBe("");
      });

      test.concurrent("what of the ESP32's two sensors needs no ESP-IDF compiles without a warning", ({
        onTestFinished,
      }) => {
        const stubs = mkdtempSync(join(tmpdir(), "esp-"));
        onTestFinished(() => rmSync(stubs, { recursive: true }));
        for (const [name, text] of Object.entries(espHeaders)) writeFileSync(join(stubs, name), text);
        const folders = ["esp32-udp-sensor/main", "sensor/app", "device/include", "device/ports"];
        const includes = ["-I", stubs, ...folders.flatMap((each) => ["-I", join(hardware, each)])];
        const system = "missing" in found ? [] : ["-isystem", found.include];
        for (const file of [
          "esp32-udp-sensor/main/udp.c",
          "esp32-dtls-sensor/main/dtls.c",
          "sensor/app/secure_link.c",
        ]) {
          const words = ["-std=gnu17", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-fsyntax-only"];
          const run = spawnSync("cc", [...words, ...includes, ...system, join(hardware, file)], { encoding: "utf8" });
          expect(run.stderr).toBe("");
          expect(run.status).toBe(0);
        }
      });

      return;
    }

    test.concurrent("a gateway that is not there, then is: no answer is told, and it comes", async (context) => {
      const at = await world(context);
      const device = at.device();
      device.tell("connect", "publish up/x 1 first");
      await device.says("dtls no answer");
      await at.start();
      await at.arrives("first");
      await device.ends();
    });

    test.concurrent("a gateway that has forgotten it says nothing: it shakes hands again by itself", async (context) => {
      const { at, device } = await started(context, "memory");
      device.tell("connect", "publish up/x 1 before");
      await device.says("published");
      await at.kill();
      await at.start();
      device.tell("publish up/x 1 after");
      await at.arrives("after");
      expect(device.dtls).toEqual([isOpen, isOpen]);
      await device.ends();
    });

    test.concurrent("a key that is removed puts it out, and it learns why", async (context) => {
      const { at, device } = await started(context);
      device.tell("connect");
      await device.says("connected");
      at.keys({ dev2: otherKey });
      at.reload();
      await device.says("dtls put out");
      device.tell("publish up/x 1 lost");
      expect(await device.exit).toBe(3);
      expect(device.lines.at(-1)).toBe("dtls wrong key or identity");
    });

    test.concurrent("a third of all lost, and copies; then spoilt ones too: all arrives, once at QoS 2", async (context) => {
      const { at, router, device } = await started(context);
      const dice = new Rng(19);
      router.loses = () => dice.chance(0.33);
      router.adds = (bytes) => (dice.chance(0.3) ? [bytes] : []);
      device.tell("connect");
      await device.says("connected");
      router.loses = () => dice.chance(0.2);
      router.adds = (bytes) => {
        const spoilt = Buffer.from(bytes);
        const place = dice.int(0, spoilt.length - 1);
        spoilt[place] = (spoilt[place] ?? 0) ^ (1 << dice.int(0, 7));
        return [spoilt.subarray(0, dice.chance(0.5) ? spoilt.length : place), bytes];
      };
      device.tell(...["a", "b", "c", "d"].map((each, i) => `publish up/${each} ${1 + (i % 2)} ${each}`));
      for (const each of ["a", "b", "c", "d"]) await at.arrives(each);
      expect([at.broker.saved.get("b"), at.broker.saved.get("d")]).toEqual([1, 1]);
      expect(router.lost).toBeGreaterThan(2);
      router.loses = () => false;
      router.adds = () => [];
      await device.ends();
    });
  });
}
