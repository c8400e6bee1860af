/**
 * The library in C with a key, over mbed TLS, against the shipped gateway with a DTLS transport: hardware/device/ports and the
 * programs that use them. With this Debian's mbed TLS, which has no connection ids, and with one that has.
 */
import { execFile } from "node:child_process";
import { createSocket } from "node:dgram";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import type { QoS } from "../../src/wire/fields.ts";
import { findMbedtls } from "../helpers/find-mbedtls.mjs";
import { until } from "../helpers/test-gateway.ts";
import { Rng } from "../simulation/rng.ts";
import { hardware, make, missingCompiler } from "./compiler.ts";
import { otherKey, SecureWorld } from "./secure-world.ts";

const levels: readonly QoS[] = [0, 1, 2];
/** What a flight of the handshake waits for first, and is given up after, in milliseconds: shorter than a real network needs. */
const times = "-DMQTTSN_DTLS_REPEAT_MS=300 -DMQTTSN_DTLS_REPEAT_MS_MAX=2400";

/** `of`: the release whose mbed TLS it is; none: this machine's. Those of RFC 9146 come with 3.3. */
const libraries = [
  { of: "", hasCid: false },
  { of: "trixie", hasCid: true },
] as const;

const noCompiler = missingCompiler();

for (const { of, hasCid } of libraries) {
  const found = noCompiler === undefined ? findMbedtls(of) : { missing: noCompiler };
  const missing = "missing" in found ? found.missing : undefined;
  if (missing !== undefined && process.env["CI"]) throw new Error(missing);
  const version = "missing" in found ? `${of || "installed"} (skipped: ${missing})` : found.version;

  describe.skipIf(missing !== undefined).concurrent(`the library in C over mbed TLS ${version}`, () => {
    const build = `build/mbedtls-${of || "installed"}`;
    const program = join(hardware, "device", build, "dtls_device");
    const isOpen = hasCid ? "dtls open, with a connection id" : "dtls open";
    /** One gateway for all tests that do not kill it; each has its own identity and topics. */
    let at: SecureWorld;

    const makeWith = async (folder: string, target: string) => {
      if ("missing" in found) return;
      const { include, libraries: files } = found;
      await make(
        ...[folder, `${build}/${target}`, `BUILD=${build}`, `SIZES=${times}`],
        ...[`MBEDTLS=-isystem ${include}`, `MBEDTLS_LIBS=${files.join(" ")}`],
      );
    };
    beforeAll(async () => {
      await makeWith("device", "dtls_device");
      at = await SecureWorld.make(["talker", "owner", "mover", "knower", "loser", "gambler", "sensor"]);
      await at.start();
    });
    afterAll(() => at.close());

    async function alone({ onTestFinished }: TestContext, store: "disk" | "memory" = "disk") {
      const own = await SecureWorld.make(["dev1"], store);
      onTestFinished(() => own.close());
      return own;
    }

    /** A device that has published before kill -9 of its gateway, and after it. */
    async function overKill(own: SecureWorld) {
      await own.start();
      const device = own.device(program, "dev1");
      device.tell("connect", "publish up/x 1 before");
      await device.says("published");
      await own.kill();
      await own.start();
      device.tell("publish up/x 1 after");
      await own.arrives("after");
      return device;
    }

    test.concurrent("QoS 0, 1 and 2 both ways; asleep it hears nothing, awake what waited; goodbye ends the context", async () => {
      // Nothing is lost, so nothing has to be said twice: not even what began the handshake.
      const device = at.device(program, "talker", { more: ["60"] });
      device.tell("connect", "subscribe talker/down/# 2");
      await device.says("subscribed");
      for (const qos of levels) {
        device.tell(`publish talker/up/${qos} ${qos} up ${qos}`);
        await at.arrives(`up ${qos}`);
        at.send(`talker/down/${qos}`, `down ${qos}`, qos);
        await device.says(`message talker/down/${qos} ${qos} down ${qos}`);
      }
      device.tell("sleep 60");
      await device.says("asleep");
      for (const qos of levels) at.send("talker/down/z", `late ${qos}`, qos);
      await at.waits("late 2");
      expect(device.count("message talker/down/z")).toBe(0);
      device.tell("wake");
      await device.says("drained");
      for (const qos of levels) expect(device.lines).toContain(`message talker/down/z ${qos} late ${qos}`);
      for (const qos of levels) expect(at.broker.saved.get(`up ${qos}`)).toBe(1);
      expect(device.dtls).toEqual([isOpen]);
      await device.ends();
      await at.logs(/the encryption of .{1,3}talker.{1,3} ended: the device ended it/);
    });

    test.concurrent("another key, and an identity that is not known: both are told as such, and it gives up", async () => {
      const wrongs = [at.device(program, "owner", { deviceKey: otherKey }), at.device(program, "stranger")];
      for (const wrong of wrongs) wrong.tell("connect");
      for (const wrong of wrongs) {
        expect(await wrong.exit).toBe(3);
        expect(wrong.dtls).toEqual(["dtls wrong key or identity", "dtls wrong key or identity"]);
      }
      expect(at.log).toMatch(/owner.{1,3}at 127.0.0.1:\d+: the key does not match/);
    });

    test.concurrent("kill -9 of the gateway: the device goes on without a handshake", async (context) => {
      const device = await overKill(await alone(context));
      expect(device.dtls).toEqual([isOpen]);
      expect(device.count("connected")).toBe(1);
      await device.ends();
    });

    test.concurrent("too little memory is told as that, however little; and one allocation that fails leaves nothing behind", async () => {
      await makeWith("device", "dtls_memory");
      // It ends with 0, or this throws what a sanitizer said.
      const run = await promisify(execFile)(join(hardware, "device", build, "dtls_memory"));
      expect(run.stderr).toBe("");
      const told = (how: string) =>
        [...run.stdout.matchAll(new RegExp(`^${how} \\d+: (\\D*?)(?: -0x.*)?$`, "gm"))].map(([, what]) => what);
      expect(told("enough")).toEqual(["open"]);
      const limits = told("limit");
      expect(limits.length).toBeGreaterThan(50);
      expect(new Set(limits.slice(0, -3))).toEqual(new Set(["no memory"]));
      expect(limits.at(-1)).toBe("open");
      // A moment later there was enough again: what was calculated wrongly meanwhile cannot be told from a wrong key.
      const once = told("once");
      expect(once.filter((what) => what === "no memory").length).toBeGreaterThan(20);
      expect(once.filter((what) => !["no memory", "open", "wrong key"].includes(what ?? ""))).toEqual([]);
      expect(run.stdout).not.toContain("left behind");
    });

    const goesOn = hasCid ? "it goes on" : "it shakes hands again";
    test.concurrent(`its router gives it another port while it sleeps, unnoticed: ${goesOn}`, async () => {
      const router = await at.router();
      const device = at.device(program, "mover", { port: router.port });
      device.tell("connect", "subscribe mover/down 1", "sleep 60");
      await device.says("asleep");
      router.move();
      at.send("mover/down", "meanwhile", 1);
      await at.waits("meanwhile");
      device.tell("wake");
      await device.says("message mover/down 1 meanwhile");
      device.tell("publish mover/up 1 moved");
      await at.arrives("moved");
      expect(device.dtls).toEqual(hasCid ? [isOpen] : [isOpen, isOpen]);
      if (hasCid) expect(device.count("connected")).toBe(1);
      await device.ends();
    });

    test.concurrent("it knows that its own port is another: no time is lost", async () => {
      const device = at.device(program, "knower", { more: ["60"] });
      device.tell("connect", "publish knower/up 1 here", "rebind", "publish knower/up 1 there");
      await at.arrives("there");
      expect(device.dtls).toEqual(hasCid ? [isOpen] : [isOpen, isOpen]);
      expect(device.count("connected")).toBe(1);
      await device.ends();
    });

    test.concurrent("each datagram of the handshake lost, either way: it comes to an end all the same", async () => {
      const losing = async (way: "up" | "down", number: number) => {
        const router = await at.router();
        router.loses = (each, n) => each === way && n === number;
        const device = at.device(program, "loser", { port: router.port });
        device.tell("connect", `publish loser/up 1 ${way} lost ${number}`);
        await at.arrives(`${way} lost ${number}`);
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
      test.concurrent("the sensor with a lamp: readings, sleep with its radio off, and the lamp hears when it wakes", async () => {
        await makeWith("sensor", "sensor-dtls");
        const sensor = at.device(join(hardware, "sensor", build, "sensor-dtls"), "sensor", { more: ["2", "sleeps"] });
        await at.arrives("21.37");
        await sensor.says("radio off");
        at.send("sensor/led", "on", 1);
        await sensor.says("led on");
        await at.arrives("21.38");
        expect(sensor.count("secure")).toBe(1);
        expect(sensor.errors).toBe("");
      });

      test.concurrent("a fifth of all lost, and copies; then spoilt ones too: all arrives, once at QoS 2", async () => {
        const router = await at.router();
        const device = at.device(program, "gambler", { port: router.port });
        const dice = new Rng(19);
        router.loses = () => dice.chance(0.2);
        router.adds = (bytes) => (dice.chance(0.3) ? [bytes] : []);
        device.tell("connect");
        await device.says("connected");
        router.adds = (bytes) => {
          const spoilt = Buffer.from(bytes);
          const place = dice.int(0, spoilt.length - 1);
          spoilt[place] = (spoilt[place] ?? 0) ^ (1 << dice.int(0, 7));
          return [spoilt.subarray(0, dice.chance(0.5) ? spoilt.length : place), bytes];
        };
        const texts = ["a", "b", "c", "d"];
        device.tell(...texts.map((each, i) => `publish gambler/${each} ${1 + (i % 2)} ${each}`));
        for (const each of texts) await at.arrives(each);
        expect([at.broker.saved.get("b"), at.broker.saved.get("d")]).toEqual([1, 1]);
        expect(router.lost).toBeGreaterThan(2);
        router.loses = () => false;
        router.adds = () => [];
        await device.ends();
      });

      return;
    }

    test.concurrent("a gateway that is not there, then is: no answer is told, and it comes", async (context) => {
      const own = await alone(context);
      const device = own.device(program, "dev1");
      device.tell("connect", "publish up/x 1 first");
      await device.says("dtls no answer");
      await own.start();
      await own.arrives("first");
      await device.ends();
    });

    test.concurrent("a gateway that has forgotten it says nothing: it shakes hands again by itself", async (context) => {
      const device = await overKill(await alone(context, "memory"));
      expect(device.dtls).toEqual([isOpen, isOpen]);
      await device.ends();
    });

    test.concurrent.each([
      ["refused by alert 40", [2, 40]],
      ["goodbye", [1, 0]],
    ])("%s, said to a ClientHello: it is told, and asks again when there is something to say", async (said, alert) => {
      const other = createSocket("udp4");
      const asked: Buffer[] = [];
      other.on("message", (bytes, from) => {
        // A separate record: alert, DTLS 1.2, unencrypted, with the number of the record that it answers.
        const head = [21, 0xfe, 0xfd, ...bytes.subarray(3, 11), 0, 2];
        other.send(Uint8Array.from([...head, ...alert]), from.port, from.address);
        asked.push(bytes);
      });
      try {
        await new Promise<void>((done) => other.bind(0, "127.0.0.1", done));
        const device = at.device(program, "refused", { port: other.address().port });
        device.tell("connect");
        await until("asked twice", () => asked.length >= 2 && device.dtls.length >= 2);
        expect(device.dtls.slice(0, 2)).toEqual([`dtls ${said}`, `dtls ${said}`]);
        expect(device.errors).toBe("");
      } finally {
        other.close();
      }
    });

    test.concurrent("a key that is removed puts it out, and it learns why", async (context) => {
      const own = await alone(context);
      await own.start();
      const device = own.device(program, "dev1");
      device.tell("connect");
      await device.says("connected");
      own.know(["dev2"]);
      own.reload();
      await device.says("dtls put out");
      device.tell("publish up/x 1 lost");
      expect(await device.exit).toBe(3);
      expect(device.dtls).toEqual([isOpen, "dtls put out", "dtls wrong key or identity", "dtls wrong key or identity"]);
    });
  });
}
