// How long sleepers wait when the active gateway of a pair dies, against the number of sessions: from kill -9 to the first PINGRESP of the
// other one. Each client has an address of its own: the nodes behind one forwarder. [MQTT-SN 1.2 5.4.21] Prints a table in the form of
// docs/measurements/figures, and writes the plot where the second argument says.
// Usage: node scripts/take-over-figures.mjs [kills] [plot.svg] [sessions ...]     (after npm run build)
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { cpus, loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { startTryOutBroker } from "../dist/tryout-broker.js";
import { decode, encode } from "../dist/wire/v12/codec.js";
import { GatewayProcess, redisAt } from "./gateway-process.mjs";
import { median } from "./own-gateway.mjs";

const kills = Number(process.argv[2] ?? 3);
const plotFile = process.argv[3];
const counts = process.argv.slice(4).map(Number);
const sizes = counts.length > 0 ? counts : [100, 1_000, 10_000, 100_000];
const leaseSeconds = 3;
const atWork = 200;
const forwarded = 0xfe;

/** The clients, as nodes behind a forwarder. */
class Nodes {
  #socket = createSocket("udp4");
  /** What a node waits for. */
  #waiting = new Map();
  /** When PINGRESP came last, and from which port. */
  answeredAt = 0;
  answeredBy = 0;

  constructor() {
    this.#socket.on("message", (bytes, { port }) => {
      if (bytes[1] !== forwarded) return;
      const { ok, message } = decode(bytes.subarray(bytes[0]));
      if (!ok) return;
      if (message.type === "PINGRESP") {
        this.answeredAt = performance.now();
        this.answeredBy = port;
      }
      this.#waiting.get(bytes.readUInt32BE(3))?.(message);
    });
  }

  say(node, message, port) {
    const head = Buffer.from([7, forwarded, 1, 0, 0, 0, 0]);
    head.writeUInt32BE(node, 3);
    this.#socket.send(Buffer.concat([head, encode(message)]), port, "127.0.0.1", () => {});
  }

  /** Connects, subscribes and sleeps. */
  async sleeps(node, port) {
    const clientId = clientIdOf(node);
    const connect = { type: "CONNECT", will: false, cleanSession: false, protocolId: 1, duration: 600, clientId };
    const subscribe = { type: "SUBSCRIBE", dup: false, qos: 1, topicIdType: "short", topicId: 0x6162, msgId: 1 };
    for (const [message, answer] of [
      [connect, "CONNACK"],
      [subscribe, "SUBACK"],
      [{ type: "DISCONNECT", duration: 60_000 }, "DISCONNECT"],
    ])
      await this.#asked(node, message, answer, port);
    this.#waiting.delete(node);
  }

  async #asked(node, message, answer, port) {
    for (let i = 0; i < 20; i++) {
      const answered = new Promise((done) => {
        this.#waiting.set(node, ({ type }) => type === answer && done(true));
      });
      this.say(node, message, port);
      if (await Promise.race([answered, sleep(1_000, false, { ref: false })])) return;
    }
    throw new Error(`no ${answer} for ${node}`);
  }

  close() {
    this.#socket.close();
  }
}

const clientIdOf = (node) => `sleeper-${String(node).padStart(7, "0")}`;

const results = [];
for (const sessions of sizes) results.push({ sessions, found: await measured(sessions) });
const rows = results.map(({ sessions, found }) => [
  sessions.toLocaleString("en"),
  found.map((ms) => (ms / 1_000).toFixed(1)).join(", "),
  (median(found) / 1_000).toFixed(1),
]);
const machine = `${cpus().length} cores (${cpus()[0]?.model}), Node ${process.versions.node}; load ${loadavg()[0]?.toFixed(1)} at the end`;
const columns = ["sessions", "seconds from kill -9 to the first answer of the other gateway, each time", "median"];
console.log(JSON.stringify({ machine, date: new Date().toISOString().slice(0, 10), columns, rows }, undefined, 2));
if (plotFile) writeFileSync(plotFile, plot(results.map(({ sessions, found }) => [sessions, median(found) / 1_000])));

