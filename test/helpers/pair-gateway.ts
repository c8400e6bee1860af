/** One of a pair, as a process that is started again when it gives up, as systemd does. */
import { type ChildProcess, spawn } from "node:child_process";
import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { until } from "./test-gateway.ts";

const main = resolve(import.meta.dirname, "../../dist/main.js");

export class PairGateway {
  readonly name: string;
  readonly folder = mkdtempSync(join(tmpdir(), "pair-"));
  #process: ChildProcess | undefined;
  #ended: Promise<unknown> = Promise.resolve();
  #isRemoved = false;
  /** Of this run. */
  lines: string[] = [];
  /** Of all runs: how each ended. */
  readonly ends: string[] = [];
  readonly errors: string[] = [];

  constructor(name: string, config: Record<string, unknown>) {
    this.name = name;
    writeFileSync(join(this.folder, "gateway.config.json"), JSON.stringify(config));
  }

  start(): void {
    const running = spawn(process.execPath, [main, "start"], { cwd: this.folder, stdio: ["ignore", "pipe", "pipe"] });
    this.#process = running;
    this.lines = [];
    let rest = "";
    for (const stream of [running.stdout, running.stderr])
      stream.on("data", (text) => {
        const lines = (rest + text).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) this.#said(line);
      });
    this.#ended = new Promise((done) =>
      running.once("exit", (code, signal) => {
        this.ends.push(String(code ?? signal));
        done(undefined);
        // As systemd does, for the status of one that is not the active one any more.
        if (code === 75 && !this.#isRemoved) this.start();
      }),
    );
  }

  #said(line: string): void {
    this.lines.push(line);
    if (process.env["PAIR_LOG"]) appendFileSync(process.env["PAIR_LOG"], `${this.name} ${line}\n`);
    if (/"level":(50|60)/.test(line)) this.errors.push(line);
  }

  get pid(): number | undefined {
    return this.#process?.pid;
  }

  signal(signal: NodeJS.Signals): void {
    this.#process?.kill(signal);
  }

  /** SIGSTOP was sent, and no SIGCONT since. */
  isStopped = false;

  stopForAWhile(): void {
    this.isStopped = true;
    this.signal("SIGSTOP");
  }

  goOn(): void {
    this.isStopped = false;
    this.signal("SIGCONT");
  }

  /** Ends this run; answers how it ended. */
  async end(signal: NodeJS.Signals): Promise<string | undefined> {
    const ended = this.#ended;
    this.signal(signal);
    await ended;
    return this.ends.at(-1);
  }

  has(words: string): boolean {
    return this.lines.some((line) => line.includes(words));
  }

  get isServing(): boolean {
    return this.isRunning && this.has('"ready: ');
  }

  get isStandby(): boolean {
    return this.isRunning && this.has('"standby: ') && !this.has("is active now");
  }

  get isRunning(): boolean {
    return this.#process !== undefined && this.#process.exitCode === null && this.#process.signalCode === null;
  }

  serves(withinMs?: number): Promise<void> {
    return until(`${this.name} serves`, () => this.isServing, withinMs);
  }

  standsBy(): Promise<void> {
    return until(`${this.name} stands by`, () => this.isStandby);
  }

  /** A command by the control socket. */
  ask(path: string, method = "GET"): Promise<{ readonly status: number; readonly body: string }> {
    return new Promise((done, failed) => {
      const asked = request({ socketPath: join(this.folder, "data/control.sock"), path, method }, (response) => {
        let body = "";
        response.on("data", (data) => {
          body += data;
        });
        response.on("end", () => done({ status: response.statusCode ?? 0, body }));
      });
      asked.on("error", failed);
      asked.end();
    });
  }

  async remove(): Promise<void> {
    this.#isRemoved = true;
    if (this.isRunning) await this.end("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}
