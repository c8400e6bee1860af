/** A mosquitto of a test's own, found or unpacked by find-mosquitto.mjs. */
import { type ChildProcess, spawn } from "node:child_process";
import { pbkdf2Sync } from "node:crypto";
import { copyFileSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { findMosquitto } from "./find-mosquitto.mjs";
import { answers, freePorts } from "./ports.ts";

export { findMosquitto };

const root = resolve(fileURLToPath(import.meta.url), "../../..");
export const fixture = (name: string): string => join(root, "test/helpers/fixtures", name);

interface Program {
  readonly path: string;
  readonly libraries: string | undefined;
}

/** For a file of passwords: PBKDF2-SHA512, as mosquitto stores it. */
export function passwordLine(user: string, password: string): string {
  const salt = Buffer.from("0123456789ab");
  const hash = pbkdf2Sync(password, salt, 101, 64, "sha512");
  return `${user}:$7$101$${salt.toString("base64")}$${hash.toString("base64")}\n`;
}

/** mosquitto with a plain and a TLS listener; what it stores survives `stop` and `start`. */
export class Mosquitto {
  readonly #program: Program;
  readonly #folder = mkdtempSync(join(tmpdir(), "mosquitto-"));
  readonly plainPort: number;
  readonly tlsPort: number;
  /** TLS with a pre-shared key: identity "gateway", key 0123456789abcdef. */
  readonly pskPort: number;
  /** User "user", password "barn". */
  readonly passwordPort: number;
  readonly websocketPort: number;
  #process: ChildProcess | undefined;

  private constructor(
    program: Program,
    ports: Readonly<Record<"plain" | "tls" | "psk" | "password" | "websocket", number>>,
    further: readonly string[],
  ) {
    this.#program = program;
    this.plainPort = ports.plain;
    this.tlsPort = ports.tls;
    this.pskPort = ports.psk;
    this.passwordPort = ports.password;
    this.websocketPort = ports.websocket;
    const lines = [
      "per_listener_settings true",
      "persistence true",
      `persistence_location ${this.#folder}/`,
      "autosave_interval 1",
      "max_queued_messages 100000",
      "log_dest none",
      ...further,
      ...(process.getuid?.() === 0 ? ["user root"] : []),
      `listener ${ports.plain} 127.0.0.1`,
      "allow_anonymous true",
      `listener ${ports.tls} 127.0.0.1`,
      "allow_anonymous true",
      `cafile ${fixture("ca.pem")}`,
      `certfile ${fixture("server.pem")}`,
      `keyfile ${fixture("server-key.pem")}`,
      "require_certificate true",
      `listener ${ports.psk} 127.0.0.1`,
      `psk_file ${join(this.#folder, "psk")}`,
      "psk_hint test",
      "use_identity_as_username true",
      `listener ${ports.password} 127.0.0.1`,
      "allow_anonymous false",
      `password_file ${join(this.#folder, "passwords")}`,
      `listener ${ports.websocket} 127.0.0.1`,
      "protocol websockets",
      "allow_anonymous true",
    ];
    writeFileSync(join(this.#folder, "psk"), "gateway:0123456789abcdef\n");
    writeFileSync(join(this.#folder, "passwords"), passwordLine("user", "barn"), { mode: 0o600 });
    writeFileSync(join(this.#folder, "mosquitto.conf"), `${lines.join("\n")}\n`);
  }

  /** `further` are lines for all listeners. A port that was free may be taken before mosquitto has it: then other ones are tried. */
  static async create(program: Program, further: readonly string[] = []): Promise<Mosquitto> {
    for (let tries = 1; ; tries++) {
      try {
        return await Mosquitto.#tryToCreate(program, further);
      } catch (error) {
        if (tries === 5) throw error;
      }
    }
  }

  static async #tryToCreate(program: Program, further: readonly string[]): Promise<Mosquitto> {
    const [plain = 0, tls = 0, psk = 0, password = 0, websocket = 0] = await freePorts(5);
    const mosquitto = new Mosquitto(program, { plain, tls, psk, password, websocket }, further);
    await mosquitto.start();
    return mosquitto;
  }

  async start(): Promise<void> {
    const { path, libraries } = this.#program;
    const env = libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: libraries };
    this.#process = spawn(path, ["-c", join(this.#folder, "mosquitto.conf")], { env, stdio: "ignore" });
    // It opens one listener after another and ends if one cannot be had: only when all answer it is there.
    const ports = [this.plainPort, this.tlsPort, this.pskPort, this.passwordPort, this.websocketPort];
    for (let tries = 0; tries < 200; tries++) {
      const all = await Promise.all(ports.map(answers));
      if (this.#process.exitCode !== null || this.#process.signalCode !== null) break;
      if (all.every(Boolean)) return;
      await new Promise((done) => setTimeout(done, 25));
    }
    throw new Error("mosquitto did not start");
  }

  /** SIGTERM: it stores what it holds. */
  async stop(): Promise<void> {
    const running = this.#process;
    this.#process = undefined;
    if (!running || running.exitCode !== null) return;
    await new Promise<void>((done) => {
      running.once("exit", () => done());
      running.kill("SIGTERM");
    });
  }

  /** Keeps a copy of what it stores now, for `loseMemory`. */
  async keepCopy(): Promise<void> {
    const file = join(this.#folder, "mosquitto.db");
    const savedAt = () => (existsSync(file) ? statSync(file).mtimeMs : 0);
    const before = savedAt();
    this.#process?.kill("SIGUSR1"); // it saves at once
    for (let tries = 0; tries < 200 && savedAt() === before; tries++) await new Promise((done) => setTimeout(done, 25));
    copyFileSync(file, `${file}.copy`);
  }

  /** kill -9, and up again with the copy, as after a power cut. */
  async loseMemory(): Promise<void> {
    const running = this.#process;
    await new Promise<void>((done) => {
      running?.once("exit", () => done());
      running?.kill("SIGKILL");
    });
    const file = join(this.#folder, "mosquitto.db");
    copyFileSync(`${file}.copy`, file);
    await new Promise((done) => setTimeout(done, 500)); // the gateway notices that the broker is away
    await this.start();
  }

  /** Deletes what it stored; only while it is stopped. */
  forget(): void {
    rmSync(join(this.#folder, "mosquitto.db"), { force: true });
  }

  async dispose(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
