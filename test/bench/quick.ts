/**
 * npm run bench:quick: has the gateway become slower? Three lines, a minute. See scripts/bench-quick.mjs for its options,
 * and bounds.ts for how it judges.
 *
 * All lines and the echo take turns of 50 ms, on one core: what else the machine does meets them alike. A line that seems
 * slow is measured again; then an earlier version, built beside this one, is asked by turns with it. Only if that one is
 * faster by the share that the bounds allow, the line has failed.
 */
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { findMosquitto, Mosquitto } from "../helpers/mosquitto.ts";
import {
  type Beside,
  type Bounds,
  compare,
  judge,
  type QuickLine,
  quickLines,
  readBounds,
  type Segment,
  stored,
} from "./bounds.ts";
import { earlierVersion, lastCommit } from "./earlier.ts";
import {
  type GatewayOptions,
  type GatewayTarget,
  generator,
  loadByTurns,
  startEcho,
  startGateway,
  type Target,
} from "./parts.ts";

const env = process.env;
const root = resolve(import.meta.dirname, "../..");
const file = join(root, "docs/measurements/figures/bench-quick.json");
const segments = Number(env["QUICK_SEGMENTS"] ?? 9);
const seconds = Number(env["QUICK_SECONDS"] ?? 5);
const plant = Number(env["QUICK_PLANT"] ?? 0);
const sliceMs = 50;
const pairsMax = 8;
/** The devices of a turn are new, with the addresses of those before: a warning each. */
const quiet = { logLevel: "error" } as const;

const say = (text: string) => process.stdout.write(`${text}\n`);
const echoArgs = ["-m", "echo", "-w", "50", "-n", "100"];

interface Runner {
  readonly line: QuickLine;
  readonly target: Target;
}

test("bench:quick", async () => {
  const program = findMosquitto();
  if ("missing" in program || generator === "node") {
    const missing = "missing" in program ? program.missing : "no C compiler for the load";
    say(`bench:quick: not run: ${missing}`);
    expect(env["CI"], missing).toBeUndefined();
    return;
  }
  const broker = await Mosquitto.create(program);
  const echo = await startEcho();
  try {
    const bounds = env["QUICK_STORE"] ? undefined : readBounds(file);
    const first = await measure(quickLines, broker, echo, segments);
    const results = quickLines.map((line) => ({ line, ...judge(first, line, bounds) }));
    for (const { words } of results) say(words);
    if (bounds === undefined) {
      const machine = `${cpus().length} x ${cpus()[0]?.model}, Node ${process.version}`;
      const command = env["QUICK_COMMAND"] ?? null;
      const kept = stored(results, { machine, command, commit: lastCommit(root) });
      writeFileSync(file, `${JSON.stringify(kept, undefined, 2)}\n`);
      say(`the bounds are in ${file}; npm run docs writes them into the document`);
      return;
    }
    const slow = results.filter(({ isDoubtful }) => isDoubtful).map(({ line }) => line);
    const failed = slow.length === 0 ? [] : await lookAgain(slow, bounds, broker, echo);
    expect(failed, "slower than the bounds allow").toEqual([]);
  } finally {
    await echo.close();
    await broker.dispose();
  }
});

/** Once more against the echo; then beside the version that the bounds are of. */
async function lookAgain(slow: readonly QuickLine[], bounds: Bounds, broker: Mosquitto, echo: Target) {
  say(`not as stored: ${slow.map(({ title }) => title).join("; ")}. Once more.`);
  const again = await measure(slow, broker, echo, Math.ceil(segments / 2));
  const still = slow.filter((line) => {
    const { words, isDoubtful } = judge(again, line, bounds);
    say(words);
    return isDoubtful;
  });
  if (still.length === 0) return [];
  const earlier = await earlierVersion(root, bounds.commit, say);
  if (earlier === undefined) return still.map(({ title }) => title);
  const failed: string[] = [];
  for (const line of still) {
    const { isSlower, words } = await beside(line, earlier, bounds.allowed, broker);
    say(`${line.title}, beside ${bounds.commit} by turns: ${words}`);
    if (isSlower) failed.push(line.title);
  }
  return failed;
}

