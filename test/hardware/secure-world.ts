/** A broker, a gateway with DTLS as a separate process, and programs in C that are devices with keys. */
import { type ChildProcess, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import type { QoS } from "../../src/wire/fields.ts";
import { freePort } from "../helpers/ports.ts";
import { RecordingBroker } from "../helpers/recording-broker.ts";
import { until } from "../helpers/test-gateway.ts";
import { Router } from "./router.ts";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

/** Every identity's, unless a test says another. */
export const key = "00112233445566778899aabbccddeeff";
export const otherKey = "ffeeddccbbaa99887766554433221100";

/** A program that gets commands line by line, and prints what happens. */
export class ToldDevice {
  readonly lines: string[] = [];
  /** What a sanitizer says. */
  errors = "";
  readonly exit: Promise<number | null>;
  readonly #process: ChildProcess;

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

  /** What it said of its handshakes; on a machine that is busy an answer may come too late for its short patience. */
  get dtls(): readonly string[] {
    return this.lines.filter((line) => line.startsWith("dtls") && line !== "dtls no answer");
  }

  async says(line: string): Promise<void> {
    await until(line, () => this.count(line) > 0).catch((error: unknown) => {
      throw new Error(`${line}: it said ${JSON.stringify(this.lines)} ${this.errors}`, { cause: error });
    });
  }

  /** Ends after its commands, with a disconnection. */
  async ends(): Promise<void> {
    this.#process.stdin?.end();
    expect(await this.exit, this.errors).toBe(0);
    expect(this.errors).toBe("");
  }

  kill(): void {
    this.#process.kill("SIGKILL");
  }
}

export class SecureWorld {
  readonly broker: RecordingBroker;
  readonly port: number;
  readonly #folder = mkdtempSync(join(tmpdir(), "c-dtls-"));
  readonly #ends: (() => void)[] = [];
  #gateway: ChildProcess | undefined;
  /** All that the gateway printed. */
  log = "";

  private constructor(broker: RecordingBroker, port: number, store: string) {
    this.broker = broker;
    this.port = port;
    writeFileSync(
      join(this.#folder, "gateway.config.json"),
      JSON.stringify({
        transports: [{ type: "dtls", host: "127.0.0.1", port, keys: { file: "keys.json" } }],
        upstream: { url: broker.url, reconnect: { minSeconds: 0.1, maxSeconds: 0.5 } },
        retry: { intervalSeconds: 1, limit: 10 },
        store: { kind: store },
        api: { enabled: false },
        log: { level: "debug", format: "json" },
      }),
    );
  }

  static async make(identities: readonly string[], store: "disk" | "memory" = "disk"): Promise<SecureWorld> {
    const world = new SecureWorld(await RecordingBroker.start(), await freePort(), store);
    world.know(identities);
    return world;
  }

  /** These identities and no others have the key. */
  know(identities: readonly string[]): void {
    const file = join(this.#folder, "keys.json");
    writeFileSync(file, JSON.stringify(Object.fromEntries(identities.map((each) => [each, key]))));
    chmodSync(file, 0o600);
  }

  async start(): Promise<void> {
    const child = spawn(process.execPath, [main, "start"], { cwd: this.#folder });
    this.#gateway = child;
    const from = this.log.length;
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (data) => {
        this.log += data;
      });
    const isOver = () => this.log.slice(from).includes("ready: devices") || child.exitCode !== null;
    await until("the gateway", isOver, 90_000);
    expect(child.exitCode, this.log).toBeNull();
  }

  async kill(): Promise<void> {
    const child = this.#gateway;
    this.#gateway = undefined;
    if (child && child.exitCode === null) await new Promise((done) => child.once("exit", done).kill("SIGKILL"));
  }

  /** Reads the keys again. */
  reload(): void {
    this.#gateway?.kill("SIGHUP");
  }

  async close(): Promise<void> {
    for (const end of this.#ends.reverse()) end();
    await this.kill();
    await this.broker.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }

  async router(): Promise<Router> {
    const router = await Router.before(this.port);
    this.#ends.push(() => router.close());
    return router;
  }

  /** `more`: words behind the port. */
  device(program: string, identity: string, { port = this.port, deviceKey = key, more = ["1"] } = {}): ToldDevice {
    const file = join(this.#folder, `${identity}.key`);
    writeFileSync(file, `${deviceKey}\n`, { mode: 0o600 });
    const device = new ToldDevice(program, [identity, file, "127.0.0.1", String(port), ...more]);
    this.#ends.push(() => device.kill());
    return device;
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

  async logs(pattern: RegExp): Promise<void> {
    await until(`${pattern} in the log`, () => pattern.test(this.log));
  }
}
