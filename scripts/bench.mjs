/**
 * npm run bench -- [--rounds 5] [--seconds 2] [--modes transparent,aggregating] [--lines 'up1|memory'] [--out folder]
 *   [--peer 'name=command {udp} {broker}']...
 *
 * The gateway, the echo that is the limit and any peers under the same load in the same run. Prints the table; JSON and
 * the plot go to `out` (.cache/bench). The command of a peer must become the gateway itself: its CPU time is counted.
 */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "5" },
    seconds: { type: "string", default: "2" },
    modes: { type: "string", default: "transparent,aggregating" },
    lines: { type: "string" },
    out: { type: "string", default: ".cache/bench" },
    peer: { type: "string", multiple: true, default: [] },
  },
});
const { status } = spawnSync("npx", ["vitest", "run", "--project", "bench"], {
  stdio: "inherit",
  env: {
    ...process.env,
    BENCH: "1",
    BENCH_ROUNDS: values.rounds,
    BENCH_SECONDS: values.seconds,
    BENCH_MODES: values.modes,
    BENCH_OUT: values.out,
    BENCH_COMMAND: [
      "npm run bench --",
      ...process.argv.slice(2).map((each) => (/[\s^|{}*]/.test(each) ? `'${each}'` : each)),
    ].join(" "),
    BENCH_PEERS: JSON.stringify(values.peer),
    ...(values.lines !== undefined && { BENCH_LINES: values.lines }),
  },
});
process.exit(status ?? 1);
