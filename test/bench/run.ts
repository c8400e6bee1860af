/** npm run bench: everything against the echo of the same run, one round after another, medians. See scripts/bench.mjs. */
import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { test } from "vitest";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import { freePort } from "../helpers/ports.ts";
import { type Line, lines } from "./lines.ts";
import {
  generator,
  idleDevices,
  load,
  type Measured,
  type Mode,
  startEcho,
  startGateway,
  startPeer,
  type Target,
} from "./parts.ts";
import { figures, median, type Point, plot, type Result, summary, table } from "./report.ts";

const env = process.env;
const rounds = Number(env["BENCH_ROUNDS"] ?? 5);
const seconds = Number(env["BENCH_SECONDS"] ?? 2);
const modes = (env["BENCH_MODES"] ?? "transparent,aggregating").split(",").filter(Boolean) as Mode[];
const peers = JSON.parse(env["BENCH_PEERS"] ?? "[]") as string[];
const folder = resolve(import.meta.dirname, "../..", env["BENCH_OUT"] ?? ".cache/bench");
const wanted = env["BENCH_LINES"] === undefined ? undefined : new RegExp(env["BENCH_LINES"]);
const isWanted = (id: string) => wanted === undefined || wanted.test(id);

const say = (text: string) => process.stdout.write(`${text}\n`);

test("bench", async () => {
  const program = findMosquitto();
  if ("missing" in program) {
    say(`bench: not run: ${program.missing}`);
    return;
  }
  if (generator === "node")
    say(
      "no C compiler: the load comes from test/bench/load.mjs, slower; memory and growth, which need 100,000 devices, are left out",
    );
  mkdirSync(folder, { recursive: true });
  say(`Node ${process.version}, ${cpus().length} x ${cpus()[0]?.model}, ${rounds} rounds of ${seconds} s, medians`);
  const broker = await Mosquitto.create(program);
  const echo = await startEcho();
  const results: Result[] = [];
  try {
    const isMade = ({ isAsked }: Line) => isAsked !== true || (wanted !== undefined && generator === "c");
    for (const line of lines.filter((each) => isWanted(each.id) && isMade(each))) {
      results.push(...(await measure(line, echo, broker)));
      say(table(results.slice(-1 - (modes.length + peers.length - 1))));
    }
    const memory = generator === "c" && isWanted("memory") ? await memories(broker) : [];
    const growth = generator === "c" && isWanted("growth") ? await growths(broker) : new Map<string, Point[]>();
    say(`\n${table(results)}\n`);
    for (const entry of memory) say(`memory: ${JSON.stringify(entry)}`);
    if (growth.size > 0) {
      writeFileSync(join(folder, "growth.svg"), plot("CPU microseconds per message (QoS 1 up, 100 devices)", growth));
      for (const [mode, points] of growth) say(`growth: ${mode}: ${JSON.stringify(points)}`);
    }
    const node = process.version;
    const commit = commitId();
    const summaries = results.map((result) => summary(result));
    writeFileSync(
      join(folder, "bench.json"),
      `${JSON.stringify({ node, commit, rounds, seconds, lines: summaries, memory, growth: [...growth] }, undefined, 1)}\n`,
    );
    const machine = `${cpus().length} x ${cpus()[0]?.model}, Node ${node}`;
    const date = new Date().toISOString().slice(0, 10);
    const command = process.env["BENCH_COMMAND"] ?? null;
    const kept = { machine, date, commit, command, ...figures(results) };
    writeFileSync(join(folder, "figures.json"), `${JSON.stringify(kept, undefined, 2)}\n`);
    say(`${join(folder, "bench.json")}; for docs/measurements/figures: ${join(folder, "figures.json")}`);
  } finally {
    await echo.close();
    await broker.dispose();
  }
});

function commitId(): string {
  try {
    return execFileSync("git", ["rev-parse", "--short", "HEAD"], { cwd: import.meta.dirname, stdio: "pipe" })
      .toString()
      .trim();
  } catch {
    return "";
  }
}

async function targetsFor(broker: Mosquitto): Promise<Target[]> {
  const targets: Target[] = [];
  for (const mode of modes) targets.push(await startGateway(mode, broker));
  for (const peer of peers) targets.push(await startPeer(peer, await freePort(), broker.plainPort));
  return targets;
}

