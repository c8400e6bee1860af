// How long single steps of the event loop are with N sessions: a restart with them on disk, traffic, scrapes, a backup, and all
// of them silent for too long at the same moment (the process is stopped for two seconds before, so that each has its full time
// again from then on). Prints for each phase the longest step and how many were longer than 5 ms.
// A step's length is the lesser of time and CPU time: what else the machine does is left out.
// Usage: node scripts/step-figures.mjs [sessions] [mode] [folder of another version]    (after npm run build; needs gcc, mosquitto)
import { execFileSync, fork, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { performance } from "node:perf_hooks";
import { findMosquitto } from "../test/helpers/find-mosquitto.mjs";
import { inProcess } from "./in-process.mjs";

const sessions = Number(process.argv[2] ?? 100_000);
const mode = process.argv[3] ?? "aggregating";
const root = resolve(import.meta.dirname, "..");
const version = resolve(process.argv[4] ?? root);
const dist = (path) => import(join(version, "dist", path));
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
/** After a restart each client has this long, and half of it more. */
const keepAliveSeconds = 40;

const configOf = (folder, brokerPort, apiPort) => ({
  transports: [{ type: "udp", host: "127.0.0.1", port: 0 }],
  upstream: { mode, url: `mqtt://127.0.0.1:${brokerPort}` },
  clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0, sessionsMax: 1_000_000, sessionsPerHostMax: 0 },
  api: { enabled: true, host: "127.0.0.1", port: apiPort },
  store: { kind: "disk", folder },
  log: { level: "error", format: "json" },
});

if (process.argv[5] === "fill") await fill(process.argv[6]);
else if (process.argv[5] === "gateway") await gateway(JSON.parse(process.argv[6]));
else await main();

