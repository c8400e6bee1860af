/** The real gateway as a process that can be killed, and what it says while it runs. */
import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { until } from "../helpers/test-gateway.ts";

const main = resolve(import.meta.dirname, "../../dist/main.js");

export class MortalGateway {
  readonly folder = mkdtempSync(join(tmpdir(), "crash-"));
  readonly port: number;
  #process: ChildProcess | undefined;
  #isKilled = false;
  /** The end of what it said, for a look after a failure. */
  log = "";
  /** Its reports of damage to the store, over all its runs; and ends without a signal. */
  readonly complaints: string[] = [];
  /** How often it said that the store does not take what it is given. */
  storeFailures = 0;
  ready = false;

  constructor(port: number, config: Record<string, unknown>) {
    this.port = port;
    const transports = [{ type: "udp", host: "127.0.0.1", port }];
    writeFileSync(
      join(this.folder, "gateway.config.json"),
      JSON.stringify({ transports, api: { enabled: false }, log: { level: "debug", format: "json" }, ...config }),
    );
  }

  async start(): Promise<void> {
    this.spawn();
    await this.isReady();
  }

  /** Throws what it said, if it ended instead. */
  async isReady(): Promise<void> {
    const before = this.complaints.length;
    await until("the gateway is ready", () => this.ready || this.complaints.length > before, 30_000);
    if (!this.ready) throw new Error(this.complaints.at(-1));
  }

  /** Does not wait until it is ready. */
  spawn(): void {
    const running = spawn(process.execPath, [main, "start"], { cwd: this.folder, stdio: ["ignore", "pipe", "pipe"] });
    this.#process = running;
    this.#isKilled = false;
    this.ready = false;
    let rest = "";
    for (const stream of [running.stdout, running.stderr]) {
      stream.on("data", (text) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) this.#said(line);
      });
    }
    running.once("exit", (code, signal) => {
      if (!this.#isKilled)
        this.complaints.push(`it ended by itself: ${code ?? signal} after ${this.log.slice(-1_000)}`);
    });
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const running = this.#process;
    if (!running || running.exitCode !== null || running.signalCode !== null) return;
    this.#isKilled = true;
    const gone = new Promise((done) => running.once("exit", done));
    running.kill(signal);
    await gone;
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #said(line: string): void {
    this.log = (this.log + line).slice(-200_000);
    if (process.env["CRASH_LOG"]) appendFileSync(process.env["CRASH_LOG"], `${line}\n`);
    if (line.includes('"ready: ')) this.ready = true;
    if (line.includes("the session store failed") || line.includes("cannot be opened")) this.storeFailures++;
    else if (/"store: |"level":(60|"fatal")|Error:/.test(line) && !line.includes('"level":20'))
      this.complaints.push(line.slice(0, 500));
  }
}
