/** `ble scan`: what is in the air. `ble check`: what Bluetooth lacks on this system, and what to type. */
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { Command, InvalidArgumentError } from "commander";
import { loadConfig } from "../config/load.ts";
import { createAdmission } from "../transports/ble/admission.ts";
import type { Advertisement } from "../transports/ble/advertisement.ts";
import { broadcastPayload } from "../transports/ble/broadcast.ts";
import type { CentralEvent } from "../transports/ble/central.ts";
import { printable } from "../transports/ble/hub-output.ts";
import { type BleOptions, bleOptions } from "../transports/ble/options.ts";
import { Supervisor } from "../transports/ble/supervisor.ts";
import { supervisorOptions } from "../transports/ble/supervisor-options.ts";
import { inspectSystem } from "../transports/ble/system.ts";
import { normalUuid } from "../transports/ble/uuid.ts";
import { systemTimers } from "../transports/timers.ts";
import { err, out } from "./output.ts";
import { ownConfigFile } from "./own-config.ts";
import { sayProblems } from "./problems.ts";

const readyMs = 8_000;

export function bleCommand(configFile: readonly [string, string]): Command {
  const command = new Command("ble").description("Bluetooth LE: look around, find out what is missing");
  command
    .command("scan")
    .description("say what is in the air, and whether it speaks MQTT-SN")
    .option(...configFile)
    .option("-s, --seconds <n>", "how long", asSeconds, 8)
    .option("--json", "one line of JSON per device")
    .action(async (options: { config?: string; seconds: number; json?: boolean }) => scan(options));
  command
    .command("check")
    .description("adapter, switches, rights, noble, bluetoothd: what is missing, and what to type")
    .option(...configFile)
    .action(async (options: { config?: string }) => check(options));
  return command;
}

function asSeconds(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= 1 && seconds <= 3_600)) throw new InvalidArgumentError("1 to 3600");
  return seconds;
}

/** The Bluetooth transport of the configuration; the defaults where there is none. */
function optionsFrom(config: string | undefined): BleOptions {
  const file = config ?? ownConfigFile();
  const found = file === undefined ? undefined : loadConfig(file).transports.find(({ type }) => type === "ble");
  return found?.type === "ble" ? found : bleOptions.parse({ type: "ble" });
}

/** Runs the adapter until the time is over; answers why it did not come to work, if it did not. */
async function listen(
  options: BleOptions,
  seconds: number,
  onSeen: (seen: Advertisement) => void,
): Promise<{ adapter: string } | { why: string }> {
  const supervisor = new Supervisor(supervisorOptions(options, true), systemTimers);
  let outcome: { adapter: string } | { why: string } | undefined;
  const settled = new Promise<void>((resolve) => {
    supervisor.start((event: CentralEvent) => {
      if (event.is === "ready") outcome = { adapter: `${event.adapter}, driven by ${event.driver}` };
      else if (event.is === "unavailable") outcome ??= { why: event.why };
      else if (event.is === "seen") onSeen(event);
      if (outcome) resolve();
    });
  });
  await Promise.race([settled, sleep(readyMs, undefined, { ref: false })]);
  if (outcome && "adapter" in outcome && seconds > 0) {
    supervisor.command({ do: "scan", on: true });
    await sleep(seconds * 1_000);
  }
  await supervisor.close();
  return outcome ?? { why: "the adapter did not answer: is it up, or in use by the gateway?" };
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
    const outcome = await listen(options, seconds, (seen) => {
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

/** Whether the device speaks MQTT-SN, as far as can be known without connecting to it. */
function speaks(seen: Advertisement, options: BleOptions): string {
  if (broadcastPayload(seen, options.broadcast)) return "broadcasts MQTT-SN";
  const refusal = createAdmission(options)(seen);
  const hasService = seen.services.includes(normalUuid(options.service));
  if (!seen.connectable) return "takes no connection";
  if (refusal === undefined) return hasService ? "yes: it has the service, and may connect" : "may connect";
  return hasService ? `it has the service, but: ${refusal}` : "no";
}

function asJson(seen: Advertisement, options: BleOptions): Record<string, unknown> {
  const { address, addressType, connectable, name, services, rssi } = seen;
  return { address, addressType, connectable, name, services, rssi, mqttSn: speaks(seen, options) };
}

function table(devices: readonly Advertisement[], options: BleOptions): string {
  if (devices.length === 0) return "nothing is in the air\n";
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
    const findings = inspectSystem("/", { needsAdmin: options.channel === "user" });
    const outcome = await listen(options, 0, () => {});
    if ("why" in outcome)
      findings.push({ ok: false, what: `${options.driver} cannot use the adapter`, hint: outcome.why });
    else findings.push({ ok: true, what: outcome.adapter });
    for (const { ok, what, hint } of findings) {
      out(`${ok ? "ok     " : "MISSING"}  ${what}\n${hint === undefined ? "" : `         ${hint}\n`}`);
    }
    const last = findings.at(-1);
    out(last?.ok ? "Bluetooth works.\n" : "Bluetooth does not work yet.\n");
    if (!last?.ok) process.exitCode = 1;
  } catch (error) {
    sayProblems(error);
  }
}