async function measured(sessions) {
  const folder = mkdtempSync(join(tmpdir(), "take-over-"));
  const first = 21_000 + 8 * Math.floor(Math.random() * 1_000);
  const [brokerPort, redisPort, ...ports] = [first, first + 1, first + 2, first + 3];
  const broker = await startTryOutBroker({ host: "127.0.0.1", port: brokerPort });
  const redis = await redisAt(redisPort, folder, "everysec");
  const gateways = ports.map((port, i) => {
    const started = new GatewayProcess(join(folder, `${i}`), {
      transports: [{ type: "udp", host: "127.0.0.1", port }],
      upstream: { url: `mqtt://127.0.0.1:${brokerPort}`, mode: "aggregating" },
      clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0, sessionsPerHostMax: 0, sessionsMax: 1_000_000 },
      api: { enabled: false },
      store: {
        kind: "redis",
        folder: join(folder, `${i}`, "data"),
        redis: { url: `redis://127.0.0.1:${redisPort}` },
        pair: { enabled: true, name: `gateway-${i}`, leaseSeconds },
      },
      log: { level: "info" },
    });
    return { port, process: started };
  });
  const nodes = new Nodes();
  let [active, other] = gateways;
  try {
    await active.process.start("ready: devices");
    await other.process.start("standby: ");
    for (let from = 0; from < sessions; from += atWork) {
      const some = Array.from({ length: Math.min(atWork, sessions - from) }, (_, i) => from + i);
      await Promise.all(some.map((node) => nodes.sleeps(node, active.port)));
    }
    await sleep(12_000); // they are parked
    const found = [];
    for (let i = 0; i < kills; i++) {
      const since = performance.now();
      await active.process.kill();
      while (nodes.answeredAt < since || nodes.answeredBy !== other.port) {
        const node = Math.floor(Math.random() * sessions);
        nodes.say(node, { type: "PINGREQ", clientId: clientIdOf(node) }, other.port);
        await sleep(10);
      }
      found.push(nodes.answeredAt - since);
      await active.process.start("standby: ");
      [active, other] = [other, active];
      await sleep(12_000);
    }
    return found;
  } finally {
    nodes.close();
    for (const { process } of gateways) await process.kill();
    const ended = once(redis, "exit");
    redis.kill("SIGKILL");
    await ended;
    await broker.close();
    rmSync(folder, { recursive: true });
  }
}

/** Sessions by their logarithm, and seconds. */
function plot(points) {
  const [left, top, right, bottom] = [60, 40, 620, 310];
  const most = Math.ceil(Math.max(leaseSeconds + 1, ...points.map(([, seconds]) => seconds)));
  const [low, high] = [Math.log10(sizes[0]), Math.log10(sizes.at(-1))];
  const x = (sessions) => (left + ((Math.log10(sessions) - low) / (high - low || 1)) * (right - left)).toFixed(1);
  const y = (seconds) => (bottom - (seconds / most) * (bottom - top)).toFixed(1);
  const title = `Seconds from kill -9 of the active gateway to the first answer of the other (lease ${leaseSeconds} s)`;
  return `${[
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 660 360" font-family="sans-serif" font-size="12">`,
    `<title>${title}</title>`,
    `<rect width="660" height="360" fill="white"/>`,
    `<text x="60" y="22" font-size="14">${title}</text>`,
    `<path d="M${left} ${top}V${bottom}H${right}" fill="none" stroke="black"/>`,
    ...points.flatMap(([sessions]) => [
      `<text x="${x(sessions)}" y="328" text-anchor="middle">${sessions.toLocaleString("en")}</text>`,
      `<path d="M${x(sessions)} ${bottom}v5" stroke="black"/>`,
    ]),
    `<text x="340" y="348" text-anchor="middle">sessions</text>`,
    ...Array.from({ length: most + 1 }, (_, i) => `<text x="52" y="${y(i)}" text-anchor="end">${i}</text>`),
    `<path d="M${left} ${y(leaseSeconds)}H${right}" stroke="#999" stroke-dasharray="4"/>`,
    `<polyline points="${points.map(([sessions, seconds]) => `${x(sessions)},${y(seconds)}`).join(" ")}" fill="none" stroke="#0b5fa5" stroke-width="2"/>`,
    ...points.map(([sessions, seconds]) => `<circle cx="${x(sessions)}" cy="${y(seconds)}" r="3" fill="#0b5fa5"/>`),
    "</svg>",
  ].join("\n")}\n`;
}
