/**
 * Five devices on a machine whose cores are all busy with something else: no link may end, for a link that ends because this
 * machine is slow is a fault of ours. `SOAK=1 npx vitest run --project ble test/ble/busy.ts` runs it five times for 20 minutes;
 * BUSY_RUNS and BUSY_MINUTES say otherwise. With BUSY_BY=others something else keeps the cores busy. What it prints is the transcript.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { cpus } from "node:os";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import mqtt from "mqtt";
import { afterEach, expect, test } from "vitest";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { until } from "../helpers/test-gateway.ts";
import { Air } from "./lab/air.ts";
import { BleDevice } from "./lab/ble-device.ts";
import { GatewayProcess } from "./lab/gateway-process.ts";

const runs = Number(process.env["BUSY_RUNS"] ?? 5);
const minutes = Number(process.env["BUSY_MINUTES"] ?? 20);
const devicesBusy = 5;
const open: { close(): unknown }[] = [];

afterEach(async () => {
  for (const each of open.splice(0).reverse()) await each.close();
});

/** One for each core, at the same priority as everything else here. */
function occupyCores(): readonly ChildProcess[] {
  if (process.env["BUSY_BY"] === "others") return [];
  return cpus().map(() => {
    const spinner = spawn(process.execPath, ["-e", "for (;;);"], { stdio: "ignore" });
    open.push({ close: () => spinner.kill("SIGKILL") });
    return spinner;
  });
}

test.each(Array.from({ length: runs }, (_, i) => i + 1))(
  `${devicesBusy} devices for ${minutes} minutes while all cores are busy: run %i of ${runs}`,
  async () => {
    const program = findMosquitto();
    if ("missing" in program) throw new Error(program.missing);
    const broker = await Mosquitto.create(program);
    open.push({ close: () => broker.dispose() });
    const air = new Air();
    await air.start();
    open.push(air);
    const gateway = await GatewayProcess.start(broker.plainPort, air.socket);
    open.push(gateway);
    const observer = mqtt.connect(`mqtt://127.0.0.1:${broker.plainPort}`, { clientId: "observer" });
    open.push({ close: () => observer.endAsync(true) });
    const seen = new Map<string, number>();
    observer.on("message", (_topic, payload) => seen.set(String(payload), (seen.get(String(payload)) ?? 0) + 1));
    await observer.subscribeAsync("busy/up/#", { qos: 2 });
    const ends: string[] = [];
    const devices = Array.from({ length: devicesBusy }, (_, n) => {
      const device = new BleDevice(air.socket, { clientId: `busy${n}`, name: `busy${n}`, retryMs: 5_000 });
      open.push(device);
      return device;
    });
    for (const device of devices) {
      await device.on();
      device.peripheral?.on("disconnected", (reason) => ends.push(`${device.device.clientId}: reason ${reason}`));
      await device.connect(false, 600);
      await device.subscribe(`busy/down/${device.device.clientId}`, 1);
    }
    occupyCores();
    const times: number[] = [];
    const began = performance.now();
    const end = began + minutes * 60_000;
    let sent = 0;
    await Promise.all(
      devices.map(async (device) => {
        const { clientId } = device.device;
        for (let round = 0; performance.now() < end; round++) {
          const at = performance.now();
          sent++;
          await device.publish(`busy/up/${clientId}`, `${clientId} ${round} ${"x".repeat(round % 200)}`, 1);
          times.push(performance.now() - at);
          await observer.publishAsync(`busy/down/${clientId}`, `down ${round}`, { qos: 1 });
          await sleep(1_000);
        }
      }),
    );
    await until("all at the broker", () => seen.size === sent, 60_000);
    times.sort((a, b) => a - b);
    const at = (share: number) => Math.round(times[Math.floor((times.length - 1) * share)] ?? 0);
    const down = devices.reduce((sum, { received }) => sum + received.length, 0);
    const stood = gateway.output.split("\n").filter((line) => /stood still|dropped/.test(line)).length;
    console.log(
      [
        `${cpus().length} cores, ${minutes} minutes, ${devicesBusy} devices: ${sent} messages up, ${down} down, QoS 1`,
        `PUBACK after p50 ${at(0.5)} ms, p99 ${at(0.99)} ms, longest ${at(1)} ms`,
        `links made ${devices.reduce((sum, { links }) => sum + links, 0)}, ended ${ends.length} ${ends.join(", ")}`,
        `twice at the broker ${[...seen.values()].filter((count) => count > 1).length}; warnings of the Bluetooth process ${stood}`,
      ].join("\n"),
    );
    expect(ends).toEqual([]);
    expect(devices.map(({ links }) => links)).toEqual(devices.map(() => 1));
    // How busy others keep the cores is not known: then a process may stand still, and is to say so.
    if (process.env["BUSY_BY"] !== "others") expect(gateway.output).not.toMatch(/may be missing|too busy/);
  },
  (minutes + 5) * 60_000,
);
