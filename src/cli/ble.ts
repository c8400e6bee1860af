/**
 * `ble scan`: which devices advertise. `ble check`: what Bluetooth lacks on this system, and what to type. `ble links`,
 * `ble bonds`, `ble unbond`, `ble forget`: commands about the running gateway.
 */
import process from "node:process";
import { Command, InvalidArgumentError } from "commander";
import { loadConfig } from "../config/load.ts";
import { commands } from "../runtime/commands.ts";
import { createAdmission } from "../transports/ble/admission.ts";
import type { Advertisement } from "../transports/ble/advertisement.ts";
import { broadcastPayload } from "../transports/ble/broadcast.ts";
import { loadHciNative, readAdapters } from "../transports/ble/hci-native.ts";
import { printable } from "../transports/ble/hub-output.ts";
import { type BleOptions, bleOptions } from "../transports/ble/options.ts";
import { Supervisor, seeCheck } from "../transports/ble/supervisor.ts";
import { supervisorOptions } from "../transports/ble/supervisor-options.ts";
import { type Finding, inspectSystem } from "../transports/ble/system.ts";
import { normalUuid } from "../transports/ble/uuid.ts";
import { systemTimers } from "../transports/timers.ts";
import { type Heard, listen } from "./ble-listen.ts";
import { forget, linksInWords, linksOfRunning, sayBonds, sayLinks, unbond } from "./ble-running.ts";
import { err, out } from "./output.ts";
import { ownConfigFile } from "./own-config.ts";
import { sayProblems } from "./problems.ts";

export function bleCommand(configFile: readonly [string, string]): Command {
  const command = new Command("ble").description("Bluetooth LE: list devices, check the adapter, show the connections");
  command
    .command("scan")
    .description("list the devices that advertise, and whether they speak MQTT-SN")
    .option(...configFile)
    .option("-s, --seconds <n>", "how long", asSeconds, 8)
    .option("--json", "one line of JSON per device")
    .action(async (options: { config?: string; seconds: number; json?: boolean }) => scan(options));
  command
    .command("check")
    .description("adapter, switches, rights, noble, bluetoothd: what is missing, and what to type")
    .option(...configFile)
    .action(async (options: { config?: string }) => check(options));
  command
    .command("links")
    .description(commands["ble.links"].description)
    .option(...configFile)
    .option("--json", "as JSON")
    .action((options: { config?: string; json?: boolean }) => sayLinks(options).catch(sayProblems));
  command
    .command("bonds")
    .description(commands["ble.bonds"].description)
    .option(...configFile)
    .option("--json", "as JSON")
    .action((options: { config?: string; json?: boolean }) => sayBonds(options).catch(sayProblems));
  command
    .command("unbond")
    .description(commands["ble.unbond"].description)
    .argument("<address>", "the device's Bluetooth address, as `ble bonds` lists it")
    .option(...configFile)
    .action((address: string, options: { config?: string }) => unbond(address, options).catch(sayProblems));
  command
    .command("forget")
    .description(commands["ble.forget"].description)
    .argument("<address>", "the sensor's Bluetooth address")
    .option(...configFile)
    .action((address: string, options: { config?: string }) => forget(address, options).catch(sayProblems));
  return command;
}

function asSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= 1 && seconds <= 3_600)) throw new InvalidArgumentError("1 to 3600");
  return seconds;
}

/** The Bluetooth transport of the configuration; the defaults if there is none. */
function optionsFrom(config: string | undefined): BleOptions {
  const file = config ?? ownConfigFile();
  const found = file === undefined ? undefined : loadConfig(file).transports.find(({ type }) => type === "ble");
  return found?.type === "ble" ? found : bleOptions.parse({ type: "ble" });
}

/** Listens as long as the gateway would wait, and tells the user that it waits. */
function listenFor(options: BleOptions, seconds: number, onSeen: (seen: Advertisement) => void): Promise<Heard> {
  const supervisor = new Supervisor(supervisorOptions(options, true), systemTimers);
  const onWaiting = () => err("still waiting for the adapter, at most 30 s from the start …\n");
  return listen(supervisor, systemTimers, { seconds, onSeen, onWaiting });
}

