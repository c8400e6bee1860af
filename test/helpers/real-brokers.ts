/** Well-known brokers, for tests: each on loopback with its own ports and folder, ended by its process id. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Aedes } from "aedes";
import { installed } from "./debian-packages.mjs";
import { type FoundNats, type FoundRabbit, findNats, findRabbit } from "./find-brokers.mjs";
import { findMosquitto, Mosquitto } from "./mosquitto.ts";
import { answers, freePorts } from "./ports.ts";

export interface RealBroker {
  readonly port: number;
  /** Nothing of it is left. */
  dispose(): Promise<void>;
}

export interface BrokerKind {
  readonly name: string;
  /** Undefined: it is here. */
  readonly missing: string | undefined;
  start(): Promise<RealBroker>;
}

/** `lines` are further lines of mosquitto's configuration, for its plain listener. */
export function mosquitto(lines: readonly string[] = []): BrokerKind {
  const program = findMosquitto();
  if ("missing" in program) return absent("mosquitto", program.missing);
  const start = async (): Promise<RealBroker> => {
    const broker = await Mosquitto.create(program, lines);
    return { port: broker.plainPort, dispose: () => broker.dispose() };
  };
  return { name: "mosquitto", missing: undefined, start };
}

export function nats(): BrokerKind {
  const program = findNats();
  if ("missing" in program) return absent("NATS", program.missing);
  return { name: "NATS", missing: undefined, start: () => tried(() => startNats(program)) };
}

export function rabbit(): BrokerKind {
  const program = findRabbit();
  if ("missing" in program) return absent("RabbitMQ", program.missing);
  return { name: "RabbitMQ", missing: undefined, start: () => tried(() => startRabbit(program)) };
}

/** In this process; it keeps nothing. */
export function aedes(): BrokerKind {
  return { name: "aedes", missing: undefined, start: startAedes };
}

function absent(name: string, missing: string): BrokerKind {
  const start = () => Promise.reject(new Error(missing));
  return { name, missing, start };
}

/** A port that was free may be taken before the program has it: then other ones are tried. */
async function tried<T>(start: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await start();
    } catch (error) {
      if (tries === 2) throw error;
    }
  }
}

async function startNats({ path }: FoundNats): Promise<RealBroker> {
  const folder = mkdtempSync(join(tmpdir(), "nats-"));
  const [port = 0, own = 0] = await freePorts(2);
  const config = join(folder, "nats.conf");
  const lines = [
    "server_name: test", // its MQTT asks for one
    `listen: "127.0.0.1:${own}"`,
    `jetstream { store_dir: "${folder}/store" }`,
    `mqtt { listen: "127.0.0.1:${port}" }`,
  ];
  writeFileSync(config, `${lines.join("\n")}\n`);
  const program = new Program(path, ["-c", config], { cwd: folder, env: process.env });
  const dispose = async () => {
    await program.end();
    rmSync(folder, { recursive: true, force: true });
  };
  await program.answersAt(port).catch(async (error: unknown) => {
    await dispose();
    throw error;
  });
  return { port, dispose };
}

