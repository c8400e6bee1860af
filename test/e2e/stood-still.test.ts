/**
 * The shipped gateway is stopped and continues (SIGSTOP, like a frozen container). Clients that sent PINGREQ meanwhile are not lost, and a
 * client that had been silent before is.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createSocket, type Socket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleepMs } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { startTryOutBroker, type TryOutBroker } from "../../src/tryout-broker.ts";
import { freePort } from "../helpers/ports.ts";
import { until } from "../helpers/test-gateway.ts";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
/** Longer than twice what a client may be silent. */
const stoppedMs = 5_000;
const keepAliveSeconds = 2;
/** They fit into any socket's buffer beside those that come later. */
const busyPings = 200;

let folder: string;
let gateway: ChildProcess | undefined;
let broker: TryOutBroker | undefined;
const sockets: Socket[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "stood-still-"));
});
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.close();
  const child = gateway;
  if (child && child.exitCode === null) await new Promise((done) => child.once("exit", done).kill("SIGKILL"));
  gateway = undefined;
  if (broker?.kind === "started") await broker.close();
  rmSync(folder, { recursive: true, force: true });
});

async function start(mode: string) {
  const port = await udpPort();
  const brokerPort = await freePort();
  broker = await startTryOutBroker({ host: "127.0.0.1", port: brokerPort });
  writeFileSync(
    join(folder, "gateway.config.json"),
    JSON.stringify({
      transports: [{ type: "udp", host: "127.0.0.1", port }],
      upstream: { url: `mqtt://127.0.0.1:${brokerPort}`, mode },
      api: { enabled: false },
      store: { kind: "memory" },
      log: { level: "info", format: "json" },
    }),
  );
  const child = spawn(process.execPath, [main, "start"], { cwd: folder });
  gateway = child;
  const output = { text: "" };
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output.text += data));
  await until(
    `ready in: ${output.text}`,
    () => output.text.includes("ready") && output.text.includes("connected to the broker"),
  );
  return { child, output, device: (clientId: string) => device(port, clientId) };
}

async function udpPort(): Promise<number> {
  const socket = createSocket("udp4");
  await new Promise<void>((done) => socket.bind(0, "127.0.0.1", done));
  const { port } = socket.address();
  await new Promise<void>((done) => socket.close(() => done()));
  return port;
}

const names: Record<number, string> = {
  5: "CONNACK",
  6: "WILLTOPICREQ",
  8: "WILLMSGREQ",
  23: "PINGRESP",
  24: "DISCONNECT",
};

/** A client with a will, which says what the test tells it to. */
async function device(port: number, clientId: string) {
  const socket = createSocket("udp4");
  sockets.push(socket);
  const heard: string[] = [];
  socket.on("message", (octets) => heard.push(names[octets[1] ?? 0] ?? String(octets[1])));
  await new Promise<void>((done) => socket.connect(port, "127.0.0.1", done));
  const say = (type: number, ...octets: number[]) => socket.send(Buffer.from([octets.length + 2, type, ...octets]));
  const id = [...Buffer.from(clientId)];
  const hears = (what: string) => until(`${what} for ${clientId}, heard ${heard}`, () => heard.includes(what));
  say(0x04, 0x0c, 0x01, 0, keepAliveSeconds, ...id);
  await hears("WILLTOPICREQ");
  say(0x07, 0x00, ...Buffer.from(`w/${clientId}`));
  await hears("WILLMSGREQ");
  say(0x09, ...Buffer.from("gone"));
  await hears("CONNACK");
  heard.length = 0;
  return {
    clientId,
    heard,
    hears,
    ping: () => say(0x16),
    wake: () => say(0x16, ...id),
    sleep: (seconds: number) => say(0x18, 0, seconds),
  };
}

test.each(["transparent", "aggregating"])(
  "%s: whoever pinged is there, a sleeper is answered, one that was silent before is lost",
  async (mode) => {
    const { child, output, device } = await start(mode);
    const pinging = [await device("ping0"), await device("ping1"), await device("ping2")];
    const sleeper = await device("sleeper");
    sleeper.sleep(keepAliveSeconds);
    await sleeper.hears("DISCONNECT");
    sleeper.heard.length = 0;
    await device("dead");
    for (const { ping, hears } of pinging) {
      ping();
      await hears("PINGRESP");
    }

    // Stopped in the middle of its work, and not while it waits: then timers run before sockets are read.
    for (let i = 0; i < busyPings; i++) pinging[i % pinging.length]?.ping();
    child.kill("SIGSTOP");
    const end = Date.now() + stoppedMs;
    sleeper.wake();
    while (Date.now() < end) {
      for (const { ping } of pinging) ping();
      await sleepMs(500); // no device does more: it is the time that the gateway stands still
    }
    child.kill("SIGCONT");

    await sleeper.hears("PINGRESP");
    // They continue until the dead client is noticed.
    const pings = setInterval(() => {
      for (const { ping } of pinging) ping();
      sleeper.wake();
    }, 500);
    try {
      await until("the dead one is lost", () => /client dead is lost: keep alive ran out/.test(output.text), 20_000);
      await until("its will", () => /will of dead published/.test(output.text));
    } finally {
      clearInterval(pings);
    }
    expect(output.text).toMatch(/this process stood still for \d+\.\d s/);
    const lost = [...output.text.matchAll(/client (\w+) is lost/g)].map(([, who]) => who);
    const wills = [...output.text.matchAll(/will of (\w+) published/g)].map(([, who]) => who);
    expect({ lost, wills }).toEqual({ lost: ["dead"], wills: ["dead"] });
    for (const { heard } of [...pinging, sleeper]) expect(heard).not.toContain("DISCONNECT");
  },
  60_000,
);
