// The add-on's start: options to a configuration, and then the gateway, in this process's place.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { configurationOf } from "./options.mjs";

const data = process.env.MQTT_SN_GATEWAY_DATA ?? "/data";
/** Where somebody puts a configuration of his own: then the options count for nothing. */
const own = `${data}/gateway.config.json`;
const made = `${data}/from-options.config.json`;

/** What the Supervisor knows of a broker; undefined: nothing. */
async function brokerOfThisHouse() {
  const token = process.env.SUPERVISOR_TOKEN;
  if (token === undefined) return undefined;
  try {
    const answer = await fetch("http://supervisor/services/mqtt", { headers: { authorization: `Bearer ${token}` } });
    return answer.ok ? (await answer.json()).data : undefined;
  } catch (error) {
    console.error(`the Supervisor cannot be asked for a broker: ${error.message}`);
    return undefined;
  }
}

async function prepare() {
  if (existsSync(own)) return own;
  const options = JSON.parse(readFileSync(`${data}/options.json`, "utf8"));
  const { configuration, secrets } = configurationOf(options, options.broker ? undefined : await brokerOfThisHouse());
  mkdirSync(`${data}/secrets`, { recursive: true, mode: 0o700 });
  for (const [name, secret] of Object.entries(secrets))
    writeFileSync(`${data}/secrets/${name}`, secret, { mode: 0o600 });
  writeFileSync(made, `${JSON.stringify(configuration, null, 2)}\n`);
  return made;
}

try {
  const gateway = spawn("mqtt-sn-gateway", ["start", "--config", await prepare()], { stdio: "inherit" });
  for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"]) process.on(signal, () => gateway.kill(signal));
  gateway.once("error", (error) => {
    console.error(`the gateway cannot be started: ${error.message}`);
    process.exit(1);
  });
  gateway.once("exit", (code) => process.exit(code ?? 1));
} catch (error) {
  console.error(error.message);
  process.exit(1);
}
