/** `start`: runs the gateway until SIGTERM or SIGINT; SIGHUP reads the configuration again. */
import { resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { loadConfig } from "../config/load.ts";
import type { GatewayConfig } from "../config/schema.ts";
import { warningsOf } from "../config/warnings.ts";
import { GatewayError } from "../errors.ts";
import { Gateway, type StartProgress } from "../gateway.ts";
import { FleetGateway, placeInFleet } from "../gateway-fleet.ts";
import { createLog, type Log } from "../observe/log.ts";
import { ServiceManager } from "../observe/service-manager.ts";
import { shownBrokers } from "../upstream/options.ts";
import { out } from "./output.ts";
import { sayProblems } from "./problems.ts";
import { Progress } from "./progress.ts";

/** Node lines and the day their security fixes end. */
const endOfLife: Readonly<Record<string, string>> = { 20: "2026-04-30", 22: "2027-04-30", 24: "2028-04-30" };

/** The exit status of a gateway of a pair that is not active any more. The service manager must start it again. */
const notActive = 75;

export async function start(configFile: string): Promise<void> {
  let config: GatewayConfig;
  let gateway: Gateway | FleetGateway;
  let log: Log;
  let manager: ServiceManager;
  try {
    config = loadConfig(configFile);
    log = await createLog(config.log);
    warnOfOldNode(log);
    for (const say of warningsOf(config)) log.warn(say);
    const lost = (why: string) => endAtOnce(log, why);
    const file = resolve(configFile);
    gateway = config.fleet.enabled
      ? new FleetGateway(config, log, file, await placeInFleet(config), (say) => endLeft(gateway, manager, log, say))
      : new Gateway(config, log, file, lost, (say) => endDrained(gateway, manager, log, say));
    manager = new ServiceManager({ environment: process.env, warn: (say) => log.warn(say) });
    const told = progressOfStart(log, manager);
    await gateway.start(told.progress).finally(told.end);
  } catch (error) {
    return sayProblems(error);
  }
  // Installed before `ready` is reported, because a program that waits for it may end the gateway immediately.
  obeySignals(gateway, manager, log, configFile);
  if (!gateway.serves && !(await standBy(gateway, manager, log))) return;
  // All users of the machine can see the status for systemd.
  const brokers = shownBrokers(config.upstream);
  manager.ready(`devices to ${brokers}`);
  sayConsole(gateway);
  log.info(`ready: devices to ${brokers}, configured by ${resolve(configFile)}`);
}

/**
 * Stands by as one gateway of a pair, until it becomes active. False: it cannot. For a service manager a gateway that
 * stands by is ready, because it does its task.
 */
async function standBy(gateway: Gateway | FleetGateway, manager: ServiceManager, log: Log): Promise<boolean> {
  const pair = gateway.pair();
  manager.ready("stands by");
  log.info(`standby: ${pair?.name} answers no device. It takes over when the active gateway ends or becomes silent`);
  try {
    await gateway.takenOver();
    return gateway.serves;
  } catch (error) {
    // What this gateway has claimed is released first, so that the other one may take it.
    await gateway.stop();
    sayProblems(error);
    process.exit(1);
  }
}

/**
 * This gateway of a pair is not the active one any more. The data in the memory of this process are out of date, and anything that it sent
 * to devices or brokers would compete with the other gateway. So the process ends here, and the next start stands by. [EX_TEMPFAIL]
 */
function endAtOnce(log: Log, why: string): never {
  log.error(
    `pair: this gateway is not active any more: ${why}. It ends without sending anything (exit status ${notActive}), and stands by when it is started again`,
  );
  process.exit(notActive);
}

/**
 * Ends after the gateway has left the fleet. The exit status tells the service manager to start it again, perhaps in
 * the next version.
 */
function endLeft(gateway: Gateway | FleetGateway, manager: ServiceManager, log: Log, say: string): void {
  log.info(`fleet: ${say}. It ends (exit status ${notActive}), and joins the fleet again when it is started again`);
  endInOrder(gateway, manager, log);
}

/**
 * Ends after the gateway has handed over to the other one. The exit status tells the service manager to start it again.
 */
function endDrained(gateway: Gateway | FleetGateway, manager: ServiceManager, log: Log, say: string): void {
  log.info(`pair: ${say}. It ends (exit status ${notActive}), and stands by when it is started again`);
  endInOrder(gateway, manager, log);
}

function endInOrder(gateway: Gateway | FleetGateway, manager: ServiceManager, log: Log): void {
  manager.stopping();
  gateway.stop().then(
    () => process.exit(notActive),
    (error: unknown) => {
      log.error(error);
      process.exit(notActive);
    },
  );
}

function obeySignals(gateway: Gateway | FleetGateway, manager: ServiceManager, log: Log, configFile: string): void {
  process.on("SIGHUP", () => reload(gateway, log, configFile));
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      log.info(`${signal}: ending`);
      manager.stopping();
      gateway.stop().then(
        () => process.exit(0),
        (error: unknown) => {
          log.error(error);
          process.exit(1);
        },
      );
    });
  }
}

const tellEveryMs = 5_000;

/**
 * Reading millions of records takes time. The progress is a bar on a terminal, otherwise lines and messages to systemd.
 */
function progressOfStart(log: Log, manager: ServiceManager) {
  let bar: Progress | undefined;
  let what = "";
  let toldAt = performance.now();
  const progress: StartProgress = (doing, done) => {
    if (process.stderr.isTTY) {
      if (what !== doing) bar?.end();
      if (!bar || what !== doing) bar = new Progress(doing, doing.includes("store") ? "records" : "sessions");
      what = doing;
      return bar.at(done);
    }
    if (performance.now() - toldAt < tellEveryMs) return;
    toldAt = performance.now();
    log.info(`start: ${doing}, ${done} so far`);
    manager.starting(`${doing}, ${done} so far`);
  };
  return { progress, end: () => bar?.end() };
}

/** The link logs in. It is for the user of this terminal; the standard output of a service is its journal. */
function sayConsole(gateway: Gateway | FleetGateway): void {
  if (!process.stdout.isTTY) return;
  const links = gateway.consoleLink();
  if (typeof links !== "string")
    out(`Console (this link logs in once, within ten minutes):\n  ${links.join("\n  ")}\n`);
}

function reload(gateway: Gateway | FleetGateway, log: Log, configFile: string): void {
  try {
    const restart = gateway.reload(loadConfig(configFile));
    log.info(
      "SIGHUP: predefined topics, access rules, payloads, credentials, certificates and log level are read again",
    );
    if (restart.length > 0) log.warn(`these changes take effect after a restart: ${restart.join(", ")}`);
  } catch (error) {
    const { problems } = error instanceof GatewayError ? error.details : {};
    log.error(
      { problems },
      `SIGHUP: ${error instanceof Error ? error.message : String(error)}; the settings stay as they were`,
    );
  }
}

function warnOfOldNode(log: Log): void {
  const line = process.versions.node.split(".")[0] ?? "";
  const end = endOfLife[line];
  if (end !== undefined && new Date().toISOString().slice(0, 10) > end) {
    log.warn(`Node ${line} has had no security fixes since ${end}; Node 24 is recommended`);
  }
}
