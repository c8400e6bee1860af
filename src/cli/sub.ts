/** `sub`: a device that subscribes, awake or sleeping. */
import { Command, Option } from "commander";
import type { DeviceEvent } from "../device/device.ts";
import { shown } from "../observe/terminal.ts";
import {
  addDeviceOptions,
  type DeviceCommandOptions,
  failureWords,
  namingOf,
  openDevice,
  qos,
  wholeNumber,
  willOf,
} from "./device-options.ts";
import { err } from "./output.ts";

interface SubOptions extends DeviceCommandOptions {
  topic?: string[];
  predefined?: number;
  short?: string;
  qos: 0 | 1 | 2;
  sleep?: number;
  wakes?: number;
  count?: number;
  timeout?: number;
  verbose?: boolean;
  hex?: boolean;
}

export function subCommand(): Command {
  const command = new Command("sub").description("subscribe as an MQTT-SN device, over UDP");
  return addDeviceOptions(command)
    .option("-t, --topic <filter...>", "topic filters, with + and #; a name of two octets goes as short topic name")
    .option("--predefined <id>", "predefined topic id", wholeNumber(1, 65_534))
    .option("--short <name>", "short topic name, two octets")
    .addOption(new Option("-q, --qos <qos>", "highest QoS wanted").argParser(qos).default(0))
    .option(
      "--sleep <seconds>",
      "go to sleep, wake every so many seconds and fetch the waiting messages",
      wholeNumber(1, 65_535),
    )
    .option("--wakes <count>", "end after so many wake-ups", wholeNumber(1, 1_000_000))
    .option("-C, --count <count>", "end after so many messages", wholeNumber(1, 1_000_000_000))
    .option("-W, --timeout <seconds>", "end after so many seconds", wholeNumber(1, 86_400_000))
    .option("-v, --verbose", "the topic before each message")
    .option("--hex", "messages in hexadecimal")
    .action(sub);
}

async function sub(options: SubOptions, command: Command): Promise<void> {
  const extra = namingOf({
    ...(options.predefined !== undefined && { predefined: options.predefined }),
    ...(options.short !== undefined && { short: options.short }),
  });
  const topics = [...(options.topic ?? []).flatMap((topic) => namingOf({ topic }) ?? []), ...(extra ? [extra] : [])];
  if (topics.length === 0) return command.error("error: the topic is missing: --topic, --predefined or --short");
  const udp = openDevice(options);
  const timers: NodeJS.Timeout[] = [];
  let subscribed = 0;
  let received = 0;
  let wakes = 0;
  let ending = false;

  await new Promise<void>((resolve) => {
    const end = (problem?: string) => {
      if (problem !== undefined) {
        err(`sub: ${problem}\n`);
        process.exitCode = 1;
      }
      for (const timer of timers) clearTimeout(timer);
      process.removeListener("SIGINT", leave);
      process.removeListener("SIGTERM", leave);
      udp.close();
      resolve();
    };
    const leave = () => {
      if (ending || udp.device.state === "disconnected") return end();
      ending = true;
      udp.act((device, now) => device.disconnect(now));
    };
    const sleepAndWake = (seconds: number) => {
      timers.push(setTimeout(() => udp.act((device, now) => device.wake(now)), seconds * 1_000));
    };
    const onEvent = (event: DeviceEvent): void => {
      switch (event.event) {
        case "connected":
          for (const topic of topics) udp.act((device, now) => device.subscribe(topic, options.qos, now));
          return;
        case "subscribed":
          if (++subscribed < topics.length) return;
          err(`subscribed as ${udp.device.clientId}, QoS ${event.qos}\n`);
          if (options.sleep !== undefined) udp.act((device, now) => device.sleep(options.sleep ?? 0, now));
          return;
        case "asleep":
          return sleepAndWake(event.seconds);
        case "drained":
          if (ending) return;
          if (++wakes === options.wakes) return leave();
          return sleepAndWake(options.sleep ?? 0);
        case "message":
          // A program gets the payload unchanged; for a terminal, it is made safe to show.
          process.stdout.write(`${words(event, options)}\n`);
          if (++received === options.count) leave();
          return;
        case "failed":
          return end(failureWords(event, options));
        case "disconnected":
          return end(event.asked || ending ? undefined : "the gateway ended the connection (DISCONNECT)");
        default:
          return;
      }
    };
    process.on("SIGINT", leave);
    process.on("SIGTERM", leave);
    if (options.timeout !== undefined) timers.push(setTimeout(leave, options.timeout * 1_000));
    udp.open(onEvent).then(
      () =>
        udp.act((device, now) =>
          device.connect(
            { clean: !options.disableCleanSession, keepAliveSeconds: options.keepalive, will: willOf(options) },
            now,
          ),
        ),
      (error: Error) => end(error.message),
    );
  });
}

function words(event: Extract<DeviceEvent, { event: "message" }>, options: SubOptions): string {
  const text = Buffer.from(event.payload).toString(options.hex ? "hex" : "utf8");
  const payload = process.stdout.isTTY === true ? shown(text) : text;
  return options.verbose ? `${shown(event.topicName)} ${payload}` : payload;
}