async function main() {
  const folder = mkdtempSync(join(tmpdir(), "steps-"));
  const broker = await startBroker(folder);
  const child = (...args) =>
    fork(process.argv[1], [String(sessions), mode, version, ...args], {
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
  let running;
  try {
    const filling = child("fill", folder);
    const code = await new Promise((done) => filling.once("exit", done));
    if (code !== 0) throw new Error("the sessions could not be made");
    running = child("gateway", JSON.stringify(configOf(folder, broker.port, await freePort())));
    const ask = (question) =>
      new Promise((done, failed) => {
        const ended = () => failed(new Error("the gateway ended"));
        running.once("exit", ended);
        running.once("message", (answer) => {
          running.off("exit", ended);
          done(answer);
        });
        running.send(question);
      });
    const { udp, api } = await new Promise((done) => running.once("message", done));
    const restarted = Date.now();
    const load = startLoad(udp, broker.port, running.pid);
    console.log(`| phase | steps longer than 5 ms | longest, ms | the five longest |\n| --- | --- | --- | --- |`);
    const show = async (name) => {
      const long = (await ask("steps")).steps.sort((a, b) => b - a);
      const five = long.slice(0, 5).map((each) => each.toFixed(1));
      console.log(
        `| ${name} | ${long.filter((each) => each > 5).length} | ${five[0] ?? "under 1"} | ${five.join(", ")} |`,
      );
    };
    await show("restart");
    await pause(6_000);
    await show("QoS 1 up, 6 s");
    for (let i = 0; i < 5; i++) {
      await (await fetch(`http://127.0.0.1:${api}/metrics`)).text();
      await pause(300);
    }
    await show("five scrapes");
    await ask("backup");
    await show("backup");
    load.stdin.end();
    await new Promise((done) => load.once("exit", done));
    process.kill(running.pid, "SIGSTOP");
    await pause(2_000);
    process.kill(running.pid, "SIGCONT");
    await pause(500);
    await show("stood still for 2 s");
    for (let left = 40; left > 0 && (await ask("active")).active > 0; left--) await pause(3_000);
    await show("all lost at once");
    console.error(
      `${((Date.now() - restarted) / 1_000).toFixed(0)} s after the restart; ${JSON.stringify(await ask("active"))}`,
    );
    running.send("stop");
    await new Promise((done) => running.once("exit", done));
  } finally {
    running?.kill("SIGKILL");
    broker.stop();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Writes the sessions as the gateway itself would: through core and store, with a clock that stands. */
async function fill(folder) {
  const { gatewayConfig } = await dist("config/schema.js");
  const { DiskStore } = await dist("storage/disk.js");
  const { encode } = await dist("wire/v12/codec.js");
  const config = gatewayConfig.parse(configOf(folder, 1, 0));
  const store = new DiskStore(config.store);
  await store.open();
  const answers = new Map();
  const soon = (input) => setImmediate(() => driver.handle(input));
  const { driver } = await inProcess(join(version, "dist"), config, {
    network: "udp",
    store,
    clock: { now: () => 1, wakeAt: () => {}, afterReading: setImmediate },
    hostOf: (peer) => peer,
    upstream: {
      unsubscribe: (linkId, packetId) => soon({ kind: "brokerAck", linkId, ack: "unsuback", packetId }),
      subscribe: (linkId, packetId) => soon({ kind: "brokerAck", linkId, ack: "suback", packetId, code: 1 }),
    },
    transport: { send: (to, bytes) => answers.get(to)?.(bytes) },
  });
  driver.start();
  const say = (message, from) => driver.handle({ kind: "datagram", from, bytes: encode(message) });
  const begin = (i) =>
    new Promise((done) => {
      const peer = `udp/127.48.${(i >> 8) & 255}.${i & 255}:${2_000 + (i >> 16)}`;
      answers.set(peer, (bytes) => {
        if (bytes[1] === 0x05) say({ type: "REGISTER", topicId: 0, msgId: 1, topicName: `s/u/${i}` }, peer);
        else if (bytes[1] === 0x0b)
          say({ type: "SUBSCRIBE", dup: false, qos: 1, topicIdType: "normal", topicName: `s/d/${i}`, msgId: 2 }, peer);
        else if (bytes[1] === 0x13) done();
      });
      const about = { will: false, cleanSession: false, protocolId: 1, duration: keepAliveSeconds };
      say({ type: "CONNECT", clientId: `s${i}`, ...about }, peer);
    });
  for (let first = 0; first < sessions; first += 500)
    await Promise.all(Array.from({ length: Math.min(500, sessions - first) }, (_, i) => begin(first + i)));
  driver.stop();
  await store.close();
  process.exit(0);
}

async function gateway(given) {
  const { parseConfig } = await dist("config/load.js");
  const { Gateway } = await dist("gateway.js");
  const { createLog } = await dist("observe/log.js");
  const steps = [];
  watch(steps);
  const config = parseConfig(given);
  const running = new Gateway(config, await createLog(config.log, 2));
  await running.start();
  const place = running.places()[0];
  process.send({ udp: Number(place.slice(place.lastIndexOf(":") + 1)), api: given.api.port });
  process.on("message", async (question) => {
    if (question === "steps") process.send({ steps: steps.splice(0) });
    if (question === "active") {
      const text = await (await fetch(`http://127.0.0.1:${given.api.port}/metrics`)).text();
      process.send({ active: Number(/^mqttsn_sessions\{state="active"\} (\d+)/m.exec(text)?.[1] ?? -1) });
    }
    if (question === "backup") {
      const file = join(given.store.folder, "gateway.config.json");
      writeFileSync(file, JSON.stringify(given));
      const args = [join(version, "dist/main.js"), "backup", join(given.store.folder, "all.backup"), "-c", file];
      const copying = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
      copying.once("exit", (code) => process.send({ code }));
    }
    if (question === "stop") running.stop().then(() => process.exit(0));
  });
}

/** Each turn of the event loop, measured from one `setImmediate` to the next; what is longer than 1 ms is kept. */
function watch(steps) {
  let [at, cpu] = [performance.now(), cpuMs()];
  const turn = () => {
    const now = performance.now();
    if (now - at > 1) {
      const spent = cpuMs();
      steps.push(Math.min(now - at, spent - cpu));
      cpu = spent;
    } else cpu += now - at;
    at = performance.now();
    setImmediate(turn);
  };
  setImmediate(turn);
}

function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

function startLoad(udp, brokerPort, pid) {
  const program = join(root, ".cache/bench/load");
  if (!existsSync(program)) {
    mkdirSync(join(root, ".cache/bench"), { recursive: true });
    const sources = ["load.c", "load-broker.c", "load-devices.c", "load-measure.c"];
    execFileSync("cc", ["-O2", "-o", program, ...sources.map((name) => join(root, "test/bench", name))]);
  }
  const places = ["-g", `127.0.0.1:${udp}`, "-b", `127.0.0.1:${brokerPort}`, "-p", String(pid)];
  const args = ["-m", "up", "-q", "1", "-n", "20", "-d", "12", "-i", "ld"];
  return spawn(program, [...places, ...args], { stdio: ["pipe", "ignore", "inherit"] });
}

async function startBroker(folder) {
  const program = findMosquitto();
  if ("missing" in program) throw new Error(program.missing);
  const port = await freePort();
  const file = join(folder, "mosquitto.conf");
  writeFileSync(
    file,
    `listener ${port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 100000\nlog_dest none\nuser root\n`,
  );
  const env = program.libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: program.libraries };
  const child = spawn(program.path, ["-c", file], { env, stdio: "ignore" });
  await pause(1_000);
  return { port, stop: () => child.kill("SIGTERM") };
}

function freePort() {
  return new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });
}
