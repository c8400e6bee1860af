/** What takes part in a measurement: the load, the echo that is the limit, the gateway, and a peer's gateway. */
import { type ChildProcess, execFileSync, fork, spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { fixture } from "../helpers/mosquitto.ts";

const here = import.meta.dirname;
const cache = resolve(here, "../../.cache/bench");

/** One line of the load generator; see load.c. */
export interface Measured {
  readonly mode: string;
  readonly n: number;
  readonly seconds: number;
  readonly messages: number;
  readonly per_s: number;
  readonly per_cpu_s: number;
  readonly cpu_s: number;
  readonly rss_kb: number;
  readonly answer_p50_ms: number;
  readonly answer_p99_ms: number;
  readonly way_p50_ms: number;
  readonly way_p99_ms: number;
  readonly sent: number;
  readonly delivered: number;
  readonly lost: number;
  readonly duplicates: number;
  readonly misrouted: number;
  readonly repeats: number;
  readonly gave_up: number;
  readonly pings: number;
  readonly kernel_drops: number;
}

export type Mode = "transparent" | "aggregating";

/** Something under load. */
export interface Target {
  readonly name: string;
  readonly pid: number;
  readonly port: number;
  close(): Promise<void>;
}

export interface Memory {
  readonly rss: number;
  readonly heapUsed: number;
  readonly external: number;
}

export type Generator = "c" | "node";

/** The generator in C where it can be compiled; else the one in JavaScript, which is slower and takes fewer devices. */
export const generator: Generator =
  process.env["BENCH_GENERATOR"] === "node" || spawnSync("cc", ["--version"]).status !== 0 ? "node" : "c";

/** Compiles the load generator if one of its sources is newer. */
function compiledGenerator(): string {
  const sources = ["load.c", "load-broker.c", "load-devices.c", "load-measure.c"].map((name) => join(here, name));
  const program = join(cache, "load");
  mkdirSync(cache, { recursive: true });
  const isOld = (source: string) => statSync(program).mtimeMs < statSync(source).mtimeMs;
  if (!existsSync(program) || [...sources, join(here, "load.h")].some(isOld)) {
    execFileSync("cc", ["-O2", "-Wall", "-Wextra", "-o", program, ...sources], { stdio: "pipe" });
  }
  return program;
}

/** Runs the load generator once. @throws with its words when it could not do its work. */
export function load(
  target: Target,
  brokerPort: number,
  args: readonly string[],
  by: Generator = generator,
): Promise<Measured> {
  return finished(startLoad(target, brokerPort, args, by));
}

/**
 * The same, side by side and by turns: each load runs for `sliceMs` while the others are stopped (SIGSTOP), so that other
 * work on the machine meets all of them alike. A stopped load leaves its target with nothing to do. What is measured of time
 * (rates, latencies) is worth nothing; messages per CPU second are. @throws as `load`, when all have ended.
 */
export async function loadByTurns(
  brokerPort: number,
  loads: readonly { readonly target: Target; readonly args: readonly string[] }[],
  sliceMs: number,
): Promise<Measured[]> {
  const children: ChildProcess[] = [];
  const ends: Promise<Measured>[] = [];
  let isOver = false;
  for (const { target, args } of loads) {
    const child = startLoad(target, brokerPort, args, generator);
    const end = finished(child);
    const over = () => {
      isOver = true;
    };
    end.then(over, over);
    children.push(child);
    ends.push(end);
    await pause(150); // its devices connect
    child.kill("SIGSTOP");
  }
  while (!isOver) {
    for (const child of children) {
      child.kill("SIGCONT");
      await pause(sliceMs);
      child.kill("SIGSTOP");
    }
  }
  for (const child of children) child.kill("SIGCONT");
  return (await Promise.allSettled(ends)).map((end) => {
    if (end.status === "rejected") throw end.reason;
    return end.value;
  });
}

const pause = (milliseconds: number) => new Promise<void>((done) => setTimeout(done, milliseconds));

function startLoad(target: Target, brokerPort: number, args: readonly string[], by: Generator): ChildProcess {
  const places = ["-g", `127.0.0.1:${target.port}`, "-b", `127.0.0.1:${brokerPort}`, "-p", String(target.pid)];
  const [program, script] = by === "c" ? [compiledGenerator(), []] : [process.execPath, [join(here, "load.mjs")]];
  return spawn(program, [...script, ...places, ...args], { stdio: ["pipe", "pipe", "pipe"] });
}

function finished(child: ChildProcess): Promise<Measured> {
  return new Promise((done, failed) => {
    let out = "";
    let words = "";
    child.stdout?.on("data", (chunk) => {
      out += String(chunk);
    });
    child.stderr?.on("data", (chunk) => {
      words += String(chunk);
    });
    child.once("close", (code) => {
      if (code !== 0) return failed(new Error(words.trim() || `the load generator ended with ${code}`));
      done(JSON.parse(out.slice(out.indexOf("{"))) as Measured);
    });
  });
}

/** Devices that are connected, registered and subscribed, and then send nothing until they are released. */
export async function idleDevices(
  target: Target,
  brokerPort: number,
  args: readonly string[],
): Promise<{ leave(): Promise<Measured> }> {
  const child = startLoad(target, brokerPort, ["-m", "idle", ...args], generator);
  const end = finished(child);
  await Promise.race([
    end,
    new Promise<void>((ready) => child.stdout?.once("data", () => ready())), // READY
  ]);
  return {
    leave: () => {
      child.stdin?.end();
      return end;
    },
  };
}

/** A plain UDP echo in Node. */
export async function startEcho(): Promise<Target> {
  const child = spawn(process.execPath, [join(here, "echo.mjs")], { stdio: ["ignore", "pipe", "inherit"] });
  const port = await new Promise<number>((done) => {
    createInterface({ input: child.stdout }).once("line", (line) => done(Number(line)));
  });
  return { name: "echo", pid: child.pid ?? 0, port, close: () => ended(child, () => child.kill("SIGKILL")) };
}

export interface GatewayTarget extends Target {
  /** After a forced garbage collection. */
  memory(): Promise<Memory>;
}

export interface GatewayOptions {
  readonly tls?: boolean;
  readonly store?: boolean;
  /** The folder of another built version of the project, and what that one is called at the broker. */
  readonly root?: string;
  readonly name?: string;
  readonly logLevel?: "warn" | "error";
  /** A planted loss of speed: so many turns of a loop that does nothing, for each input of the core. See gateway.mjs. */
  readonly burden?: number;
}

let gateways = 0;

/** The built gateway; sessions on disk if `store` says so. */
export async function startGateway(
  mode: Mode,
  broker: { readonly plainPort: number; readonly tlsPort: number },
  options: GatewayOptions = {},
): Promise<GatewayTarget> {
  const folder = options.store ? mkdtempSync(join(tmpdir(), "bench-")) : undefined;
  const tls = { ca: fixture("ca.pem"), cert: fixture("client.pem"), key: fixture("client-key.pem") };
  const config = {
    transports: [{ type: "udp", host: "127.0.0.1", port: 0 }],
    upstream: {
      ...(mode === "aggregating" && { mode }),
      serviceClientId: options.name ?? `bench-${mode}-${gateways++}`, // two gateways at one broker must not take each other over
      url: options.tls ? `mqtts://localhost:${broker.tlsPort}` : `mqtt://127.0.0.1:${broker.plainPort}`,
      ...(options.tls && { tls }),
    },
    clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0, sessionsMax: 200_000, sessionsPerHostMax: 0 },
    api: { enabled: false },
    store: folder === undefined ? { kind: "memory" } : { kind: "disk", folder },
    log: { level: options.logLevel ?? "warn", format: "json" },
  };
  const child = fork(join(options.root ?? resolve(here, "../.."), "test/bench/gateway.mjs"), [JSON.stringify(config)], {
    execArgv: ["--expose-gc"],
    env: { ...process.env, BENCH_BURDEN: String(options.burden ?? 0) },
    stdio: ["ignore", "inherit", "inherit", "ipc"],
  });
  const { ready } = await answerOf<{ ready: string }>(child);
  return {
    name: mode,
    pid: child.pid ?? 0,
    port: Number(ready.slice(ready.lastIndexOf(":") + 1)),
    memory: async () => {
      child.send("memory");
      return (await answerOf<{ memory: Memory }>(child)).memory;
    },
    close: async () => {
      await ended(child, () => child.disconnect());
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

function answerOf<Answer>(child: ChildProcess): Promise<Answer> {
  return new Promise((done, failed) => {
    const onExit = () => failed(new Error("the gateway ended"));
    child.once("exit", onExit);
    child.once("message", (message) => {
      child.off("exit", onExit);
      done(message as Answer);
    });
  });
}

/**
 * Another gateway, beside ours: `{udp}` and `{broker}` in the command become ports. Nothing else is known of it; it is
 * given two seconds to begin.
 */
export async function startPeer(peer: string, udpPort: number, brokerPort: number): Promise<Target> {
  const [name = "", ...rest] = peer.split("=");
  const command = rest.join("=").replaceAll("{udp}", String(udpPort)).replaceAll("{broker}", String(brokerPort));
  const child = spawn("sh", ["-c", `exec ${command}`], { stdio: "ignore" });
  await new Promise((done) => setTimeout(done, 2_000));
  if (child.exitCode !== null) throw new Error(`${name} ended: ${command}`);
  return { name, pid: child.pid ?? 0, port: udpPort, close: () => ended(child, () => child.kill("SIGTERM")) };
}

async function ended(child: ChildProcess, end: () => void): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const over = new Promise<void>((done) => child.once("exit", () => done()));
  end();
  const deadline = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await over;
  clearTimeout(deadline);
}
