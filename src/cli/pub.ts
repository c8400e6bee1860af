/** `pub`: a device that publishes. */
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Command, InvalidArgumentError, Option } from "commander";
import {
  addDeviceOptions,
  type DeviceCommandOptions,
  failureWords,
  namingOf,
  openDevice,
  wholeNumber,
  willOf,
} from "./device-options.ts";
import { err } from "./output.ts";

interface PubOptions extends DeviceCommandOptions {
  topic?: string;
  predefined?: number;
  short?: string;
  message?: string;
  file?: string;
  stdin?: boolean;
  stdinLine?: boolean;
  nullMessage?: boolean;
  qos: -1 | 0 | 1 | 2;
  retain?: boolean;
  repeat: number;
  repeatDelay: number;
}

export function pubCommand(): Command {
  const command = new Command("pub").description("publish as an MQTT-SN device, over UDP");
  return addDeviceOptions(command)
    .option("-t, --topic <topic>", "topic; a name of two octets goes as short topic name, others are registered")
    .option("--predefined <id>", "predefined topic id instead of a name", wholeNumber(1, 65_534))
    .option("--short <name>", "short topic name, two octets")
    .option("-m, --message <text>", "the message")
    .option("-f, --file <file>", "the message is this file")
    .option("-s, --stdin", "the message is standard input")
    .option("-l, --stdin-line", "a message for each line of standard input")
    .option("-n, --null-message", "an empty message")
    .addOption(new Option("-q, --qos <qos>", "-1 needs no connection").argParser(anyQoS).default(0))
    .option("-r, --retain", "the broker keeps it")
    .option("--repeat <count>", "send it so many times", wholeNumber(1, 1_000_000), 1)
    .option("--repeat-delay <seconds>", "between repeats", wholeNumber(0, 86_400), 1)
    .action(pub);
}

function anyQoS(text: string): -1 | 0 | 1 | 2 {
  const value = Number(text);
  if (value === -1 || value === 0 || value === 1 || value === 2) return value;
  throw new InvalidArgumentError("-1, 0, 1 or 2");
}

async function pub(options: PubOptions, command: Command): Promise<void> {
  const topic = namingOf(options);
  if (!topic) return command.error("error: the topic is missing: --topic, --predefined or --short");
  if (options.qos === -1 && topic.by === "name") {
    return command.error("error: QoS -1 needs a predefined topic id (--predefined) or a topic name of two octets");
  }
  const payloads = messages(options);
  if (!payloads)
    return command.error("error: the message is missing: --message, --file, --stdin, --stdin-line or --null-message");
  const udp = openDevice(options);
  const retain = options.retain === true;
  const settled = new Signal();
  let failed = "";
  await udp.open((event) => {
    if (event.event === "failed") failed = failureWords(event, options);
    if (event.event === "disconnected" && !event.asked) failed ||= "the gateway ended the connection (DISCONNECT)";
    if (
      event.event === "connected" ||
      event.event === "published" ||
      event.event === "failed" ||
      event.event === "disconnected"
    )
      settled.raise();
  });
  try {
    if (options.qos !== -1) {
      udp.act((device, now) =>
        device.connect(
          { clean: !options.disableCleanSession, keepAliveSeconds: options.keepalive, will: willOf(options) },
          now,
        ),
      );
      await settled.wait();
    }
    for await (const payload of payloads) {
      for (let i = 0; i < options.repeat && failed === ""; i++) {
        if (i > 0) await new Promise((resolve) => setTimeout(resolve, options.repeatDelay * 1_000));
        const { qos } = options;
        if (qos === -1) {
          udp.act((device, now) => device.publishWithoutConnection({ topic, payload, retain }, now));
          await new Promise((resolve) => setImmediate(resolve)); // the datagram is sent before the socket closes
        } else {
          const published = settled.wait();
          udp.act((device, now) => device.publish({ topic, payload, qos, retain }, now));
          await published;
        }
      }
      if (failed !== "") break;
    }
    if (failed === "" && options.qos !== -1) {
      const gone = settled.wait();
      udp.act((device, now) => device.disconnect(now));
      await gone;
    }
  } finally {
    udp.close();
  }
  if (failed === "") return;
  err(`pub: ${failed}\n`);
  process.exitCode = 1;
}

function messages(options: PubOptions): AsyncIterable<Uint8Array> | undefined {
  const text = new TextEncoder();
  if (options.message !== undefined) return one(text.encode(options.message));
  if (options.nullMessage) return one(new Uint8Array(0));
  if (options.file !== undefined) return one(Uint8Array.from(readFileSync(options.file)));
  if (options.stdin) return one(Uint8Array.from(readFileSync(0)));
  if (options.stdinLine) return lines();
  return undefined;
}

async function* one(payload: Uint8Array): AsyncIterable<Uint8Array> {
  yield payload;
}

async function* lines(): AsyncIterable<Uint8Array> {
  for await (const line of createInterface({ input: process.stdin })) yield new TextEncoder().encode(line);
}

/** Waits for an event; one waiter at a time. An event without a waiter is kept for the next one. */
class Signal {
  #raised = false;
  #waiter: (() => void) | undefined;

  raise(): void {
    if (this.#waiter) this.#waiter();
    else this.#raised = true;
    this.#waiter = undefined;
  }

  wait(): Promise<void> {
    if (this.#raised) {
      this.#raised = false;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.#waiter = resolve;
    });
  }
}
