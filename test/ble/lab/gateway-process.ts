/** The gateway as a service would run it, in a separate process, so that its memory and that of its child can be measured. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { freePort } from "../../helpers/ports.ts";
import { until } from "../../helpers/test-gateway.ts";

const root = resolve(import.meta.dirname, "../../..");

export class GatewayProcess {
  readonly #folder = mkdtempSync(join(tmpdir(), "soak-"));
  readonly udpPort: number;
  readonly #process: ChildProcess;
  output = "";

  private constructor(udpPort: number, brokerPort: number, hci: string, ble: Record<string, unknown>) {
    this.udpPort = udpPort;
    const config = {
      transports: [
        { type: "udp", host: "127.0.0.1", port: udpPort },
        { type: "ble", linksMax: 8, ...ble },
      ],
      upstream: { url: `mqtt://127.0.0.1:${brokerPort}` },
      api: { enabled: false },
      log: { level: process.env["TEST_LOG"] ?? "warn", format: "json" },
    };
    writeFileSync(join(this.#folder, "config.json"), JSON.stringify(config));
    this.#process = spawn(
      process.execPath,
      [join(root, "dist/main.js"), "start", "-c", join(this.#folder, "config.json")],
      {
        env: {
          ...process.env,
          BLE_LAB_HCI: hci,
          NODE_OPTIONS: `--require ${join(root, "test/ble/lab/hci-userland.cjs")}`,
        },
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    this.#process.stdout?.on("data", (text) => {
      this.output += text;
    });
  }

  static async start(brokerPort: number, hci: string, ble: Record<string, unknown> = {}): Promise<GatewayProcess> {
    const gateway = new GatewayProcess(await freePort(), brokerPort, hci, ble);
    await until("the child", () => gateway.child() !== undefined);
    return gateway;
  }

  child(): number | undefined {
    for (const name of readdirSync("/proc").filter((each) => /^\d+$/.test(each))) {
      try {
        const isOurs =
          readFileSync(`/proc/${name}/stat`, "utf8").split(") ")[1]?.split(" ")[1] === String(this.#process.pid);
        if (isOurs && readFileSync(`/proc/${name}/cmdline`, "utf8").includes("/ble/child.js")) return Number(name);
      } catch {
        // It has ended meanwhile.
      }
    }
    return undefined;
  }

  /** Resident memory in MB: the gateway's and its child's. */
  memory(): [gateway: number, child: number] {
    return [megabytes(this.#process.pid), megabytes(this.child())];
  }

  async close(): Promise<void> {
    if (process.env["SOAK_LOG"]) writeFileSync(process.env["SOAK_LOG"], this.output);
    const gone = new Promise((done) => this.#process.once("exit", done));
    this.#process.kill("SIGTERM");
    await gone;
    rmSync(this.#folder, { recursive: true });
  }
}

function megabytes(pid: number | undefined): number {
  try {
    return Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) / 1_024);
  } catch {
    return 0;
  }
}