async function scan({
  config,
  seconds,
  json = false,
}: {
  config?: string;
  seconds: number;
  json?: boolean;
}): Promise<void> {
  try {
    const options = optionsFrom(config);
    const devices = new Map<string, Advertisement>();
    if (!json) err(`listening for ${seconds} s …\n`);
    const outcome = await listenFor(options, seconds, (seen) => {
      const before = devices.get(seen.address);
      devices.set(seen.address, {
        ...seen,
        name: seen.name ?? before?.name,
        services: seen.services.length > 0 ? seen.services : (before?.services ?? []),
      });
    });
    if ("why" in outcome) {
      err(`${outcome.why}\n`);
      process.exitCode = 1;
      return;
    }
    const strongest = [...devices.values()].sort((a, b) => b.rssi - a.rssi);
    if (json) for (const seen of strongest) out(`${JSON.stringify(asJson(seen, options))}\n`);
    else out(table(strongest, options));
  } catch (error) {
    sayProblems(error);
  }
}

/** Tells if the device supports MQTT-SN, as far as its advertisement shows. */
function speaks(seen: Advertisement, options: BleOptions): string {
  if (broadcastPayload(seen, options.broadcast)) return "broadcasts MQTT-SN";
  const refusal = createAdmission(options)(seen);
  const hasService = seen.services.includes(normalUuid(options.service));
  if (!seen.connectable) return "accepts no connection";
  if (refusal === undefined) return hasService ? "yes: it has the service, and may connect" : "may connect";
  return hasService ? `it has the service, but: ${refusal}` : "no";
}

function asJson(seen: Advertisement, options: BleOptions): Record<string, unknown> {
  const { address, addressType, connectable, name, services, rssi } = seen;
  return { address, addressType, connectable, name, services, rssi, mqttSn: speaks(seen, options) };
}

function table(devices: readonly Advertisement[], options: BleOptions): string {
  if (devices.length === 0) return "no device advertises\n";
  const rows = devices.map((seen) => [
    seen.address,
    seen.rssi === 127 ? "?" : String(seen.rssi),
    printable(seen.name ?? ""),
    speaks(seen, options),
  ]);
  const head = ["address", "dBm", "name", "speaks MQTT-SN"];
  const widths = head.map((title, i) => Math.max(title.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (row: readonly string[]) =>
    `${row
      .map((cell, i) => cell.padEnd(widths[i] ?? 0))
      .join("  ")
      .trimEnd()}\n`;
  return [head, ...rows].map(line).join("");
}

async function check({ config }: { config?: string }): Promise<void> {
  try {
    const options = optionsFrom(config);
    const { adapter, channel } = options;
    const findings = inspectSystem("/", {
      needsAdmin: channel === "user",
      adapter,
      known: readAdapters(loadHciNative()),
    });
    const links = await linksOfRunning(config);
    const running = links?.find(({ transport }) => transport === options.name);
    findings.push(running ? runningFinding(running) : ownFinding(options, await listenFor(options, 0, () => {})));
    for (const { ok, what, hint } of findings) {
      out(`${ok ? "ok     " : "MISSING"}  ${what}\n${hint === undefined ? "" : `         ${hint}\n`}`);
    }
    if (running) out(`${linksInWords([running])}\n`);
    const last = findings.at(-1);
    out(last?.ok ? "Bluetooth works.\n" : "Bluetooth does not work yet.\n");
    if (!last?.ok) process.exitCode = 1;
  } catch (error) {
    sayProblems(error);
  }
}

/** A running gateway uses the adapter, so the command asks the gateway. */
function runningFinding({ up, condition }: { readonly up: boolean; readonly condition: string }): Finding {
  if (up) return { ok: true, what: `the running gateway uses ${condition}` };
  return { ok: false, what: "the running gateway cannot use the adapter", hint: condition };
}

function ownFinding({ driver }: BleOptions, heard: Heard): Finding {
  if ("adapter" in heard) return { ok: true, what: heard.adapter };
  const what = driver === "auto" ? "no driver can use the adapter" : `${driver} cannot use the adapter`;
  return { ok: false, what, hint: heard.why.replace(seeCheck, "") };
}
