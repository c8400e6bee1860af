/**
 * npm run bench -- [--rounds 5] [--seconds 2] [--modes transparent,aggregating] [--lines 'up1|memory'] [--out folder]
 *   [--peer 'name=command {udp} {broker}']...
 *
 * The gateway, the echo that is the limit and any peers under the same load in the same run. Prints the table; JSON and
 * the plot go to `out` (.cache/bench). The command of a peer must become the gateway itself: its CPU time is counted.
 * The last line, `dtls`, is a table of its own: handshake, record, QoS 1 up as a share of plain UDP (scripts/dtls-figures.mjs).
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
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
const dtlsOnly = /^\W*dtls\W*$/.test(values.lines ?? "");
const hasDtls = new RegExp(values.lines ?? "").test("dtls");

function runLines() {
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
  return status ?? 1;
}

function runDtls() {
  const program = fileURLToPath(new URL("dtls-figures.mjs", import.meta.url));
  const messages = 6_000 * Number(values.seconds);
  const words = ["--expose-gc", program, String(messages), values.rounds];
  const { status, stdout } = spawnSync(process.execPath, words, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "inherit"],
  });
  if (status !== 0) return status ?? 1;
  mkdirSync(values.out, { recursive: true });
  writeFileSync(join(values.out, "dtls.json"), stdout);
  for (const [what, figure] of JSON.parse(stdout).rows) process.stdout.write(`${what}: ${figure}\n`);
  return 0;
}

const ofLines = dtlsOnly ? 0 : runLines();
process.exit(ofLines || (hasDtls ? runDtls() : 0));
