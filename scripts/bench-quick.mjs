/**
 * npm run bench:quick [-- --store] [--plant 15] [--segments 9] [--seconds 5]
 *
 * Three lines beside the echo, in a minute, against the stored bounds (docs/measurements/figures/bench-quick.json). Ends with 1 if
 * one is slower than the bounds allow and the version that they are of is faster by turns. --store writes the bounds anew;
 * --plant makes the gateway slower by so many percent, to see that it is noticed.
 */
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    store: { type: "boolean", default: false },
    plant: { type: "string", default: "0" },
    segments: { type: "string", default: "9" },
    seconds: { type: "string", default: "5" },
  },
});
// On one core everybody takes turns, and a wake-up brings as many datagrams each time.
const core = coreToUse();
const pinned = core === undefined ? [] : ["taskset", "-c", core];
const [program, ...args] = [...pinned, "npx", "vitest", "run", "--project", "bench"];
const { status } = spawnSync(program, args, {
  stdio: "inherit",
  env: {
    ...process.env,
    BENCH: "quick",
    QUICK_SEGMENTS: values.segments,
    QUICK_SECONDS: values.seconds,
    QUICK_PLANT: values.plant,
    QUICK_COMMAND: ["npm run bench:quick --", ...process.argv.slice(2)].join(" "),
    ...(values.store && { QUICK_STORE: "1" }),
  },
});
if (values.store && status === 0)
  spawnSync("npx", ["biome", "format", "--write", "docs/measurements/figures/bench-quick.json"], { stdio: "ignore" });
process.exit(status ?? 1);

/** The last one that this process may use; undefined where there is no taskset, or one core alone. */
function coreToUse() {
  if (availableParallelism() < 2) return undefined;
  const { status: answer, stdout } = spawnSync("taskset", ["-cp", String(process.pid)], { encoding: "utf8" });
  return answer === 0 ? stdout.trim().match(/(\d+)$/)?.[1] : undefined;
}
