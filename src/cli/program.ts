/** The command line: the list of commands. Each loads its modules when it runs. */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError } from "commander";
import { bleCommand } from "./ble.ts";
import type { CheckOptions } from "./check.ts";
import { addConsoleCommand } from "./console.ts";
import type { DecodeOptions } from "./decode.ts";
import type { DemoOptions } from "./demo/command.ts";
import { wholeNumber } from "./device-options.ts";
import type { DoctorOptions } from "./doctor/doctor.ts";
import { addExamples } from "./examples.ts";
import { addFleetCommands } from "./fleet.ts";
import { addOperatorCommands } from "./operator.ts";
import { ownConfigFile } from "./own-config.ts";
import type { PayloadOptions } from "./payload.ts";
import { sayProblems } from "./problems.ts";
import { pubCommand } from "./pub.ts";
import type { ReplayOptions } from "./replay.ts";
import { subCommand } from "./sub.ts";
import type { TryDeviceOptions } from "./try-device/command.ts";

export async function run(argv: readonly string[]): Promise<void> {
  await commandLine().parseAsync(argv).catch(sayProblems);
}

/** Makes the command line with all commands; none is executed yet. */
export function commandLine(): Command {
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
    .description("check the configuration: print every problem in it, or what the gateway would run")
    .option(...configFile)
    .option(
      "--export",
      "print the effective configuration: with defaults and clients admitted by hand, without secrets",
    )
    .action(async (options: CheckOptions & { config?: string }) =>
      (await import("./check.ts")).check(options.config ?? defaultConfigFile(), options),
    );
  program
    .command("doctor")
    .description("check everything that the gateway needs, and print what to type")
    .option(...configFile)
    .option("--json", "as JSON")
    .option("--no-try", "publish nothing at the brokers")
    .option("--bundle <file>", "write a file for support, without secrets (.gz: compressed)")
    .action(async (options: DoctorOptions & { config?: string }) =>
      (await import("./doctor/doctor.ts")).doctor(options.config ?? defaultConfigFile(), version, options),
    );
  addTools(program);
  program.addCommand(bleCommand(configFile));
  addConsoleCommand(program, configFile, defaultConfigFile);
  addOperatorCommands(program, configFile, defaultConfigFile);
  addFleetCommands(program, configFile, defaultConfigFile);
  program.addCommand(pubCommand());
  program.addCommand(subCommand());
  addExamples(program);
  return program;
}

/** Commands that need no running gateway of this machine. */
function addTools(program: Command): void {
  program
    .command("decode")
    .description(
      "print datagrams in words, from hexadecimal or pcapng. Exit status 0: all are messages, 2: one is not, 1: there is no input",
    )
    .argument(
      "[hex...]",
      "one datagram's octets in hexadecimal; without them standard input, a datagram a line, or pcapng",
    )
    .option("-r, --read <file>", "a pcapng file, or one of lines")
    .option("-1, --one-line", "a line for each")
    .option("--port <n>", "the gateway's UDP port in the capture (default: 1883)", wholeNumber(1, 65_535))
    .option(
      "--payload <topic>",
      "the octets are the payload of a message under this topic: show what `payloads` makes of it",
    )
    .option("--client <id>", "with --payload: the client that sends it")
    .option("-c, --config <file>", "with --payload: configuration file", "gateway.config.json")
    .action(async (hex: string[], options: DecodeOptions & Partial<PayloadOptions> & { payload?: string }) => {
      const { payload, client, config = "gateway.config.json" } = options;
      if (payload === undefined) return (await import("./decode.ts")).decodeCommand(hex, options);
      const { decodePayload } = await import("./payload.ts");
      await decodePayload(payload, hex, client === undefined ? { config } : { config, client });
    });
  program
    .command("replay")
    .description(
      "send the datagrams of devices in a capture to a gateway again, and compare its answers. Exit status 0: they are the same, 2: they differ",
    )
    .argument("<file>", "pcapng, as `capture -w` writes it")
    .requiredOption("--to <host:port>", "the gateway", asPlace)
    .option("--speed <n>", "the factor of speed; max: without pauses", asSpeed, 1)
    .option("--port <n>", "the gateway's UDP port in the capture (default: 1883)", wholeNumber(1, 65_535))
    .option("--patience <seconds>", "how long an answer may take", wholeNumber(1, 600), 2)
    .action(async (file: string, options: ReplayOptions) =>
      (await import("./replay.ts")).replay(file, options).catch(sayProblems),
    );
  program
    .command("try-device")
    .description(
      "test firmware: a device connects as to a gateway, a dozen things go wrong, and the command reports what the device did " +
        "wrong, by clause. Exit status 0: everything is right, 1: something is wrong, 2: not everything was tried",
    )
    .option("--host <address>", "where to listen", "0.0.0.0")
    .option("-p, --port <n>", "UDP port", wholeNumber(1, 65_535), 1_883)
    .option("--only <name...>", "these situations alone")
    .option("-W, --timeout <seconds>", "end after so many seconds", wholeNumber(1, 86_400))
    .option("-d, --debug", "every message, in one line")
    .action(async (options: TryDeviceOptions) =>
      (await import("./try-device/command.ts")).tryDevice(options).catch(sayProblems),
    );
  program
    .command("demo")
    .description(
      "a broker, the gateway, twenty simulated devices and the page, on this machine only; it leaves no files",
    )
    .option("-p, --port <n>", "TCP port of the page (default: 9464, or any free port)", wholeNumber(1, 65_535))
    .option("--seconds <n>", "end after so many seconds", wholeNumber(1, 86_400))
    .option("--log", "show the gateway's log")
    .action(async (options: DemoOptions) => (await import("./demo/command.ts")).demo(options).catch(sayProblems));
}

function asPlace(text: string): ReplayOptions["to"] {
  const [, host = "", port = ""] = /^\[?(.+?)\]?:(\d{1,5})$/.exec(text) ?? [];
  if (host === "" || Number(port) < 1 || Number(port) > 65_535)
    throw new InvalidArgumentError("host and port, as in 127.0.0.1:1883 or [::1]:1883");
  return { host, port: Number(port) };
}

function asSpeed(text: string): number | "max" {
  const speed = Number(text);
  if (text === "max") return text;
  if (!(speed > 0 && speed <= 1_000_000)) throw new InvalidArgumentError("a number above 0, or max");
  return speed;
}

/** In an empty folder the gateway starts with the configuration of the package: a try-out broker, UDP 1883. */
function defaultConfigFile(): string {
  return ownConfigFile() ?? fileURLToPath(new URL("../../gateway.config.json", import.meta.url));
}
