/**
 * A mosquitto for tests: the installed one, or one unpacked into `.cache/tools` (never installed, never a service).
 * Where neither can be had, `findMosquitto` says why, and the test that needs it is skipped by name; in CI it fails.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectTcp, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(fileURLToPath(import.meta.url), "../../..");
const cache = join(root, ".cache/tools/mosquitto");
export const fixture = (name: string): string => join(root, "test/helpers/fixtures", name);

interface Program {
  readonly path: string;
  readonly libraries: string | undefined;
}

export function findMosquitto(): Program | { readonly missing: string } {
  for (const folder of [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"]) {
    const path = join(folder, "mosquitto");
    if (existsSync(path)) return { path, libraries: undefined };
  }
  const unpacked = { path: join(cache, "usr/sbin/mosquitto"), libraries: libraryFolders() };
  if (existsSync(unpacked.path)) return unpacked;
  try {
    mkdirSync(cache, { recursive: true });
    const packages = [
      "mosquitto",
      "libmosquitto1",
      "libcjson1",
      "libdlt2",
      "libwebsockets17",
      "libev4",
      "libuv1",
      "libcap2",
      "libsystemd0",
      "libwrap0",
    ];
    for (const name of packages) {
      try {
        execFileSync("apt-get", ["download", name], { cwd: cache, stdio: "ignore" });
      } catch {
        // Not every Debian has every library under this name; what is really missing shows when it is started.
      }
    }
    for (const file of readdirSync(cache).filter((name) => name.endsWith(".deb"))) {
      execFileSync("dpkg", ["-x", file, "."], { cwd: cache, stdio: "ignore" });
    }
    execFileSync(unpacked.path, ["-h"], {
      env: { ...process.env, LD_LIBRARY_PATH: libraryFolders() },
      stdio: "ignore",
    });
  } catch (error) {
    const { status } = error as { status?: number };
    if (status === 3 || status === 0) return { path: unpacked.path, libraries: libraryFolders() }; // -h ends with 3
    return {
      missing: `mosquitto is not installed and could not be unpacked: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
  return { path: unpacked.path, libraries: libraryFolders() };
}

function libraryFolders(): string {
  const base = join(cache, "usr/lib");
  if (!existsSync(base)) return base;
  return [base, ...readdirSync(base).map((name) => join(base, name))].join(":");
}

export async function freePort(): Promise<number> {
  return await new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => done(typeof address === "object" && address ? address.port : 0));
    });
  });
}

/** mosquitto with a plain and a TLS listener; what it stores survives `stop` and `start`. */
export class Mosquitto {
  readonly #program: Program;
  readonly #folder = mkdtempSync(join(tmpdir(), "mosquitto-"));
  readonly plainPort: number;
  readonly tlsPort: number;
  #process: ChildProcess | undefined;

  private constructor(program: Program, ports: { plain: number; tls: number }) {
    this.#program = program;
    this.plainPort = ports.plain;
    this.tlsPort = ports.tls;
    const lines = [
      "per_listener_settings true",
      "persistence true",
      `persistence_location ${this.#folder}/`,
      "autosave_interval 1",
      "max_queued_messages 100000",
      "log_dest none",
      ...(process.getuid?.() === 0 ? ["user root"] : []),
      `listener ${ports.plain} 127.0.0.1`,
      "allow_anonymous true",
      `listener ${ports.tls} 127.0.0.1`,
      "allow_anonymous true",
      `cafile ${fixture("ca.pem")}`,
      `certfile ${fixture("server.pem")}`,
      `keyfile ${fixture("server-key.pem")}`,
      "require_certificate true",
    ];
    writeFileSync(join(this.#folder, "mosquitto.conf"), `${lines.join("\n")}\n`);
  }

  static async create(program: Program): Promise<Mosquitto> {
    const mosquitto = new Mosquitto(program, { plain: await freePort(), tls: await freePort() });
    await mosquitto.start();
    return mosquitto;
  }

  async start(): Promise<void> {
    const { path, libraries } = this.#program;
    const env = libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: libraries };
    this.#process = spawn(path, ["-c", join(this.#folder, "mosquitto.conf")], { env, stdio: "ignore" });
    for (let tries = 0; tries < 200; tries++) {
      if (await answers(this.plainPort)) return;
      if (this.#process.exitCode !== null) break;
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

  async dispose(): Promise<void> {
    await this.stop();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

function answers(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = connectTcp({ port, host: "127.0.0.1" });
    socket.once("connect", () => {
      socket.destroy();
      done(true);
    });
    socket.once("error", () => done(false));
  });
}
