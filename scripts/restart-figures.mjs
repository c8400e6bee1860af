// How long devices wait while a gateway is restarted, from the last answer before to the first one after, and until each device has had
// one. Each device sends a publication at QoS 1 every 500 ms, again with DUP while it is not answered. Prints a table in the form of
// docs/measurements/figures: of a single gateway with its sessions on disk (SIGTERM, and started again when it has ended, as
// `systemctl restart` does); with the word `pair`, of two over a redis-server, of which the active one is told to hand over (`fleet drain`).
// Usage: node scripts/restart-figures.mjs [sessions] [restarts] [pair]     (after npm run build)
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { startTryOutBroker } from "../dist/tryout-broker.js";
import { decode, encode } from "../dist/wire/v12/codec.js";
import { GatewayProcess, redisAt } from "./gateway-process.mjs";

const sessions = Number(process.argv[2] ?? 200);
const restarts = Number(process.argv[3] ?? 5);
const isPair = process.argv[4] === "pair";
const [everyMs, tickMs] = [500, 10];

class Device {
  /** When it was answered last, and first since the last reset; through which port. */
  answered = { at: 0, port: 0 };
  first;
  again = 0;
  #msgId = 0;
  #isOpen = false;
  #socket = createSocket("udp4");
  #clientId;
  #ports;
  #connected;

  constructor(clientId, ports) {
    this.#clientId = clientId;
    this.#ports = ports;
    this.#socket.on("message", (bytes, { port }) => {
      const { ok, message } = decode(bytes);
      if (!ok) return;
      if (message.type === "CONNACK") this.#connected?.();
      if (message.type !== "PUBACK" || message.returnCode !== 0 || message.msgId !== this.#msgId) return;
      this.#isOpen = false;
      this.answered = { at: performance.now(), port };
      this.first ??= this.answered;
    });
  }

  async connect() {
    const connect = { type: "CONNECT", will: false, cleanSession: false, protocolId: 1, duration: 300 };
    const answered = new Promise((done) => {
      this.#connected = done;
    });
    this.#send({ ...connect, clientId: this.#clientId });
    await answered;
  }

  /** The next one, or the last once more. */
  says() {
    if (this.#isOpen) this.again++;
    else this.#msgId = (this.#msgId % 65_535) + 1;
    const publish = { type: "PUBLISH", qos: 1, retain: false, topicIdType: "predefined", topicId: 1 };
    this.#send({ ...publish, dup: this.#isOpen, msgId: this.#msgId, data: new TextEncoder().encode("21.5") });
    this.#isOpen = true;
  }

  #send(message) {
    // As two addresses in a device's list, or one that follows the active gateway: a gateway that does not serve sends nothing.
    for (const port of this.#ports) this.#socket.send(encode(message), port, "127.0.0.1", () => {});
  }

  close() {
    this.#socket.close();
  }
}

const rows = [];
for (const mode of ["aggregating", "transparent"]) rows.push(await measured(mode));
const ending = isPair
  ? ["of it: until the other one has the lease", "until it says that it serves"]
  : ["of it: SIGTERM to the end of the process", "start until it is ready"];
const columns = [
  `${sessions} sessions`,
  "from the last answer to the first",
  "until each device was answered",
  ...ending,
  "sent again",
];
const machine = `${cpus().length} cores (${cpus()[0]?.model}), Node ${process.versions.node}; load ${loadavg()[0]?.toFixed(1)} at the end`;
const command = `node scripts/restart-figures.mjs ${sessions} ${restarts}${isPair ? " pair" : ""}`;
console.log(
  JSON.stringify({ machine, date: new Date().toISOString().slice(0, 10), command, columns, rows }, undefined, 2),
);

