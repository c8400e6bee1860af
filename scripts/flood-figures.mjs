// What a flood costs those who do as they should. `hellos`: ClientHellos from 100,000 addresses against devices over DTLS at the same port;
// `wild`: one device that sends as fast as it can, beyond its limit, against the latency of others over UDP. By turns, with and without;
// the flood comes from a process in C (test/bench/flood.c; needs cc). Prints a table in the form of docs/measurements/figures.
// Usage: node scripts/flood-figures.mjs hellos|wild [turns] [seconds of a turn] [messages a second of the others]
//   [hellosPerSecondMax]   (after npm run build)
import { execFileSync, spawn, spawnSync } from "node:child_process";
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { SecureDevice } from "../dist/device/secure.js";
import { suites } from "../dist/secure/suites.js";
import { nodeCrypto } from "../dist/transports/dtls/node-crypto.js";
import { encode } from "../dist/wire/v12/codec.js";
import { psk } from "./fuzz-dtls.mjs";
import { cpuOf, heapOf, median, withGateway, withHeap } from "./own-gateway.mjs";

const [what, ...numbers] = process.argv.slice(2);
const [turns = 5, seconds = 10, perSecond = 1_000, hellosPerSecondMax = 2_000] = numbers.map(Number);
const deviceCount = 100;
const addresses = 100_000;
const key = Buffer.from(psk, "hex");
const hex = (bytes) => Buffer.from(bytes).toString("hex");
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));
const tools = mkdtempSync(join(tmpdir(), "flood-"));
const flooder = join(tools, "flood");
execFileSync("cc", [
  "-O2",
  "-Wall",
  "-Wextra",
  "-o",
  flooder,
  new URL("../test/bench/flood.c", import.meta.url).pathname,
]);

/** Where that is allowed, all that is measured is scheduled before other work of the machine: gateway and others first, then the flood. */
const mayBeFirst = spawnSync("chrt", ["--rr", "5", "true"]).status === 0;
const first = (pid) => mayBeFirst && execFileSync("chrt", ["--rr", "-p", "10", String(pid)]);
first(process.pid);
if (!mayBeFirst) process.stderr.write("without priority: other work of the machine counts\n");

