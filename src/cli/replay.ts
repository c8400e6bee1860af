/**
 * `replay`: sends the devices' datagrams of a capture to a gateway, each device from its own socket, and compares the
 * answers with those in the capture. Exit status 0: the answers are the same, 2: they differ.
 */
import { createSocket, type Socket } from "node:dgram";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { performance } from "node:perf_hooks";
import process from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { gatewayPort, type ReadDatagram } from "../capture/capture-file.ts";
import { GatewayError } from "../errors.ts";
import { differenceWords } from "./expected-answers.ts";
import { err, out } from "./output.ts";
import { Progress } from "./progress.ts";
import { readCapture } from "./read-capture.ts";
import { ReplayedDevice } from "./replayed-device.ts";

export interface ReplayOptions {
  readonly to: { readonly host: string; readonly port: number };
  /** The factor of speed; "max": without pauses. Answers that the capture has are waited for in any case. */
  readonly speed: number | "max";
  /** The gateway's port in the capture. */
  readonly port?: number;
  /** Seconds that an answer may take. */
  readonly patience: number;
}

const differenceExitCode = 2;
const devicesMax = 10_000;
const lookEveryMs = 2;

interface Played {
  readonly socket: Socket;
  readonly device: ReplayedDevice;
  said: number;
}

/** @throws {GatewayError} ERR_CONTROL when the capture cannot be played. */
export async function replay(path: string, options: ReplayOptions): Promise<void> {
  const datagrams = readCapture(path, options.port ?? gatewayPort);
  if (datagrams.some(({ payload, wholeBytes }) => payload.length < wholeBytes))
    throw new GatewayError(
      "ERR_CONTROL",
      { path },
      {
        say: `${path}: it has no payloads (--no-payload), so it can be read but not replayed`,
      },
    );
  const address = await addressOf(options.to.host);
  const devices = await openDevices(datagrams, address);
  const progress = new Progress("replay", "datagrams");
  try {
    await play(datagrams, devices, address, options, (done) => progress.at(done, datagrams.length));
  } finally {
    progress.end();
    for (const { socket } of devices.values()) socket.close();
  }
  report(devices);
}

async function addressOf(host: string): Promise<string> {
  if (isIP(host.replace(/%.*/, ""))) return host;
  try {
    return (await lookup(host)).address;
  } catch (cause) {
    throw new GatewayError("ERR_CONTROL", { host }, { cause, say: `${host} has no address` });
  }
}

async function openDevices(datagrams: readonly ReadDatagram[], address: string): Promise<Map<string, Played>> {
  const devices = new Map<string, Played>();
  for (const { direction, device: name } of datagrams) {
    if (direction === "out" || devices.has(name)) continue;
    if (devices.size === devicesMax)
      throw new GatewayError("ERR_CONTROL", {}, { say: `more than ${devicesMax} devices send in this capture` });
    const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
    const device = new ReplayedDevice();
    socket.on("message", (bytes) => device.hear(bytes));
    socket.on("error", () => {}); // a missing answer shows the error
    await new Promise<void>((resolve) => socket.bind(0, resolve));
    devices.set(name, { socket, device, said: 0 });
  }
  return devices;
}

async function play(
  datagrams: readonly ReadDatagram[],
  devices: ReadonlyMap<string, Played>,
  address: string,
  { speed, to, patience }: ReplayOptions,
  progress: (done: number) => void,
): Promise<void> {
  let done = 0;
  const [first] = datagrams;
  const started = performance.now();
  const dueAt = (atUs: number) => (speed === "max" ? 0 : (atUs - (first?.atUs ?? 0)) / 1_000 / speed);
  for (const { atUs, direction, device, payload } of datagrams) {
    progress(done++);
    const played = devices.get(device);
    if (!played) continue;
    if (direction === "out") {
      // Messages to a device before its first message belong to an earlier session.
      if (played.said > 0) played.device.expect(payload);
      continue;
    }
    const wait = started + dueAt(atUs) - performance.now();
    if (wait > 0) await sleep(wait);
    await answered(played, patience * 1_000);
    played.said++;
    const bytes = played.device.say(payload);
    await new Promise<void>((resolve) => played.socket.send(bytes, to.port, address, () => resolve()));
  }
  const last = datagrams.at(-1);
  const wait = started + dueAt(last?.atUs ?? 0) - performance.now();
  if (wait > 0) await sleep(wait);
  const until = performance.now() + patience * 1_000;
  for (const played of devices.values()) await answered(played, until - performance.now());
}

async function answered({ device }: Played, patienceMs: number): Promise<void> {
  const until = performance.now() + patienceMs;
  while (!device.isAnswered && performance.now() < until) await sleep(lookEveryMs);
  device.giveUp();
}

function report(devices: ReadonlyMap<string, Played>): void {
  let said = 0;
  let answers = 0;
  let different = 0;
  for (const [name, played] of devices) {
    said += played.said;
    answers += played.device.answers;
    const difference = played.device.difference();
    if (!difference) continue;
    different++;
    const why = played.device.isWithinSession ? " (the capture does not begin with its CONNECT)" : "";
    out(`${name}: ${differenceWords(difference)}${why}\n`);
  }
  const ofDevices = `${said} datagrams of ${devices.size} devices, ${answers} answers`;
  if (different === 0) return err(`${ofDevices}: as in the capture\n`);
  err(`${ofDevices}; ${different} devices got other answers than in the capture\n`);
  process.exitCode = differenceExitCode;
}
