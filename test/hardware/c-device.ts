/**
 * The device library in C as if it were src/device: the same calls, the same events, so that everything which has a
 * device (a socket, a Bluetooth link, the simulation) can have this one. The library runs as a child process that does
 * nothing by itself; a call writes a line to it and waits for its answer, so a simulated run is as repeatable as ever.
 */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, constants, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { AnyDevice, DeviceEvent, DeviceOutput, DeviceState } from "../../src/device/device.ts";
import type { DeviceWill, Request, TopicNaming } from "../../src/device/request.ts";
import type { QoS } from "../../src/wire/fields.ts";
import { hardware } from "./compiler.ts";

export interface CDeviceOptions {
  readonly clientId: string;
  /** T_retry; the library counts in seconds. */
  readonly retrySeconds: number;
  readonly retryLimit: number;
  /** T_WAIT. */
  readonly congestionSeconds?: number;
  readonly seed?: number;
  /** Another build of the library. */
  readonly program?: string;
}

interface Asked {
  readonly line: string;
  readonly request: Request;
  readonly ref: number;
}

const states: readonly DeviceState[] = ["disconnected", "active", "asleep", "awake"];
const results = { ok: 0, busy: 1 };
const topicKinds = ["normal", "predefined", "short"] as const;

export class CDevice implements AnyDevice {
  readonly clientId: string;
  readonly #options: CDeviceOptions;
  readonly #child: ChildProcess;
  readonly #toChild: number;
  readonly #fromChild: number;
  #unread = "";
  #seed: number;
  #state: DeviceState = "disconnected";
  #idle = true;
  #now = 0;
  #waitMs: number | undefined;
  #output: DeviceOutput[] = [];
  #queue: Asked[] = [];
  readonly #asked = new Map<number, Asked>();
  #lastRef = 0;
  #sleepSeconds = 0;
  #connecting: Request | undefined;

  constructor(options: CDeviceOptions) {
    this.#options = options;
    this.clientId = options.clientId;
    this.#seed = options.seed ?? 1;
    const program = options.program ?? join(hardware, "device/build/stdio_device");
    // Named pipes: unlike those of spawn, they are read and written while everything else stands still.
    const folder = mkdtempSync(join(tmpdir(), "device-"));
    const [to, from] = [join(folder, "to"), join(folder, "from")];
    execFileSync("mkfifo", [to, from]);
    const open = [to, from].map((pipe) => openSync(pipe, constants.O_RDWR)); // else each end would wait for the other
    const [childReads, childWrites] = [openSync(to, constants.O_RDONLY), openSync(from, constants.O_WRONLY)];
    this.#toChild = openSync(to, constants.O_WRONLY);
    this.#fromChild = openSync(from, constants.O_RDONLY);
    this.#child = spawn(program, [], { stdio: [childReads, childWrites, "inherit"] });
    this.#child.on("error", () => {}); // a program that is not there: the first line has no answer
    // Now each end belongs to one process: when that one ends, the other one gets an event.
    for (const end of [...open, childReads, childWrites]) closeSync(end);
    rmSync(folder, { recursive: true });
    this.#init();
  }

  get state(): DeviceState {
    return this.#state;
  }

  get idle(): boolean {
    return this.#idle && this.#queue.length === 0;
  }

  connect(options: { clean: boolean; keepAliveSeconds: number; will?: DeviceWill | undefined }, now: number): void {
    const { will } = options;
    const words = ["connect", options.clean ? 1 : 0, options.keepAliveSeconds];
    if (will) words.push(hexText(will.topicName), hex(will.payload), will.qos, will.retain ? 1 : 0);
    const request: Request = {
      kind: "connect",
      clean: options.clean,
      keepAliveSeconds: options.keepAliveSeconds,
      will,
      stage: "connect",
    };
    this.#ask(words, request, now);
  }