/** Answers what the flood counted. */
const flood = (...words) =>
  new Promise((done, fail) => {
    const [program, ...all] = [...(mayBeFirst ? ["chrt", "--rr", "5"] : []), flooder, ...words.map(String)];
    const child = spawn(program, all, {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let text = "";
    child.stdout.on("data", (more) => (text += more));
    child.once("exit", (code) => (code === 0 ? done(JSON.parse(text)) : fail(new Error(`flood: ${code}`))));
  });

const connect = (clientId) =>
  encode({ type: "CONNECT", will: false, cleanSession: true, protocolId: 1, duration: 6_000, clientId });
const publish = (msgId) =>
  encode({
    ...{ type: "PUBLISH", dup: false, qos: 1, retain: false, topicIdType: "predefined", topicId: 1, msgId },
    data: new Uint8Array(32),
  });

/** One of the others: at its pace whether it is answered or not; nothing is repeated, so what is lost is seen. */
class Other {
  socket = createSocket("udp4");
  /** When each message left, by its id. */
  sent = new Map();
  msgId = 0;
  constructor(name, port, isSealed) {
    this.port = port;
    this.name = name;
    const identity = name;
    if (isSealed) this.dtls = new SecureDevice(nodeCrypto, { identity, key, suites: [suites.ccm8], cidOctets: 0 });
    this.socket.on("message", (bytes) => {
      if (!this.dtls) return this.heard(bytes);
      this.dtls.receive(bytes, performance.now());
      this.flush();
    });
  }
  raw(bytes) {
    this.socket.send(bytes, this.port, "127.0.0.1");
  }
  flush() {
    for (const item of this.dtls.take()) {
      if (item.kind === "send") this.raw(item.bytes);
      else if (item.kind === "message") this.heard(item.bytes);
      else if (item.kind === "opened") this.send(connect(this.name));
    }
  }
  send(bytes) {
    if (!this.dtls) return this.raw(bytes);
    this.dtls.send(bytes);
    this.flush();
  }
  async start() {
    await new Promise((done) => this.socket.bind(0, "127.0.0.1", done));
    await new Promise((done, fail) => {
      this.heard = (bytes) => (bytes[1] === 0x05 && bytes[2] === 0 ? done() : fail(new Error(hex(bytes))));
      if (!this.dtls) return this.send(connect(this.name));
      this.dtls.start(performance.now());
      this.flush();
    });
    this.heard = (bytes) => {
      const id = bytes[4] * 256 + bytes[5];
      const at = this.sent.get(id);
      if (bytes[1] !== 0x0d || bytes[6] !== 0 || at === undefined) return;
      this.sent.delete(id);
      this.took(performance.now() - at);
    };
  }
  publish() {
    this.msgId = (this.msgId % 65_000) + 1;
    this.sent.set(this.msgId, performance.now());
    this.send(publish(this.msgId));
  }
}

/** The others publish for some seconds at their pace; answers how they fared, and what it cost the gateway. */
async function turn(others, gateway, during) {
  const times = [];
  for (const other of others) {
    other.sent.clear();
    other.took = (ms) => times.push(ms);
  }
  const cpu = cpuOf(gateway.pid);
  const began = performance.now();
  const flooding = during?.();
  let sent = 0;
  for (let ms = 0; ms < 1_000 * seconds; ms = performance.now() - began) {
    for (; sent < (ms * perSecond) / 1_000; sent++) others[sent % others.length].publish();
    await sleep(1);
  }
  const counted = await flooding;
  await sleep(1_000);
  const cpuMs = cpuOf(gateway.pid) - cpu;
  times.sort((a, b) => a - b);
  const at = (share) => times[Math.floor(share * (times.length - 1))] ?? Number.NaN;
  return {
    answered: times.length / sent,
    p50: at(0.5),
    p99: at(0.99),
    cpu: cpuMs / (10 * seconds),
    counted,
    heap: await heapOf(gateway),
  };
}

async function metrics(port) {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  return (name) =>
    text
      .split("\n")
      .filter((line) => line.startsWith(name))
      .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

/** A ClientHello without a cookie, and where its random octets are: behind record, message, version and time. */
function hello() {
  const device = new SecureDevice(nodeCrypto, { identity: "x", key, suites: [suites.ccm8], cidOctets: 0 });
  device.start(0);
  return hex(device.take()[0].bytes);
}
const randomAt = 13 + 12 + 2 + 4;

const percent = (share) => `${(100 * share).toFixed(share < 0.9995 ? 1 : 0)} %`;
const thousands = (value) => Math.round(value).toLocaleString("en-US");
const columns = [
  "",
  "the flood, datagrams a second",
  "the others: answered without repetition",
  "p50",
  "p99",
  "CPU of the gateway (100 %: one core)",
  "heap after a collection, each turn",
];
const row = (title, found) => {
  const of = (read) => median(found.map(read));
  return [
    title,
    found[0].counted ? thousands(of(({ counted }) => counted.perSecond)) : "-",
    percent(of(({ answered }) => answered)),
    `${of(({ p50 }) => p50).toFixed(2)} ms`,
    `${of(({ p99 }) => p99).toFixed(2)} ms`,
    `${of(({ cpu }) => cpu).toFixed(0)} %`,
    `${found.map(({ heap }) => heap.toFixed(1)).join(" ")} MB`,
  ];
};
/** What is said once for all turns. */
const once = (title, text) => [title, text, "", "", "", "", ""];

/** Kinds of turns, one after the other; the first round warms up. */
async function byTurns(others, gateway, kinds) {
  const found = kinds.map(() => []);
  for (let round = 0; round <= turns; round++)
    for (const [i, [, during]] of kinds.entries()) {
      const result = await turn(others, gateway, during);
      process.stderr.write(`${JSON.stringify(result)}\n`);
      if (round > 0) found[i].push(result);
    }
  return found;
}

async function hellos() {
  const configure = ([dtlsPort, apiPort], folder) => {
    const keys = Object.fromEntries(Array.from({ length: deviceCount }, (_, i) => [`dev${i}`, psk]));
    writeFileSync(join(folder, "keys.json"), JSON.stringify(keys), { mode: 0o600 });
    return {
      transports: [
        {
          type: "dtls",
          host: "127.0.0.1",
          port: dtlsPort,
          keys: { file: "keys.json" },
          handshakesPerHostMax: 1_000,
          hellosPerSecondMax,
        },
      ],
      topics: { predefined: { 1: "up/1" } },
      api: { port: apiPort, console: false },
      store: { kind: "memory" },
    };
  };
  return withGateway({ configure, ports: 2, words: withHeap }, async ({ gateway, ports: [port, apiPort] }) => {
    first(gateway.pid);
    const others = Array.from({ length: deviceCount }, (_, i) => new Other(`dev${i}`, port, true));
    for (const other of others) await other.start();
    const words = ["-p", port, "-n", addresses, "-m", hello(), "-o", randomAt, "-d", seconds];
    const kinds = [
      ["no flood", undefined],
      ["each address says hello once", () => flood(...words, "-r", addresses / seconds)],
      ["50,000 hellos a second", () => flood(...words, "-r", 50_000)],
      ["as fast as one process sends", () => flood(...words)],
    ];
    const found = await byTurns(others, gateway, kinds);
    const said = await metrics(apiPort);
    const all = found.flat().flatMap(({ counted }) => counted ?? []);
    const [asked, answered] = ["octets", "answerOctets"].map((name) => all.reduce((sum, each) => sum + each[name], 0));
    for (const { socket } of others) socket.close();
    return [
      ...kinds.map(([title], i) => row(title, found[i])),
      once("contexts; half-open handshakes", `${said("mqttsn_dtls_contexts")}; ${said("mqttsn_dtls_handshakes_open")}`),
      once("octets answered for an octet asked", (answered / asked).toFixed(2)),
    ];
  });
}

async function wild() {
  const configure = ([port, apiPort]) => ({
    transports: [{ type: "udp", host: "127.0.0.1", port }],
    topics: { predefined: { 1: "up/1" } },
    access: { limits: [{ clients: "wild*", upPerSecond: 10 }] },
    api: { port: apiPort, console: false },
    store: { kind: "memory" },
  });
  return withGateway({ configure, ports: 2, words: withHeap }, async ({ gateway, ports: [port, apiPort] }) => {
    first(gateway.pid);
    const others = Array.from({ length: deviceCount }, (_, i) => new Other(`dev${i}`, port, false));
    for (const other of others) await other.start();
    let count = 0;
    // A new device in each turn, so that each gets congestion first, and is then ignored.
    const broken =
      (...rate) =>
      () =>
        flood("-p", port, "-m", hex(publish(7)), "-f", hex(connect(`wild${count++}`)), "-d", seconds, ...rate);
    const kinds = [
      ["all devices as they should", undefined],
      ["one of them sends 1,000 messages a second; 10 are allowed", broken("-r", 1_000)],
      ["one of them sends as fast as one process can", broken()],
    ];
    const found = await byTurns(others, gateway, kinds);
    const said = await metrics(apiPort);
    for (const { socket } of others) socket.close();
    const dropped = (reason) => thousands(said(`mqttsn_dropped_total{reason="${reason}"`));
    return [
      ...kinds.map(([title], i) => row(title, found[i])),
      once("dropped beyond its limit; put off", `${dropped("over-limit")}; ${dropped("quarantined")}`),
    ];
  });
}

const kinds = { hellos, wild };
if (!(what in kinds)) throw new Error("hellos or wild?");
const rows = await kinds[what]();
rmSync(tools, { recursive: true });
process.stderr.write(`load of the machine: ${loadavg()[0].toFixed(1)}\n`);
process.stdout.write(`${JSON.stringify({ columns, rows }, undefined, 2)}\n`);