/** With its own name service (epmd): the usual one would keep running, on a port that all programs share. */
async function startRabbit({ erlang, rabbit: home, libraries }: FoundRabbit): Promise<RealBroker> {
  const folder = mkdtempSync(join(tmpdir(), "rabbitmq-"));
  const [port = 0, amqp = 0, distribution = 0, names = 0] = await freePorts(4);
  for (const name of ["data", "log"]) mkdirSync(join(folder, name));
  writeFileSync(join(folder, "plugins"), "[rabbitmq_mqtt].\n");
  const lines = [
    `mqtt.listeners.tcp.1 = 127.0.0.1:${port}`,
    "mqtt.allow_anonymous = true",
    `listeners.tcp.1 = 127.0.0.1:${amqp}`,
    "log.console = false",
  ];
  writeFileSync(join(folder, "rabbitmq.conf"), `${lines.join("\n")}\n`);
  const programs = join(erlang, readdirSync(erlang).find((name) => name.startsWith("erts-")) ?? "", "bin");
  const env = {
    PATH: process.env["PATH"],
    HOME: folder, // the cookie of Erlang
    ROOTDIR: erlang,
    BINDIR: programs,
    EMU: "beam",
    PROGNAME: "erl",
    ERL_LIBS: join(home, "plugins"),
    ERL_EPMD_ADDRESS: "127.0.0.1",
    ERL_EPMD_PORT: String(names),
    RABBITMQ_HOME: home,
    RABBITMQ_NODENAME: `test${port}@localhost`,
    RABBITMQ_DIST_PORT: String(distribution),
    RABBITMQ_MNESIA_BASE: join(folder, "data"),
    RABBITMQ_LOG_BASE: join(folder, "log"),
    RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq"),
    RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "plugins"),
    RABBITMQ_PLUGINS_DIR: join(home, "plugins"),
    RABBITMQ_PID_FILE: join(folder, "pid"),
    ...(libraries !== undefined && { LD_LIBRARY_PATH: libraries }),
  };
  const erlangOptions = [
    ...["-noinput", "-boot", "start_sasl", "-s", "rabbit", "boot", "+W", "w", "+S", "1:1", "+sbwt", "none"],
    ...["-kernel", "inet_dist_use_interface", "{127,0,0,1}", "-kernel", "prevent_overlapping_partitions", "false"],
    ...["-syslog", "logger", "[]", "-syslog", "syslog_error_logger", "false"],
  ];
  const nameService = new Program(join(programs, "epmd"), [], { cwd: folder, env });
  const broker = new Program(join(programs, "erlexec"), erlangOptions, { cwd: folder, env });
  const dispose = async () => {
    await broker.end();
    await nameService.end();
    rmSync(folder, { recursive: true, force: true });
  };
  await broker.answersAt(port, 90_000).catch(async (error: unknown) => {
    await dispose();
    throw error;
  });
  return { port, dispose };
}

async function startAedes(): Promise<RealBroker> {
  const broker = await Aedes.createBroker();
  const server: Server = createServer(broker.handle);
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const address = server.address();
  const dispose = async () => {
    const closed = new Promise<void>((done) => server.close(() => done()));
    await new Promise<void>((done) => broker.close(() => done()));
    await closed;
  };
  return { port: typeof address === "object" && address ? address.port : 0, dispose };
}

/** A program of a test: it ends with the test, however that ends: where `setpriv` is there, also if this process is killed. */
class Program {
  readonly #process: ChildProcess;
  readonly #path: string;
  readonly #atExit = () => this.#process.kill("SIGKILL");

  constructor(path: string, args: readonly string[], options: { cwd: string; env: NodeJS.ProcessEnv }) {
    this.#path = path;
    const [program, words] = guard === undefined ? [path, args] : [guard, ["--pdeathsig", "KILL", "--", path, ...args]];
    this.#process = spawn(program, words, { ...options, stdio: "ignore" });
    this.#process.on("error", () => {}); // seen as a program that does not answer
    process.once("exit", this.#atExit);
  }

  get #isOver(): boolean {
    return this.#process.pid === undefined || this.#process.exitCode !== null || this.#process.signalCode !== null;
  }

  async answersAt(port: number, patienceMs = 20_000): Promise<void> {
    for (const end = Date.now() + patienceMs; Date.now() < end && !this.#isOver; ) {
      if (await answers(port)) return;
      await new Promise((done) => setTimeout(done, 50));
    }
    throw new Error(`${this.#path} did not start`);
  }

  /** In order, if it does so within ten seconds. */
  async end(): Promise<void> {
    process.off("exit", this.#atExit);
    if (this.#isOver) return;
    const hurry = setTimeout(() => this.#process.kill("SIGKILL"), 10_000);
    await new Promise<void>((done) => {
      this.#process.once("exit", () => done());
      this.#process.kill("SIGTERM");
    });
    clearTimeout(hurry);
  }
}

/** From util-linux; it becomes the program that it starts. */
const guard = installed("setpriv");
