/**
 * What noble leaves undone between the gateway and the radio: an adapter that the gateway has alone, the link's
 * parameters, devices that ask for pairing, devices that refuse. Also run in the virtual machine, see kernel.test.ts.
 */
import { afterEach, describe, expect, test } from "vitest";
import { until } from "../helpers/test-gateway.ts";
import type { BleDevice } from "./lab/ble-device.ts";
import { Injector } from "./lab/injector.ts";
import { BleLab, missingFromLab } from "./lab/lab.ts";

const missing = missingFromLab();
/** CAP_NET_RAW, as a bit. */
const netRaw = 2 ** 13;
const named = missing === undefined ? "" : ` (skipped: ${missing})`;

describe.skipIf(missing !== undefined)(`links as the options say${named}`, () => {
  const open: { close(): unknown }[] = [];
  afterEach(async () => {
    for (const each of open.splice(0).reverse()) await each.close();
  });

  async function lab(ble: Record<string, unknown> = {}): Promise<BleLab> {
    if (ble["channel"] === "user") {
      await BleLab.switchAdapter("off");
      open.push({ close: () => BleLab.switchAdapter("on") });
    }
    const started = await BleLab.start(ble);
    open.push(started);
    return started;
  }

  /** QoS 0, 1 and 2, up and down, on a new session. */
  async function talks(at: BleLab, device: BleDevice, round = ""): Promise<void> {
    const { clientId } = device.device;
    await device.connect();
    await device.subscribe(`down/${clientId}`, 2);
    for (const qos of [0, 1, 2] as const) {
      await device.publish(`up/${clientId}`, `${clientId} up ${qos}${round}`, qos);
      await at.arrives(`${clientId} up ${qos}${round}`);
      await at.publish(`down/${clientId}`, `${clientId} down ${qos}${round}`, qos);
      await until(`${clientId} down ${qos}${round}`, () => device.received.includes(`${clientId} down ${qos}${round}`));
    }
  }

  const says = (at: BleLab, pattern: RegExp) =>
    until(String(pattern), () => at.logged().some((line) => pattern.test(line)));
  const last = (device: BleDevice) => device.peripheral?.parameters.at(-1);

  test("an adapter of our own (channel user): QoS 0 to 2 both ways, three devices", async () => {
    const at = await lab({ channel: "user" });
    const devices = ["u0", "u1", "u2"].map((name) => at.device(name));
    for (const device of devices) await device.on();
    await Promise.all(devices.map((device) => talks(at, device)));
    for (const device of devices) expect(device.links).toBe(1);
  });

  test("an adapter of our own without buffers for LE: those of classic Bluetooth are asked for", async () => {
    let asked = 0;
    // LE Read Buffer Size answers "none of my own" then; Read Buffer Size, the command after it, has them.
    const without = (packet: Buffer): Buffer => {
      if (packet.subarray(0, 2).toString("hex") !== "040e") return packet;
      if (packet.readUInt16LE(4) === 0x1005) asked++;
      if (packet.readUInt16LE(4) !== 0x2002) return packet;
      return Buffer.concat([packet.subarray(0, 7), Buffer.alloc(packet.length - 7)]);
    };
    const at = await BleLab.start({ channel: "user" }, {}, async (airSocket) => {
      const injector = await Injector.start(`${airSocket}-between`, airSocket, without);
      open.push(injector);
      return injector.path;
    });
    open.push(at);
    const device = at.device("classic");
    await device.on();
    await talks(at, device);
    expect(asked).toBeGreaterThan(0);
  });

  test("an adapter of our own is pulled out and put back", async () => {
    const at = await lab({ channel: "user" });
    const device = at.device("own");
    await device.on();
    await talks(at, device);
    await at.pullOut();
    await until("the adapter's end", () => !/^adapter /.test(at.gateway.places()[1] ?? ""), 60_000);
    await at.putBack();
    await BleLab.switchAdapter("off");
    await device.on();
    await talks(at, device, " again");
  });

  test("the device is given the parameters that are configured, and CAP_NET_RAW is enough for it", async () => {
    open.push(BleLab.oneRight());
    const at = await lab({ supervisionSeconds: 4 });
    const device = at.device("given");
    await device.on();
    await device.linked();
    await until("4 s of supervision", () => last(device)?.timeout === 400);
    expect(last(device)?.latency).toBe(0);
    expect(last(device)?.interval).toBeGreaterThanOrEqual(24);
    expect(last(device)?.interval).toBeLessThanOrEqual(40);
    await says(at, /given.*(connected, MTU|the link has).* lost after 4 s of silence/);
    if (process.env["BLE_LAB_AIR"] !== undefined) expect(at.childRights()).toBe(netRaw);
    await talks(at, device);
  });

  test("other parameters by the options", async () => {
    const at = await lab({ supervisionSeconds: 5, connection: { intervalMsMin: 100, intervalMsMax: 125, latency: 4 } });
    const device = at.device("other");
    await device.on();
    await device.linked();
    await until("5 s of supervision", () => last(device)?.timeout === 500);
    expect(last(device)?.latency).toBe(4);
    expect(last(device)?.interval).toBeGreaterThanOrEqual(80);
    expect(last(device)?.interval).toBeLessThanOrEqual(100);
    await talks(at, device);
  });

  test.each(["raw", "user"] as const)(
    "a device asks for other parameters, channel %s: as far as the options go",
    async (channel) => {
      const at = await lab({ channel, connection: { requests: { intervalMsMax: 200, latencyMax: 4 } } });
      const device = at.device("asks");
      await device.on();
      await device.linked();
      const ask = device.peripheral;
      // Without a kernel, no program answers for an adapter that is shared.
      const isAnswered = channel === "user" || process.env["BLE_LAB_AIR"] !== undefined;
      // As Zephyr does unless told otherwise: a time-out of 420 ms. It gets the interval, and not less silence than configured.
      const granted = ask?.askParameters(80, 100, 0, 42);
      if (isAnswered) expect(await granted).toBe(true);
      await says(at, /asks for interval 100 to 125 ms, latency 0, .*: granted/);
      if (isAnswered) {
        await until("the new parameters", () => last(device)?.timeout === 400 && (last(device)?.interval ?? 0) >= 80);
        expect(last(device)?.interval).toBeLessThanOrEqual(100);
      }
      const refused = ask?.askParameters(800, 800, 0, 600);
      await says(at, /asks for interval 1000 to 1000 ms, .*: refused/);
      if (channel === "user") expect(await refused).toBe(false);
      else if (isAnswered) {
        // The kernel grants it by itself; then it is taken back.
        await until(
          "the kernel's grant",
          () => device.peripheral?.parameters.some((each) => each.interval === 800) === true,
        );
        await until("what was granted before", () => (last(device)?.interval ?? 800) <= 100);
      }
      await talks(at, device);
    },
  );

  test("a device's controller asks, and there is no kernel to answer", async () => {
    const at = await lab({ channel: "user" });
    const device = at.device("ll");
    await device.on();
    await device.linked();
    device.peripheral?.askParametersByController(160, 160, 0, 600);
    await until("the new parameters", () => last(device)?.interval === 160 && last(device)?.timeout === 600);
    device.peripheral?.askParametersByController(1_600, 1_600, 0, 2_000);
    await says(at, /asks for interval 2000 to 2000 ms, .*: refused/);
    await talks(at, device);
    expect(last(device)?.interval).toBe(160);
  });

  test("a device asks for pairing and holds everything back: it is told no, and others do not wait", async () => {
    const at = await lab();
    const insists = at.device("insists", { insistsOnSecurity: true });
    const other = at.device("beside");
    await insists.on();
    await other.on();
    await Promise.all([talks(at, insists), talks(at, other)]);
    // Pairing Failed, reason 5: pairing not supported.
    expect(insists.peripheral?.security).toEqual(["0505"]);
    expect(insists.links).toBe(1);
    await says(at, /insists\): it asks for pairing .* does not pair/);
  });

  test.each([
    ["a list of characteristics that demands encryption", { list: 0x0f }, /requires a paired or encrypted link/],
    ["a subscription that demands authentication", { subscription: 0x05 }, /subscription: .*paired or encrypted/],
    ["a refused subscription", { subscription: 0x80 }, /refuses the subscription: .*ATT error 0x80/],
  ] as const)("%s is said at once, and again at the second time", async (_what, refuses, words) => {
    const at = await lab({ setUpSeconds: 60 });
    const device = at.device("refuses", { refuses });
    const other = at.device("beside");
    await device.on();
    await until("the link's end", () => at.logged().some((line) => words.test(line) && /next try in/.test(line)));
    await until("the second failure", () => at.logged().some((line) => words.test(line) && /the 2.. time/.test(line)));
    expect(device.peripheral?.security).toEqual([]); // no pairing was begun
    await other.on();
    await talks(at, other);
  });

  test.each([
    ["with an error of its own", 0x80, /refuses what is written to it: .*ATT error 0x80/],
    ["because of encryption", 0x0f, /refuses what is written to it: .*paired or encrypted/],
  ] as const)(
    "a device that refuses what is written, %s: said at once, the link ends, it waits",
    async (_what, code, words) => {
      const at = await lab();
      const device = at.device("mute", { writes: "confirmed", refuses: { writes: code } });
      await device.on();
      await device.linked();
      device.act((each, now) => each.connect({ clean: true, keepAliveSeconds: 60 }, now));
      await until("the first refusal", () => at.logged().some((line) => words.test(line)));
      await until("the link's end", () =>
        at.logged().some((line) => words.test(line) && /next try in 10 s/.test(line)),
      );
      expect(device.peripheral?.security).toEqual([]);
    },
  );
});