/** The first segment warms up. Each line has its own gateway. */
async function measure(
  lines: readonly QuickLine[],
  broker: Mosquitto,
  echo: Target,
  count: number,
): Promise<Segment[]> {
  const runners: Runner[] = [];
  const out: Segment[] = [];
  try {
    for (const line of lines) runners.push({ line, target: await startGateway(line.mode, broker, burdenOf(line)) });
    for (let i = 0; i <= count; i++) {
      const segment = await oneSegment(runners, i, broker, echo);
      if (i > 0) out.push(segment);
    }
  } finally {
    for (const { target } of runners) await target.close();
  }
  return out;
}

async function oneSegment(
  runners: readonly Runner[],
  number: number,
  broker: Mosquitto,
  echo: Target,
): Promise<Segment> {
  const timed = ["-d", String(seconds)];
  const loads = [
    ...runners.map(({ line, target }, i) => ({ target, args: [...line.args, ...timed, "-i", `q${i}${number % 10}`] })),
    { target: echo, args: [...echoArgs, ...timed] },
  ];
  const runs = await loadByTurns(broker.plainPort, loads, sliceMs);
  const lost = runs.reduce((sum, run) => sum + run.lost + run.gave_up + run.misrouted, 0);
  expect(lost, "messages lost or astray").toBe(0);
  const limit = runs.at(-1)?.per_cpu_s ?? Number.NaN;
  return {
    echo: limit,
    ratios: new Map(runners.map(({ line }, i) => [line.id, (runs[i]?.per_cpu_s ?? Number.NaN) / limit])),
  };
}

/**
 * Messages per CPU second as a share of those of the earlier version, in pairs of processes, for each process has its luck:
 * until it is clear on which side of `allowed` their median is, or `pairsMax` are measured.
 */
async function beside(line: QuickLine, earlier: string, allowed: number, broker: Mosquitto): Promise<Beside> {
  const shares: number[] = [];
  for (let pair = 1; pair <= pairsMax; pair++) {
    const started: GatewayTarget[] = [];
    try {
      started.push(await startGateway(line.mode, broker, burdenOf(line)));
      started.push(await startGateway(line.mode, broker, { ...quiet, root: earlier, name: "earlier" }));
      if (pair % 2 === 0) started.reverse();
      for (let i = 0; i < 4; i++) {
        const loads = started.map((target, k) => ({
          target,
          args: [...line.args, "-d", String(seconds), "-i", `p${k}${i}`],
        }));
        const [first, second] = (await loadByTurns(broker.plainPort, loads, sliceMs)).map((run) => run.per_cpu_s);
        if (i === 0 || first === undefined || second === undefined) continue; // warm now
        shares.push(pair % 2 === 0 ? second / first : first / second);
      }
    } finally {
      for (const target of started) await target.close();
    }
    const verdict = compare(shares, allowed);
    if (pair >= 2 && (verdict.isClear || pair === pairsMax)) return verdict;
  }
  return compare(shares, allowed);
}

/** `--plant 15`: a loop that needs this share of the cost of a message when the bounds were stored, in two inputs each. */
function burdenOf(line: QuickLine): GatewayOptions {
  if (plant === 0) return quiet;
  const nanoseconds = (1e9 / perCpuSecond(line)) * (1 / (1 - plant / 100) - 1);
  return { ...quiet, burden: Math.round(nanoseconds / 2 / loopNanoseconds()) };
}

function perCpuSecond(line: QuickLine): number {
  const value = readBounds(file).lines[line.id]?.perCpuSecond;
  if (value === undefined) throw new Error(`no bound for ${line.id}: npm run bench:quick -- --store`);
  return value;
}

let loopCost: number | undefined;

/** What one turn of the loop in gateway.mjs costs here, in nanoseconds of CPU time. */
function loopNanoseconds(): number {
  loopCost ??= Math.min(
    ...[1, 2, 3, 4, 5].map(() => {
      const before = process.cpuUsage();
      if (carry(2e7) === 0) throw new Error("never");
      return process.cpuUsage(before).user / 2e4;
    }),
  );
  return loopCost;
}

function carry(turns: number): number {
  let idle = 1;
  for (let i = 0; i < turns; i++) idle = (Math.imul(idle, 1103515245) + 12345) | 0;
  return idle;
}
