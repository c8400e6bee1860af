/**
 * `check`: finds every problem of the configuration and of the files that it names, or prints the effective
 * configuration.
 */
import { verdictOn } from "../config/checked.ts";
import { readConfig } from "../config/load.ts";
import { Managed, managedInWords } from "../config/managed.ts";
import type { GatewayConfig } from "../config/schema.ts";
import { exported } from "../config/settings-file.ts";
import { GatewayError } from "../errors.ts";
import type { Loaded } from "../script/sandbox.ts";
import { shownBrokers } from "../upstream/options.ts";
import { err, out } from "./output.ts";
import { loadedScripts, payloadsInWords } from "./payload.ts";
import { sayProblems } from "./problems.ts";

export interface CheckOptions {
  /** Prints the effective configuration as JSON, and no words. */
  readonly export?: boolean;
}

export async function check(configFile: string, options: CheckOptions = {}): Promise<void> {
  try {
    const { config, problems, warnings } = verdictOn(readConfig(configFile));
    const says = warnings.map((say) => `Warning: ${say}\n`).join("");
    // Scripts are run only if there are no other problems.
    const scripts = config && problems.length === 0 ? await loadedScripts(config) : [];
    const all = [
      ...problems,
      ...scripts.flatMap(({ problem }) => (problem === undefined ? [] : `payloads: ${problem}`)),
    ];
    if (all.length > 0 || !config) {
      sayProblems(new GatewayError("ERR_CONFIG_INVALID", { problems: all }));
      return out(says);
    }
    if (options.export) {
      err(says);
      return out(exported(config, new Managed(config.store).state.admitted));
    }
    out(`${configFile} is valid.\n${inWords(config, scripts)}${says}`);
  } catch (error) {
    sayProblems(error);
  }
}

function inWords(config: GatewayConfig, scripts: readonly Loaded[]): string {
  const listeners = config.transports.map((transport) => `  ${transport.name}: ${listener(transport)}\n`).join("");
  const topics = Object.keys(config.topics.predefined).length;
  return (
    `Devices:\n${listeners}` +
    `Broker: ${shownBrokers(config.upstream)}, MQTT ${config.upstream.protocol}${config.tryOutBroker ? " (built-in, for trying out)" : ""}\n` +
    config.upstreams.map((each) => `Broker ${each.name}: ${shownBrokers(each)}, MQTT ${each.protocol}\n`).join("") +
    `Predefined topics: ${topics} for all clients, and for ${Object.keys(config.topics.predefinedFor).length} clients of their own\n` +
    payloadsInWords(config.payloads, scripts)
      .map((say) => `Payload ${say}\n`)
      .join("") +
    `Health and metrics: ${config.api.enabled ? `http://${config.api.host}:${config.api.port}` : "off"}\n` +
    `Console: ${config.api.enabled && config.api.console && !config.fleet.enabled ? "there too; for a link: mqtt-sn-gateway console" : "off"}\n` +
    (config.fleet.enabled
      ? `Fleet: ${config.fleet.shards} shards; the other gateways reach this one at ${placeInWords(config)}\n`
      : "") +
    managedInWords(new Managed(config.store))
      .map((say) => `Changed by hand: ${say}\n`)
      .join("")
  );
}

function placeInWords({ fleet }: GatewayConfig): string {
  const { announce, listen = "" } = fleet;
  const port = /^(?:0\.0\.0\.0|\[::\]):(\d+)$/.exec(listen)?.[1];
  if (announce !== undefined || port === undefined) return announce ?? listen;
  return `the address from which this machine reaches Redis, port ${port}`;
}

function listener(transport: GatewayConfig["transports"][number]): string {
  if (transport.type === "udp") return `UDP ${transport.host}:${transport.port}`;
  if (transport.type === "dtls") return `DTLS (UDP) ${transport.host}:${transport.port}`;
  if (transport.type === "serial") return `serial lines ${transport.ports.join(", ")} at ${transport.baudRate} baud`;
  const adapter = transport.adapter === undefined ? "the first adapter" : `hci${transport.adapter}`;
  return `Bluetooth LE, ${adapter}, up to ${transport.linksMax} connections (see: mqtt-sn-gateway ble check)`;
}
