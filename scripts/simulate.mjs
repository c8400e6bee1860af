/**
 * npm run test:sim -- --seeds 10000 [--first 1] [--kind usual|poison|small|secure]: runs of the whole gateway on virtual time.
 *
 * Of N seeds from the first on, in both modes, are run: N usual worlds (simulation.test.ts); N / 5 worlds with a broker that
 * closes for some packets (poison.test.ts); N / 5 worlds of small clients at 30 % loss (small-clients.test.ts); N / 5 worlds of
 * devices over DTLS (secure.test.ts). 500 seeds took seven minutes on two cores beside other work, without the last
 * kind. --help prints this.
 */
import { spawn } from "node:child_process";
import { parseArgs } from "node:util";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "500" },
    first: { type: "string", default: "1" },
    kind: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

const seeds = Number(values.seeds);
const share = Math.max(1, Math.ceil(seeds / 5));
const kinds = {
  usual: { file: "simulation", env: { SIM_SEEDS: String(seeds) }, of: seeds },
  poison: { file: "poison", env: { SIM_POISON_SEEDS: String(share) }, of: share },
  secure: { file: "secure", env: { SIM_SECURE_SEEDS: String(share) }, of: share },
  small: { file: "small-clients", env: { SIM_SEEDS: String(share) }, of: share },
};
const chosen = values.kind === undefined ? Object.keys(kinds) : [values.kind];
for (const kind of chosen) if (!(kind in kinds)) throw new Error(`no kind ${kind}: ${Object.keys(kinds).join(", ")}`);

if (values.help) {
  console.log("npm run test:sim -- [--seeds 500] [--first 1] [--kind usual|poison|small|secure]");
  for (const kind of chosen) console.log(`${kind}: ${kinds[kind].of} seeds from ${values.first}, in both modes`);
  process.exit(0);
}

/** Vitest runs its files at the same time; each kind has its own seeds, so each kind is a separate run. */
function run(kind) {
  const { file, env, of } = kinds[kind];
  console.log(`${kind}: ${of} seeds from ${values.first}, in both modes`);
  const all = { ...process.env, ...env, SIM_FIRST: values.first };
  const vitest = spawn("npx", ["vitest", "run", `test/simulation/${file}.test.ts`], { stdio: "inherit", env: all });
  return new Promise((resolve) => vitest.on("exit", (status) => resolve(status ?? 1)));
}

/** Two at a time: the usual ones beside the others. */
async function inTurn(some) {
  let worst = 0;
  for (const kind of some) worst = Math.max(worst, await run(kind));
  return worst;
}

const [usual, others] = [chosen.filter((kind) => kind === "usual"), chosen.filter((kind) => kind !== "usual")];
process.exit(Math.max(...(await Promise.all([inTurn(usual), inTurn(others)]))));