  publish(message: { topic: TopicNaming; payload: Uint8Array; qos: QoS; retain?: boolean }, now: number): number {
    const { topic, payload, qos, retain = false } = message;
    const words = ["publish", ...named(topic), qos, retain ? 1 : 0, hex(payload)];
    const ref = this.#lastRef + 1;
    return this.#ask(
      words,
      { kind: "publish", topic, payload, qos, retain, ref, msgId: 0, stage: "publish", registeredAgain: false },
      now,
    );
  }

  publishWithoutConnection(message: { topic: TopicNaming; payload: Uint8Array; retain?: boolean }, now: number): void {
    this.#tell(now, ["unconnected", ...named(message.topic), message.retain ? 1 : 0, hex(message.payload)]);
  }

  subscribe(topic: TopicNaming, qos: QoS, now: number): number {
    const request: Request = { kind: "subscribe", topic, qos, msgId: 0, ref: this.#lastRef + 1 };
    return this.#ask(["subscribe", ...named(topic), qos], request, now);
  }

  unsubscribe(topic: TopicNaming, now: number): number {
    const request: Request = { kind: "unsubscribe", topic, msgId: 0, ref: this.#lastRef + 1 };
    return this.#ask(["unsubscribe", ...named(topic)], request, now);
  }

  updateWillTopic(will: Omit<DeviceWill, "payload"> | undefined, now: number): void {
    const words = will ? [hexText(will.topicName), will.qos, will.retain ? 1 : 0] : ["-", 0, 0];
    this.#ask(["willtopic", ...words], { kind: "willTopic", will }, now);
  }

  updateWillMessage(payload: Uint8Array, now: number): void {
    this.#ask(["willmessage", hex(payload)], { kind: "willMessage", payload }, now);
  }

  sleep(seconds: number, now: number): void {
    this.#sleepSeconds = seconds;
    this.#ask(["sleep", seconds], { kind: "sleep", seconds }, now);
  }

  wake(now: number): void {
    this.#ask(["wake"], { kind: "wake" }, now);
  }

  disconnect(now: number): void {
    this.#ask(["disconnect"], { kind: "disconnect" }, now);
  }

  searchGateway(radius: number, now: number): void {
    this.#tell(now, ["search", radius]);
  }

  /** As after a loss of power: another seed, as a real one should have. */
  reset(): void {
    this.#queue = [];
    this.#asked.clear();
    this.#output = [];
    this.#seed += 1_000_003;
    this.#init();
  }

  receive(bytes: Uint8Array, now: number): void {
    this.#tell(now, ["receive", hex(bytes)]);
    this.#next();
  }

  timeout(now: number): void {
    this.#tell(now, ["poll"]);
    this.#next();
  }

  nextDeadline(): number | undefined {
    return this.#waitMs === undefined ? undefined : this.#now + this.#waitMs;
  }

  take(): readonly DeviceOutput[] {
    const output = this.#output;
    this.#output = [];
    return output;
  }

  close(): void {
    closeSync(this.#toChild);
    closeSync(this.#fromChild);
  }

  #init(): void {
    const { clientId, retrySeconds, retryLimit, congestionSeconds = 30 } = this.#options;
    this.#tell(this.#now, ["init", clientId, retrySeconds, retryLimit, congestionSeconds, this.#seed]);
  }

  #ask(words: readonly (string | number)[], request: Request, now: number): number {
    const ref = ++this.#lastRef;
    this.#queue.push({ line: words.join(" "), request, ref });
    this.#now = millis(now);
    this.#next();
    return ref;
  }

  /** The library takes one request at a time; the others wait here. */
  #next(): void {
    while (this.#queue.length > 0 && this.#idle) {
      const asked = this.#queue.shift() as Asked;
      const { kind } = asked.request;
      if (kind === "connect") this.#connecting = asked.request;
      const { result, msgId } = this.#tell(this.#now, [asked.line], asked);
      if (result === results.busy) throw new Error(`${asked.line}: busy, and said to be idle`);
      if (result === results.ok && msgId !== 0 && kind !== "connect") continue;
      if (result !== results.ok) this.#event({ event: "failed", request: asked.request, returnCode: undefined });
    }
  }

  #tell(
    now: number,
    words: readonly (string | number)[],
    asked?: Asked,
  ): { readonly result: number; readonly msgId: number } {
    this.#now = millis(now);
    const line = Buffer.from(`${this.#now % 2 ** 32} ${words.join(" ")}\n`);
    for (let at = 0; at < line.length; ) at += writeSync(this.#toChild, line, at);
    const heard: string[] = [];
    for (;;) {
      const answer = this.#readLine();
      if (!answer.startsWith(".")) {
        heard.push(answer);
        continue;
      }
      const [, result, msgId, state, idle, wait] = answer.split(" ").map(Number);
      if (asked && result === results.ok && msgId) this.#asked.set(msgId, asked);
      this.#state = states[state ?? 0] ?? "disconnected";
      this.#idle = idle === 1;
      this.#waitMs = wait === 2 ** 32 - 1 ? undefined : wait;
      for (const each of heard) this.#hear(each);
      return { result: result ?? 0, msgId: msgId ?? 0 };
    }
  }

  #readLine(): string {
    for (;;) {
      const end = this.#unread.indexOf("\n");
      if (end >= 0) {
        const line = this.#unread.slice(0, end);
        this.#unread = this.#unread.slice(end + 1);
        return line;
      }
      const chunk = Buffer.alloc(65_536);
      const count = readSync(this.#fromChild, chunk);
      if (count === 0) throw new Error(`${this.clientId}: the library died (a sanitizer's words are above)`);
      this.#unread += chunk.toString("latin1", 0, count);
    }
  }

  #event(event: DeviceEvent): void {
    this.#output.push({ kind: "event", event });
  }

  #hear(line: string): void {
    const words = line.split(" ");
    if (words[0] === "send") {
      this.#output.push({ kind: "send", bytes: octets(words[3]) });
      return;
    }
    const [kind, msgId, returnCode, qos, asked, retain, dup, gwId, topicKind, topicId] = words.slice(1, 11).map(Number);
    const finished = this.#asked.get(msgId ?? 0);
    const ref = finished?.ref ?? 0;
    const over = () => this.#asked.delete(msgId ?? 0);
    switch (kind) {
      case 0:
        return this.#event({ event: "gateway", gwId: gwId ?? 0 });
      case 2:
        this.#connecting = undefined;
        return this.#event({ event: "connected" });
      case 3:
        this.#connecting = undefined;
        this.#queue = [];
        return this.#event({ event: "disconnected", asked: asked === 1 });
      case 4:
        return this.#event({ event: "asleep", seconds: this.#sleepSeconds });
      case 5:
        return this.#event({ event: "drained" });
      case 6:
        over();
        return this.#event({ event: "published", ref });
      case 7:
        over();
        return this.#event({ event: "subscribed", ref, qos: (qos ?? 0) as QoS, topicId: topicId ?? 0 });
      case 8:
        over();
        return this.#event({ event: "unsubscribed", ref });
      case 9:
        over();
        return this.#event({ event: "willUpdated" });
      case 11: {
        over();
        const request = msgId === 0 ? this.#connecting : finished?.request;
        if (!request) throw new Error(`a failure of nothing: ${line}`);
        return this.#event({ event: "failed", request, returnCode: returnCode ?? 0 });
      }
      case 12: {
        const topicIdType = topicKinds[topicKind ?? 0] ?? "normal";
        const names = {
          normal: octets(words[11]).toString(),
          short: String.fromCharCode((topicId ?? 0) >> 8, (topicId ?? 0) & 0xff),
          predefined: `predefined ${topicId}`,
        };
        return this.#event({
          event: "message",
          topicName: names[topicIdType],
          topicIdType,
          topicId: topicId ?? 0,
          payload: octets(words[12]),
          qos: (qos ?? 0) as QoS,
          retain: retain === 1,
          dup: dup === 1,
        });
      }
      default:
        return; // a gateway gone, congestion: src/device does not tell them
    }
  }
}

/** The C library's whole milliseconds; a sum of fractions may lie a hair below one. */
function millis(now: number): number {
  return Math.floor(now + 0.001);
}

function named(topic: TopicNaming): [string, string | number] {
  switch (topic.by) {
    case "predefined":
      return ["predefined", topic.topicId];
    case "short":
    case "name":
      return [topic.by, hexText(topic.topicName)];
  }
}

const hex = (bytes: Uint8Array) => (bytes.length === 0 ? "-" : Buffer.from(bytes).toString("hex"));
const hexText = (text: string) => hex(Buffer.from(text));
const octets = (word: string | undefined) =>
  word === undefined || word === "-" ? Buffer.alloc(0) : Buffer.from(word, "hex");
