/** The command line: what commands there are. Each loads what it needs when it runs. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command } from "commander";
import { bleCommand } from "./ble.ts";
import { addConsoleCommand } from "./console.ts";
import type { DoctorOptions } from "./doctor/doctor.ts";
import { addOperatorCommands } from "./operator.ts";
import { ownConfigFile } from "./own-config.ts";
import { pubCommand } from "./pub.ts";
import { subCommand } from "./sub.ts";

export async function run(argv: readonly string[]): Promise<void> {
  const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as {
    version: string;
  };
  const program = new Command("mqtt-sn-gateway")
    .description("MQTT-SN gateway: UDP and Bluetooth LE devices to any MQTT 3.1.1 or 5 broker")
    .version(version)
    .showHelpAfterError();
  const configFile = [
    "-c, --config <file>",
    "configuration (default: $MQTT_SN_GATEWAY_CONFIG, gateway.config.json here, or the one that comes with it)",
  ] as const;
  program
    .command("start")
    .description("run the gateway")
    .option(...configFile)
    .action(async (options: { config?: string }) =>
      (await import("./start.ts")).start(options.config ?? defaultConfigFile()),
    );
  program
    .command("check")
    .description("read the configuration, say every problem in it or what it would run")
    .option(...configFile)
    .action(async (options: { config?: string }) =>
      (await import("./check.ts")).check(options.config ?? defaultConfigFile()),
    );
  program
    .command("doctor")
    .description("look at everything that the gateway needs, and say what to type")
    .option(...configFile)
    .option("--json", "as JSON")
    .option("--no-try", "publish nothing at the brokers")
    .option("--bundle <file>", "write what a helper needs to know, without secrets (.gz: compressed)")
    .action(async (options: DoctorOptions & { config?: string }) =>
      (await import("./doctor/doctor.ts")).doctor(options.config ?? defaultConfigFile(), version, options),
    );
  program
    .command("decode")
    .description("say a datagram in words")
    .argument("<hex...>", "the datagram's octets in hexadecimal")
    .action(async (hex: string[]) => (await import("./decode.ts")).decodeHex(hex));
  program.addCommand(bleCommand(configFile));
  addConsoleCommand(program, configFile, defaultConfigFile);
  addOperatorCommands(program, configFile, defaultConfigFile);
  program.addCommand(pubCommand());
  program.addCommand(subCommand());
  await program.parseAsync(argv);
}

/** In an empty folder the gateway starts with the configuration that it comes with: a try-out broker, UDP 1883. */
function defaultConfigFile(): string {
  return ownConfigFile() ?? fileURLToPath(new URL("../../gateway.config.json", import.meta.url));
}
