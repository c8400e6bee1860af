// How long devices wait while a single gateway is restarted (SIGTERM, and started again when it has ended, as `systemctl restart` does),
// with its sessions on disk: from the last answer before to the first one after, and until each device has had one. Each device sends
// a publication at QoS 1 every 500 ms, again with DUP while it is not answered. Prints a table in the form of docs/measurements/figures.
// Usage: node scripts/restart-figures.mjs [sessions] [restarts]     (after npm run build)
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { startTryOutBroker } from "../dist/tryout-broker.js";
import { decode, encode } from "../dist/wire/v12/codec.js";

const sessions = Number(process.argv[2] ?? 200);
const restarts = Number(process.argv[3] ?? 5);
const main = new URL("../dist/main.js", import.meta.url).pathname;
const [everyMs, tickMs] = [500, 10];

class Device {
  answeredAt = 0;
  firstAt;
  again = 0;
  #msgId = 0;
  #isOpen = false;
  #socket = createSocket("udp4");
  #clientId;
  #port;
  #connected;

  constructor(clientId, port) {
    this.#clientId = clientId;
    this.#port = port;
    this.#socket.on("message", (bytes) => {
      const { ok, message } = decode(bytes);
      if (!ok) return;
      if (message.type === "CONNACK") this.#connected?.();
      if (message.type !== "PUBACK" || message.returnCode !== 0 || message.msgId !== this.#msgId) return;
      this.#isOpen = false;
      this.answeredAt = performance.now();
      this.firstAt ??= this.answeredAt;
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
    this.#socket.send(encode(message), this.#port, "127.0.0.1", () => {});
  }

  close() {
    this.#socket.close();
  }
}

const rows = [];
for (const mode of ["aggregating", "transparent"]) rows.push(await measured(mode));
console.log(
  JSON.stringify(
    {
      machine: `${cpus().length} cores (${cpus()[0]?.model}), Node ${process.versions.node}; load ${loadavg()[0]?.toFixed(1)} at the end`,
      date: new Date().toISOString().slice(0, 10),
      command: `node scripts/restart-figures.mjs ${sessions} ${restarts}`,
      columns: [
        `${sessions} sessions`,
        "from the last answer to the first",
        "until each device was answered",
        "of it: SIGTERM to the end of the process",
        "start until it is ready",
        "sent again",
      ],
      rows,
    },
    undefined,
    2,
  ),
);

async function measured(mode) {
  const folder = mkdtempSync(join(tmpdir(), "restart-"));
  const first = 21_000 + 8 * Math.floor(Math.random() * 1_000);
  const broker = await startTryOutBroker({ host: "127.0.0.1", port: first });
  const config = {
    transports: [{ type: "udp", host: "127.0.0.1", port: first + 1 }],
    upstream: { url: `mqtt://127.0.0.1:${first}`, mode },
    topics: { predefined: { 1: "restart/1" } },
    clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0, sessionsPerHostMax: 0 },
    api: { enabled: false },
    store: { kind: "disk", folder: join(folder, "data") },
    log: { level: "info" },
  };
  writeFileSync(join(folder, "gateway.config.json"), JSON.stringify(config));
  let gateway = await started(folder);
  const devices = Array.from({ length: sessions }, (_, i) => new Device(`device-${i}`, first + 1));
  try {
    for (const each of devices) await each.connect();
    let next = 0;
    const traffic = setInterval(() => {
      for (let i = 0; i < (sessions * tickMs) / everyMs; i++) devices[next++ % sessions].says();
    }, tickMs);
    await sleep(2_000);
    const found = [];
    for (let i = 0; i < restarts; i++) {
      const before = devices.map(({ answeredAt }) => answeredAt);
      const [toldAt, sentAgain] = [performance.now(), sum(devices)];
      const ended = once(gateway.child, "exit");
      gateway.child.kill("SIGTERM");
      await ended;
      const [endedAt, last] = [performance.now(), Math.max(...devices.map(({ answeredAt }) => answeredAt))];
      for (const each of devices) each.firstAt = undefined;
      gateway = await started(folder);
      const readyAt = performance.now();
      while (devices.some(({ firstAt }) => firstAt === undefined)) await sleep(10);
      const firsts = devices.map(({ firstAt }) => firstAt);
      found.push({
        gap: Math.min(...firsts) - last,
        all: Math.max(...firsts.map((at, i) => at - Math.max(before[i], last))),
        stop: endedAt - toldAt,
        start: readyAt - endedAt,
        again: sum(devices) - sentAgain,
      });
      await sleep(2_000);
    }
    clearInterval(traffic);
    const ms = (name) => `${found.map((each) => Math.round(each[name])).join(", ")} ms`;
    return [mode, ms("gap"), ms("all"), ms("stop"), ms("start"), found.map(({ again }) => again).join(", ")];
  } finally {
    for (const each of devices) each.close();
    if (gateway.child.exitCode === null) {
      const ended = once(gateway.child, "exit");
      gateway.child.kill("SIGKILL");
      await ended;
    }
    await broker.close();
    rmSync(folder, { recursive: true });
  }
}

function sum(devices) {
  return devices.reduce((total, { again }) => total + again, 0);
}

async function started(folder) {
  const child = spawn(process.execPath, [main, "start"], { cwd: folder, stdio: ["ignore", "pipe", "inherit"] });
  let text = "";
  await new Promise((done, fail) => {
    child.once("exit", () => fail(new Error(text)));
    child.stdout.on("data", (more) => {
      text += more;
      if (/ready: devices/.test(text)) done();
    });
  });
  child.removeAllListeners("exit");
  return { child };
}
