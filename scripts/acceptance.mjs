/**
 * Runs a black-box acceptance suite of MQTT-SN gateways against this one, if there is one beside the project
 * (MQTTSN_ACCEPTANCE_DIR, default ../shared/conformance). It is no part of the project; without it nothing is run.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const suite = resolve(root, process.env.MQTTSN_ACCEPTANCE_DIR ?? "../shared/conformance");
if (!existsSync(join(suite, "run.py"))) {
  process.stdout.write(`no acceptance suite in ${suite}: not run\n`);
  process.exit(0);
}
const { findMosquitto } = await import("../test/helpers/find-mosquitto.mjs");
const broker = findMosquitto();
if ("missing" in broker) {
  process.stdout.write(`acceptance: skipped: ${broker.missing}\n`);
  process.exit(process.env.CI ? 1 : 0);
}
const { status } = spawnSync(
  "python3",
  [join(suite, "run.py"), "--adapter", join(root, "test/conformance/adapter"), ...process.argv.slice(2)],
  {
    stdio: "inherit",
    env: {
      ...process.env,
      PATH: `${dirname(broker.path)}${delimiter}${process.env.PATH}`,
      ...(broker.libraries && { LD_LIBRARY_PATH: broker.libraries }),
    },
  },
);
process.exit(status ?? 1);
