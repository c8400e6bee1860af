/** A redis-server for one test, found or unpacked by find-redis.mjs: on the loopback, with its own folder. */
import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Redis } from "ioredis";
import { findRedis } from "./find-redis.mjs";
import { freePort } from "./ports.ts";

export { findRedis };

interface Program {
  readonly path: string;
  readonly libraries: string | undefined;
}

export class RedisServer {
  readonly #program: Program;
  readonly folder = mkdtempSync(join(tmpdir(), "redis-"));
  readonly port: number;
  readonly #settings: Readonly<Record<string, string>>;
  #process: ChildProcess | undefined;

  private constructor(program: Program, port: number, settings: Readonly<Record<string, string>>) {
    this.#program = program;
    this.port = port;
    this.#settings = settings;
  }

  /** `settings` as in redis.conf; everything is logged with `appendonly`, flushed each second, if they do not say otherwise. */
  static async create(program: Program, settings: Readonly<Record<string, string>> = {}): Promise<RedisServer> {
    for (let tries = 1; ; tries++) {
      const server = new RedisServer(program, await freePort(), settings);
      try {
        await server.start();
        return server;
      } catch (error) {
        server.remove();
        if (tries === 3) throw error;
      }
    }
  }

  /** With `tls-cert-file` among its settings it speaks nothing but TLS. */
  get #isTls(): boolean {
    return this.#settings["tls-cert-file"] !== undefined;
  }

  get url(): string {
    return this.#isTls ? `rediss://localhost:${this.port}` : `redis://127.0.0.1:${this.port}`;
  }

  async start(): Promise<void> {
    const { path, libraries } = this.#program;
    const env = libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: libraries };
    const settings = {
      ...(this.#isTls ? { port: "0", "tls-port": String(this.port) } : { port: String(this.port) }),
      bind: "127.0.0.1",
      dir: this.folder,
      save: "",
      appendonly: "yes",
      logfile: join(this.folder, "log"),
      ...this.#settings,
    };
    const words = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, ...value.split(" ")]);
    const child = spawn(path, words, { env, stdio: "ignore" });
    this.#process = child;
    const isThere = () => /Ready to accept connections/.test(this.#log());
    for (let tries = 0; tries < 400; tries++) {
      if (child.exitCode !== null || child.signalCode !== null) break;
      if (isThere()) return;
      await new Promise((done) => setTimeout(done, 25));
    }
    throw new Error(`redis-server did not start: ${this.#log().slice(-1_000)}`);
  }

  #log(): string {
    try {
      const text = readFileSync(join(this.folder, "log"), "utf8");
      const [, ...runs] = text.split("Server initialized");
      return runs.length > this.#runs ? (runs.at(-1) ?? "") : "";
    } catch {
      return "";
    }
  }

  #runs = 0;

  /** A connection for the test itself; the caller ends it. */
  client(): Redis {
    return new Redis(this.port, "127.0.0.1", { maxRetriesPerRequest: 1 });
  }

  signal(signal: "SIGSTOP" | "SIGCONT"): void {
    this.#process?.kill(signal);
  }

  /** Ends it, and waits for that. */
  async end(signal: "SIGTERM" | "SIGKILL" = "SIGTERM"): Promise<void> {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const ended = new Promise((done) => child.once("exit", done));
    child.kill("SIGCONT");
    child.kill(signal);
    await ended;
    this.#runs++;
  }

  /** The data as they lie there; to put back later, while the server does not run. */
  copyData(): () => void {
    const copy = mkdtempSync(join(tmpdir(), "redis-copy-"));
    cpSync(join(this.folder, "appendonlydir"), copy, { recursive: true });
    return () => {
      this.dropData();
      cpSync(copy, join(this.folder, "appendonlydir"), { recursive: true });
      rmSync(copy, { recursive: true });
    };
  }

  /** As after a power cut: what was written last is in the log in part. */
  cutLog(octets: number): void {
    const folder = join(this.folder, "appendonlydir");
    const name = readdirSync(folder).find((each) => each.endsWith(".incr.aof")) ?? "";
    const { size } = statSync(join(folder, name));
    truncateSync(join(folder, name), size - octets);
  }

  dropData(): void {
    rmSync(join(this.folder, "appendonlydir"), { recursive: true, force: true });
  }

  async close(): Promise<void> {
    await this.end("SIGKILL");
    this.remove();
  }

  remove(): void {
    this.#process?.kill("SIGKILL");
    rmSync(this.folder, { recursive: true, force: true });
  }
}
