/** `check`: the configuration, with every problem, or what it would run. */
import { loadConfig } from "../config/load.ts";
import { Managed, managedInWords } from "../config/managed.ts";
import type { GatewayConfig } from "../config/schema.ts";
import { Credentials } from "../upstream/credentials.ts";
import { shownBrokers } from "../upstream/options.ts";
import { out } from "./output.ts";
import { sayProblems } from "./problems.ts";
import { warningsOf } from "./warnings.ts";

export function check(configFile: string): void {
  try {
    const config = loadConfig(configFile);
    for (const options of [config.upstream, ...config.upstreams]) new Credentials(options); // reads what they name
    const listeners = config.transports.map((transport) => `  ${transport.name}: ${inWords(transport)}\n`).join("");
    const topics = Object.keys(config.topics.predefined).length;
    out(
      `${configFile} is valid.\n` +
        `Devices:\n${listeners}` +
        `Broker: ${shownBrokers(config.upstream)}, MQTT ${config.upstream.protocol}${config.tryOutBroker ? " (built-in, for trying out)" : ""}\n` +
        `Predefined topics: ${topics} for all clients, and for ${Object.keys(config.topics.predefinedFor).length} clients of their own\n` +
        `Health and metrics: ${config.api.enabled ? `http://${config.api.host}:${config.api.port}` : "off"}\n` +
        `Console: ${config.api.enabled && config.api.console ? "there too; for a link: mqtt-sn-gateway console" : "off"}\n` +
        managedInWords(new Managed(config.store))
          .map((say) => `Changed by hand: ${say}\n`)
          .join("") +
        warningsOf(config)
          .map((say) => `Warning: ${say}\n`)
          .join(""),
    );
  } catch (error) {
    sayProblems(error);
  }
}

function inWords(transport: GatewayConfig["transports"][number]): string {
  if (transport.type === "udp") return `UDP ${transport.host}:${transport.port}`;
  if (transport.type === "serial") return `serial lines ${transport.ports.join(", ")} at ${transport.baudRate} baud`;
  const adapter = transport.adapter === undefined ? "the first adapter" : `hci${transport.adapter}`;
  return `Bluetooth LE, ${adapter}, up to ${transport.linksMax} connections (see: mqtt-sn-gateway ble check)`;
}
