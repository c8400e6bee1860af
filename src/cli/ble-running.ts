/**
 * `ble links`, `ble bonds`, `ble unbond`, `ble forget`: commands about a running gateway, or the files that it keeps.
 */
import { join } from "node:path";
import { loadConfig } from "../config/load.ts";
import { GatewayError } from "../errors.ts";
import type { OutputOf } from "../runtime/commands.ts";
import { CountersFile } from "../transports/ble/counters-file.ts";
import { systemTimers } from "../transports/timers.ts";
import { ask } from "./ask.ts";
import { err } from "./output.ts";
import { ownConfigFile } from "./own-config.ts";
import { say, table } from "./table.ts";

type Links = OutputOf<"ble.links">;

/** The links of a running gateway; undefined: none runs with this configuration. */
export async function linksOfRunning(config: string | undefined): Promise<Links | undefined> {
  const file = config ?? ownConfigFile();
  if (file === undefined) return undefined;
  return unlessNoneRuns(() => ask(socketIn(file), "ble.links", {}));
}

export async function sayLinks({ config, json = false }: { config?: string; json?: boolean }): Promise<void> {
  const links = await ask(socketIn(named(config)), "ble.links", {});
  say(json ? JSON.stringify(links, undefined, 2) : linksInWords(links));
}

export function linksInWords(links: Links): string {
  if (links.length === 0) return "no transport with connections is configured";
  return links
    .map(({ transport, condition, devices }) => {
      const rows = devices.map(({ peer, name, linked, rssi, secondsSinceSeen, failures, lastFailure, parameters }) => ({
        device: peer,
        name,
        linked: linked ? "yes" : "no",
        dBm: rssi === undefined ? "?" : String(rssi),
        "seen before": `${secondsSinceSeen} s`,
        failures: String(failures),
        "last failure": lastFailure === "" ? "-" : lastFailure,
        "link has": parameters ?? (linked ? "not known" : "-"),
      }));
      return `${transport}: ${condition}\n${table(rows, "no device that may connect was seen")}`;
    })
    .join("\n\n");
}

export async function sayBonds({ config, json = false }: { config?: string; json?: boolean }): Promise<void> {
  const bonds = await ask(socketIn(named(config)), "ble.bonds", {});
  if (json) return say(JSON.stringify(bonds, undefined, 2));
  const rows = bonds.map(({ transport, address, name, since, passkey, secureConnections }) => ({
    transport,
    address,
    name,
    "paired at": since,
    passkey: passkey ? "yes" : "no",
    "paired by": secureConnections ? "LE Secure Connections" : "legacy pairing",
  }));
  say(table(rows, "no device has a bond"));
}

export async function unbond(address: string, { config }: { config?: string }): Promise<void> {
  const { removed } = await ask(socketIn(named(config)), "ble.unbond", { address });
  say(`the bond of ${removed} is removed; remove it at the device too, if it keeps one`);
}

/**
 * Asks the running gateway, because it has the counters in memory. If none runs, the counter is removed from the files
 * of the configuration.
 */
export async function forget(address: string, { config }: { config?: string }): Promise<void> {
  const file = named(config);
  const sensor = address.toLowerCase();
  const byGateway = await unlessNoneRuns(() => ask(socketIn(file), "ble.forget", { address: sensor }));
  if (byGateway) return say(`the running gateway has forgotten the counter of ${sensor}`);
  const files = loadConfig(file).transports.flatMap((transport) =>
    transport.type === "ble" && transport.broadcast.countersFile !== undefined
      ? [transport.broadcast.countersFile]
      : [],
  );
  let forgotten = false;
  const problems: string[] = [];
  for (const path of files) {
    const counters = new CountersFile(path, systemTimers, (problem) => problems.push(problem));
    problems.push(...counters.problems);
    forgotten = counters.forget(sensor) || forgotten;
    await counters.close();
  }
  for (const problem of problems) err(`${problem}\n`);
  if (problems.length > 0)
    throw new GatewayError("ERR_CONTROL", {}, { say: `the counter of ${sensor} is not forgotten` });
  if (!forgotten)
    throw new GatewayError("ERR_CONTROL", {}, { say: `no counter of ${sensor} is stored, and no gateway runs` });
  say(`the counter of ${sensor} is deleted from the file; no gateway runs with this configuration`);
}

function named(config: string | undefined): string {
  const file = config ?? ownConfigFile();
  if (file === undefined)
    throw new GatewayError("ERR_CONTROL", {}, { say: "there is no configuration here; name it with -c" });
  return file;
}

function socketIn(configFile: string): string {
  return join(loadConfig(configFile).store.folder, "control.sock");
}

/** Undefined: no gateway listens there. */
async function unlessNoneRuns<Answer>(asking: () => Promise<Answer>): Promise<Answer | undefined> {
  try {
    return await asking();
  } catch (error) {
    const cause = error instanceof GatewayError ? error.cause : undefined;
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT" || code === "ECONNREFUSED") return undefined;
    throw error;
  }
}