async function measured(mode) {
  const folder = mkdtempSync(join(tmpdir(), "restart-"));
  const first = 21_000 + 8 * Math.floor(Math.random() * 1_000);
  const [brokerPort, redisPort, ...ports] = [first, first + 1, first + 2, ...(isPair ? [first + 3] : [])];
  const broker = await startTryOutBroker({ host: "127.0.0.1", port: brokerPort });
  const redis = isPair ? await redisAt(redisPort, folder, "always") : undefined;
  const gateways = ports.map((port, i) => {
    const store = isPair
      ? {
          kind: "redis",
          redis: { url: `redis://127.0.0.1:${redisPort}` },
          pair: { enabled: true, name: `gateway-${i}` },
        }
      : { kind: "disk" };
    return new GatewayProcess(join(folder, `${i}`), {
      transports: [{ type: "udp", host: "127.0.0.1", port }],
      upstream: { url: `mqtt://127.0.0.1:${brokerPort}`, mode, will: { held: "gateway" } },
      topics: { predefined: { 1: "restart/1" } },
      clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0, sessionsPerHostMax: 0 },
      api: { enabled: false },
      store: { ...store, folder: join(folder, `${i}`, "data") },
      log: { level: "info" },
    });
  });
  let [active, other] = gateways;
  const devices = Array.from({ length: sessions }, (_, i) => new Device(`device-${i}`, ports));
  try {
    await active.start("ready: devices");
    await other?.start("standby: ");
    for (const each of devices) await each.connect();
    let next = 0;
    const traffic = setInterval(() => {
      for (let i = 0; i < (sessions * tickMs) / everyMs; i++) devices[next++ % sessions].says();
    }, tickMs);
    await sleep(2_000);
    const found = [];
    for (let i = 0; i < restarts; i++) {
      const before = devices.map(({ answered }) => answered.at);
      const [toldAt, sentAgain] = [performance.now(), sum(devices)];
      const steps = isPair ? await drained(active, other) : await restarted(active);
      const last = Math.max(...steps.answers.map(({ at }) => at));
      while (devices.some(({ first }) => first === undefined || first.at <= last)) {
        // Answered by the one before, and set back too early.
        for (const each of devices) if (each.first && each.first.at <= last) each.first = undefined;
        await sleep(10);
      }
      const firsts = devices.map((each) => each.first.at);
      found.push({
        gap: Math.min(...firsts) - last,
        all: Math.max(...firsts.map((at, device) => at - Math.max(before[device], last))),
        first: steps.first - toldAt,
        second: steps.second - (isPair ? toldAt : steps.first),
        again: sum(devices) - sentAgain,
      });
      if (isPair) {
        await active.start("standby: ");
        [active, other] = [other, active];
      }
      await sleep(2_000);
    }
    clearInterval(traffic);
    const ms = (name) => `${found.map((each) => Math.round(each[name])).join(", ")} ms`;
    return [mode, ms("gap"), ms("all"), ms("first"), ms("second"), found.map(({ again }) => again).join(", ")];
  } finally {
    for (const each of devices) each.close();
    for (const each of gateways) await each.kill();
    if (redis) {
      const ended = once(redis, "exit");
      redis.kill("SIGKILL");
      await ended;
    }
    await broker.close();
    rmSync(folder, { recursive: true });
  }

  /** Ends, and starts again. */
  async function restarted(gateway) {
    await gateway.end("SIGTERM");
    const first = performance.now();
    const answers = devices.map(({ answered }) => answered);
    for (const each of devices) each.first = undefined;
    await gateway.start("ready: devices");
    return { first, second: performance.now(), answers };
  }

  /** One hands over to the other. */
  async function drained(from, to) {
    const answers = [];
    const port = ports[gateways.indexOf(to)];
    for (const each of devices) each.first = undefined;
    const serves = to.says("ready: devices").then(() => performance.now());
    const look = setInterval(() => {
      for (const [i, { answered }] of devices.entries()) if (answered.port !== port) answers[i] = answered;
    }, 1);
    await from.drain();
    const first = performance.now();
    const second = await serves;
    await from.ended;
    clearInterval(look);
    return { first, second, answers: answers.filter((answer) => answer !== undefined) };
  }
}

function sum(devices) {
  return devices.reduce((total, { again }) => total + again, 0);
}