/** One line for every gateway: first once to warm up, then by turns with the echo. A failure is reported, and left out. */
async function measure(line: Line, echo: Target, broker: Mosquitto): Promise<Result[]> {
  const targets = await targetsFor(broker);
  const runs = new Map<string, Measured[]>(targets.map(({ name }) => [name, []]));
  const limits = new Map<string, number[]>(targets.map(({ name }) => [name, []]));
  const args = [...line.args, ...(line.timed ? ["-d", String(seconds)] : [])];
  const failed = new Set<string>();
  try {
    for (let round = 0; round <= rounds; round++) {
      const { per_cpu_s: limit } = await load(echo, broker.plainPort, [
        "-m",
        "echo",
        "-w",
        "50",
        "-n",
        "100",
        "-d",
        "1",
      ]);
      for (const [i, target] of targets.entries()) {
        if (failed.has(target.name)) continue;
        try {
          const run = await load(target, broker.plainPort, [
            ...args,
            "-i",
            `b${i}${line.sameDevices ? 0 : round % 10}`,
          ]);
          if (round === 0) continue;
          runs.get(target.name)?.push(run);
          limits.get(target.name)?.push(limit);
        } catch (error) {
          failed.add(target.name);
          say(`${line.title}: ${target.name}: ${error instanceof Error ? error.message : String(error)}`);
        }
      }
    }
  } finally {
    for (const target of targets) await target.close();
  }
  return targets.flatMap(({ name }) => {
    const measured = runs.get(name) ?? [];
    return measured.length === 0 ? [] : [{ line, target: name, runs: measured, echo: limits.get(name) ?? [] }];
  });
}

/** Growth per idle client: connected, one topic id, one subscription, sessions on disk, after a forced collection. */
async function memories(broker: Mosquitto) {
  const cases = [
    { mode: "aggregating", tls: false, few: 10_000, many: 100_000 },
    { mode: "transparent", tls: false, few: 500, many: 2_000 },
    { mode: "transparent", tls: true, few: 500, many: 2_000 },
  ] as const;
  const out = [];
  for (const { mode, tls, few, many } of cases) {
    if (!modes.includes(mode)) continue;
    const gateway = await startGateway(mode, broker, { tls, store: true });
    try {
      const first = await idleDevices(gateway, broker.plainPort, ["-n", String(few), "-w", "200", "-i", "mf"]);
      const before = await gateway.memory();
      const second = await idleDevices(gateway, broker.plainPort, ["-n", String(many - few), "-w", "200", "-i", "mm"]);
      const after = await gateway.memory();
      await first.leave();
      await second.leave();
      const per = (what: "rss" | "heapUsed" | "external") => Math.round((after[what] - before[what]) / (many - few));
      const entry = {
        mode,
        tls,
        few,
        many,
        rssBytes: per("rss"),
        heapBytes: per("heapUsed"),
        externalBytes: per("external"),
        rssMb: Math.round(after.rss / 1e6),
      };
      say(`memory per idle client: ${JSON.stringify(entry)}`);
      out.push(entry);
    } finally {
      await gateway.close();
    }
  }
  return out;
}

/** What a message costs while so many other sessions lie idle. */
async function growths(broker: Mosquitto): Promise<Map<string, Point[]>> {
  const series = new Map<string, Point[]>();
  for (const mode of modes) {
    const points: Point[] = [];
    const gateway = await startGateway(mode, broker);
    const idle = [];
    try {
      let present = 0;
      await load(gateway, broker.plainPort, ["-m", "up", "-n", "100", "-d", String(seconds), "-i", "gu"]);
      for (const sessions of mode === "aggregating" ? [10, 100, 1_000, 10_000, 100_000] : [10, 100, 1_000, 4_000]) {
        const more = ["-n", String(sessions - present), "-w", "50", "-i", `g${points.length}`];
        idle.push(await idleDevices(gateway, broker.plainPort, more));
        present = sessions;
        const costs = [];
        for (let round = 0; round < rounds; round++) {
          const run = await load(gateway, broker.plainPort, [
            "-m",
            "up",
            "-n",
            "100",
            "-d",
            String(seconds),
            "-i",
            "gu",
          ]);
          costs.push(1e6 / run.per_cpu_s);
        }
        points.push({ sessions, cost: Number(median(costs).toFixed(2)) });
        say(`growth: ${mode}: ${sessions} sessions, ${median(costs).toFixed(1)} us per message`);
      }
      for (const devices of idle) await devices.leave();
    } finally {
      await gateway.close();
    }
    series.set(mode, points);
  }
  return series;
}
