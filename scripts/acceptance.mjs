/**
 * Runs a black-box acceptance suite of MQTT-SN gateways against this one, if there is one beside the project
 * (MQTTSN_ACCEPTANCE_DIR, default ../shared/conformance-2). It is no part of the project; without it nothing is run.
 * MODE=aggregating: clients share a connection. DTLS=1: what the suite says goes to the gateway over DTLS, by a proxy.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const suite = resolve(root, process.env.MQTTSN_ACCEPTANCE_DIR ?? "../shared/conformance-2");
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
// Where clients share a connection: sessions are the gateway's to keep, so they are on disk; and four cases are left out
// that tell a broker, by a client's own connection, how to treat that client.
const isShared = process.env.MODE === "aggregating";
const ownConnection = ["CONN-06", "CONN-21", "CONN-23", "SUB-18"];
// To the proxy each address is a device with its own key. So a device that continues from another address is another device, which may not
// use the session; and the first message of a device comes after a handshake, too late for one case.
const ownKeys = ["CONN-13", "SLEEP-18", "SESS-07", "ADDR-*", "QM1-08"];
const skipped = [...(isShared ? ownConnection : []), ...(process.env.DTLS === "1" ? ownKeys : [])];
const folder = mkdtempSync(join(tmpdir(), "acceptance-"));
const { status } = spawnSync(
  "python3",
  [
    join(suite, "run.py"),
    ...["--adapter", join(root, "test/conformance/adapter")],
    ...(skipped.length > 0 ? ["--skip", skipped.join()] : []),
    ...process.argv.slice(2),
  ],
  {
    stdio: "inherit",
    env: {
      ...process.env,
      ...(isShared && { STORE: "disk", STORE_FOLDER: folder, WHEN_AWAY: "refuse" }),
      PATH: `${dirname(broker.path)}${delimiter}${process.env.PATH}`,
      ...(broker.libraries && { LD_LIBRARY_PATH: broker.libraries }),
    },
  },
);
rmSync(folder, { recursive: true, force: true });
process.exit(status ?? 1);
