/**
 * Everything between a device's radio and the broker: emulated controllers, the gateway with its real child and noble, mosquitto, and a
 * subscriber there. If BLE_LAB_AIR names a socket, btvirt already runs and the gateway uses the kernel's adapter. This is so in the virtual
 * machine, where BLE_LAB_PLUG unplugs the adapter and plugs it in again.
 */
import { execFile } from "node:child_process";
import { closeSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import mqtt from "mqtt";
import type { SessionView } from "../../../src/core/gateway-core.ts";
import type { Gateway } from "../../../src/gateway.ts";
import { findMosquitto, Mosquitto } from "../../helpers/mosquitto.ts";
import { startGateway, until } from "../../helpers/test-gateway.ts";
import { Air } from "./air.ts";
import { BleDevice, type BleDeviceOptions } from "./ble-device.ts";
import { findBtvirt } from "./find-btvirt.mjs";

const kernelAir = process.env["BLE_LAB_AIR"];
/** The kernel has an adapter, and it is not the gateway's: it plays a device. */
const kernelIsDevice = process.env["BLE_LAB_INDEX"] !== undefined;
const kernelPlug = process.env["BLE_LAB_PLUG"] ?? "";
/** Forced, so that no run is one of the other edition by accident: that is BLE_DRIVER=@stoprocent/noble. */
/** The driver of all tests but those that name another. */
export const driver = process.env["BLE_DRIVER"] || "@abandonware/noble";
const stand = resolve(fileURLToPath(import.meta.url), "../hci-userland.cjs");

/** Why the lab cannot be had here; undefined = it can. In CI that is an error. */
export function missingFromLab(): string | undefined {
  const found = [findMosquitto(), kernelAir === undefined ? findBtvirt() : {}];
  const missing = found.flatMap((each) => ("missing" in each ? [each.missing] : []));
  if (missing.length === 0) return undefined;
  if (process.env["CI"]) throw new Error(missing.join("; "));
  return missing.join("; ");
}

export class BleLab {
  readonly air: Air | undefined;
  readonly broker: Mosquitto;
  readonly observer: mqtt.MqttClient;
  gateway: Gateway;
  readonly udpPort: number;
  readonly #devices: BleDevice[] = [];
  readonly #log: Log;
  /** How often each text came to the broker under `up/`. */
  readonly seen = new Map<string, number>();

  private constructor(
    air: Air | undefined,
    broker: Mosquitto,
    observer: mqtt.MqttClient,
    gateway: Gateway,
    port: number,
    log: Log,
  ) {
    this.#log = log;
    this.air = air;
    this.broker = broker;
    this.observer = observer;
    this.gateway = gateway;
    this.udpPort = port;
  }

  /** `between`: makes a socket between the gateway's child and the one of btvirt; not where a kernel has the adapter. */
  static async start(
    ble: Record<string, unknown> = {},
    more: Record<string, unknown> = {},
    between: (airSocket: string) => Promise<string> = async (airSocket) => airSocket,
  ): Promise<BleLab> {
    const air = kernelAir === undefined ? new Air() : undefined;
    if (air) {
      await air.start();
    }
    if (air || kernelIsDevice) {
      process.env["BLE_LAB_HCI"] = await between(air?.socket ?? kernelAir ?? "");
      process.env["NODE_OPTIONS"] = `--require ${stand}`;
    }
    const program = findMosquitto();
    if ("missing" in program) throw new Error(program.missing);
    const broker = await Mosquitto.create(program);
    const log = openLog();
    const { gateway, port } = await startGateway(
      {
        transports: [
          { type: "udp", host: "127.0.0.1", port: 0 },
          { type: "ble", linksMax: 14, driver, ...ble },
        ],
        upstream: { url: `mqtt://127.0.0.1:${broker.plainPort}`, reconnect: { minSeconds: 0.1, maxSeconds: 0.5 } },
        retry: { intervalSeconds: 1, limit: 10 },
        topics: { predefined: { "7": "up/broadcast" } },
        log: { level: "info", format: "json" },
        ...more,
      },
      log.file,
    );
    const observer = mqtt.connect(`mqtt://127.0.0.1:${broker.plainPort}`, { clientId: "observer" });
    const lab = new BleLab(air, broker, observer, gateway, port, log);
    observer.on("message", (_topic, payload) => {
      lab.seen.set(String(payload), (lab.seen.get(String(payload)) ?? 0) + 1);
    });
    await observer.subscribeAsync("up/#", { qos: 2 });
    return lab;
  }

  get socket(): string {
    return this.air?.socket ?? kernelAir ?? "";
  }

  /** The gateway's adapter disappears, and all emulated devices with it. */
  async pullOut(): Promise<void> {
    if (this.air) await this.air.kill();
    else await promisify(execFile)(kernelPlug, ["out"]);
  }

  /** Switches the adapter off, as a program that wants it alone needs it, and on again. Without a kernel this does nothing. */
  static async switchAdapter(to: "off" | "on"): Promise<void> {
    if (kernelAir !== undefined) await promisify(execFile)(kernelPlug, [to]);
  }

  /**
   * From now on the process that has the adapter has the right CAP_NET_RAW and no other, as that of a service that is no root.
   * What undoes it is given back. Without a kernel there are no rights.
   */
  static oneRight(): { close(): void } {
    const node = process.execPath;
    if (kernelAir === undefined) return { close: () => {} };
    const folder = mkdtempSync(join(tmpdir(), "right-"));
    const program = join(folder, "node");
    const rights = "--bounding-set=-all,+net_raw --inh-caps=-all,+net_raw";
    writeFileSync(program, `#!/bin/sh\nexec setpriv ${rights} ${node} "$@"\n`, { mode: 0o755 });
    process.execPath = program;
    return {
      close: () => {
        process.execPath = node;
        rmSync(folder, { recursive: true });
      },
    };
  }

  /** Rights beyond those of anybody, of the process that has the adapter: a bit for each. */
  childRights(): number {
    const status = readFileSync(`/proc/${this.childPid() ?? 0}/status`, "utf8");
    return Number.parseInt(/^CapEff:\s*(\w+)$/m.exec(status)?.[1] ?? "", 16);
  }

  /** The log at its default level. */
  logged(): string[] {
    return readFileSync(this.#log.path, "utf8")
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => String(JSON.parse(line).msg));
  }

  /** It is back; in a kernel under another number. */
  async putBack(): Promise<void> {
    if (this.air) await this.air.start();
    else await promisify(execFile)(kernelPlug, ["in"]);
  }

  device(clientId: string, more: Partial<BleDeviceOptions> = {}): BleDevice {
    const device = new BleDevice(this.socket, { clientId, name: clientId, ...more });
    this.#devices.push(device);
    return device;
  }

  async publish(topic: string, text: string, qos: 0 | 1 | 2): Promise<void> {
    await this.observer.publishAsync(topic, text, { qos });
  }

  async arrives(text: string): Promise<void> {
    await until(`${text} at the broker`, () => this.seen.has(text), 30_000);
  }

  session(clientId: string): SessionView | undefined {
    return this.gateway.sessions().find((session) => session.clientId === clientId);
  }

  /** The process that has the adapter. */
  childPid(): number | undefined {
    return childrenOf(process.pid).find((pid) =>
      readFileSync(`/proc/${pid}/cmdline`, "utf8").includes("/ble/child.js"),
    );
  }

  async close(): Promise<void> {
    for (const device of this.#devices) device.close();
    await this.observer.endAsync(true);
    await this.gateway.stop();
    await this.broker.dispose();
    await this.air?.close();
    if ((process.env["TEST_LOG"] ?? "silent") !== "silent") console.error(this.logged().join("\n"));
    closeSync(this.#log.file);
    rmSync(this.#log.folder, { recursive: true });
  }
}

interface Log {
  readonly folder: string;
  readonly path: string;
  readonly file: number;
}

function openLog(): Log {
  const folder = mkdtempSync(join(tmpdir(), "log-"));
  const path = join(folder, "log");
  return { folder, path, file: openSync(path, "a") };
}

function childrenOf(pid: number): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => {
      try {
        const parent = / \d+ \((?:.*)\) \S (\d+)/s.exec(` ${readFileSync(`/proc/${name}/stat`, "utf8")}`)?.[1];
        return Number(parent) === pid ? [Number(name)] : [];
      } catch {
        return []; // it has ended meanwhile
      }
    });
}
