/** npm run test:sim -- --seeds 10000 [--first 1]: lives of the whole gateway on virtual time. */
import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: { seeds: { type: "string", default: "500" }, first: { type: "string", default: "1" } },
});
const { status } = spawnSync("npx", ["vitest", "run", "test/simulation/simulation.test.ts"], {
  stdio: "inherit",
  env: { ...process.env, SIM_SEEDS: values.seeds, SIM_FIRST: values.first },
});
process.exit(status ?? 1);
