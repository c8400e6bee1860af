// What one gateway and fleets of one, two and five gateways do on one machine under the same load: messages per second, and the CPU time of
// a message in the gateways, in Redis and in the broker. Each gateway is the front of its part of the devices, and passes on what belongs to
// other gateways. All programs share the cores of the machine, so the figures say what a message costs, and not how fast five machines are.
// Usage: node scripts/fleet-figures.mjs [sizes, as 1,2,5] [rounds] [seconds] [devices]    (after npm run build; needs a C compiler)
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { ask } from "../dist/cli/ask.js";
import { findMosquitto } from "../test/helpers/find-mosquitto.mjs";
import { findRedis } from "../test/helpers/find-redis.mjs";
import { cpuOf, median, rssOf } from "./own-gateway.mjs";

const root = resolve(import.meta.dirname, "..");
const sizes = (process.argv[2] ?? "1,2,5").split(",").map(Number);
const rounds = Number(process.argv[3] ?? 3);
const seconds = Number(process.argv[4] ?? 3);
const devices = Number(process.argv[5] ?? 100);
const shards = 16;
const lines = [
  { what: "QoS 1 up", words: ["-m", "up", "-q", "1"] },
  { what: "QoS 2 up", words: ["-m", "up", "-q", "2"] },
];
const folder = mkdtempSync(join(tmpdir(), "fleet-figures-"));
const generator = join(folder, "load");
const sources = ["load.c", "load-broker.c", "load-devices.c", "load-measure.c"].map((each) =>
  join(root, "test/bench", each),
);
execFileSync("cc", ["-O2", "-o", generator, ...sources]);
const running = [];

function run(path, words, libraries, cwd = folder) {
  const env = libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: libraries };
  const child = spawn(path, words, { stdio: "ignore", env, cwd });
  running.push(child);
  return child;
}

function program(found) {
  if ("missing" in found) throw new Error(found.missing);
  return found;
}

/** The configuration of one of `size` gateways; 0 = a gateway that belongs to no fleet, with its sessions at the same Redis server. */
function configOf(size, i, ports) {
  const at = join(folder, `${size}-${i}`);
  return {
    transports: [{ type: "udp", host: "127.0.0.1", port: ports.udp + i, receiveBufferBytes: 4_194_304 }],
    upstream: { url: `mqtt://127.0.0.1:${ports.broker}`, mode: "aggregating" },
    tryOutBroker: false,
    store: { kind: "redis", folder: at, redis: { url: `redis://127.0.0.1:${ports.redis}`, prefix: `figures-${size}` } },
    ...(size > 0 && {
      fleet: {
        enabled: true,
        name: `gw-${i}`,
        shards,
        listen: `127.0.0.1:${ports.between + i}`,
        key: { env: "FLEET_KEY" },
      },
    }),
    clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0 },
    api: { enabled: false },
    log: { level: "warn" },
  };
}

async function withFleet(size, ports, work) {
  const gateways = Array.from({ length: Math.max(1, size) }, (_, i) => {
    const file = join(folder, `${size}-${i}.json`);
    writeFileSync(file, JSON.stringify(configOf(size, i, ports)));
    return run(process.execPath, [join(root, "dist/main.js"), "start", "-c", file]);
  });
  const socket = (i) => join(folder, `${size}-${i}`, "control.sock");
  for (let tries = 0; ; tries++) {
    await sleep(500);
    try {
      if (size === 0) {
        await ask(socket(0), "overview.show", {});
        break;
      }
      const seen = await Promise.all(gateways.map((_, i) => ask(socket(i), "fleet.members", {})));
      const serving = seen.flatMap(({ owners }) => owners.filter(({ here }) => here === "serving")).length;
      if (serving === shards && seen.every(({ members }) => members.length === size)) break;
    } catch (error) {
      if (tries > 80) throw error;
    }
    if (tries > 80) throw new Error("the shards are not served");
  }
  if (size > 1) await sleep(6_000); // shards move to the last gateways one by one
  try {
    return await work(gateways);
  } finally {
    for (const each of gateways) {
      const ended = once(each, "exit");
      each.kill("SIGTERM");
      await ended;
    }
  }
}

/** Each gateway gets its part of the devices. */
async function load(size, ports, words, round) {
  const fronts = Math.max(1, size);
  const loads = Array.from({ length: fronts }, (_, i) => {
    const own = [...words, "-g", `127.0.0.1:${ports.udp + i}`, "-b", `127.0.0.1:${ports.broker}`];
    const id = `${String.fromCharCode(97 + round)}${i}`;
    const child = spawn(generator, [...own, "-n", String(devices / fronts), "-d", String(seconds), "-i", id]);
    let text = "";
    child.stdout.on("data", (more) => {
      text += more;
    });
    return once(child, "close").then(([code]) => {
      if (code !== 0) throw new Error(`load: ${code} ${text}`);
      return JSON.parse(text);
    });
  });
  return Promise.all(loads);
}

async function measure(size, ports, programs, line, round) {
  return withFleet(size, ports, async (gateways) => {
    const pids = {
      gateways: gateways.map(({ pid }) => pid),
      redis: [programs.redis.pid],
      broker: [programs.broker.pid],
    };
    const cpu = () =>
      Object.fromEntries(Object.entries(pids).map(([of, all]) => [of, all.reduce((sum, pid) => sum + cpuOf(pid), 0)]));
    await load(size, ports, line.words, round + rounds); // new programs are slow at first
    const before = cpu();
    const results = await load(size, ports, line.words, round);
    const after = cpu();
    const messages = results.reduce((sum, each) => sum + each.messages, 0);
    const micros = (of) => Math.round((1_000 * (after[of] - before[of])) / messages);
    return {
      perSecond: Math.round(results.reduce((sum, each) => sum + each.per_s, 0)),
      gateways: micros("gateways"),
      redis: micros("redis"),
      broker: micros("broker"),
      repeats: results.reduce((sum, each) => sum + each.repeats, 0),
      gaveUp: results.reduce((sum, each) => sum + each.gave_up + each.kicked, 0),
      rss: Math.round(gateways.reduce((sum, { pid }) => sum + rssOf(pid), 0)),
    };
  });
}

async function main() {
  const first = 22_000 + 20 * Math.floor(Math.random() * 400);
  const ports = { broker: first, redis: first + 1, udp: first + 2, between: first + 10 };
  process.env.FLEET_KEY = "0123456789abcdef0123456789abcdef";
  const [redisAt, brokerAt] = [program(findRedis()), program(findMosquitto())];
  writeFileSync(
    join(folder, "mosquitto.conf"),
    `listener ${ports.broker} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\n`,
  );
  const programs = {
    redis: run(
      redisAt.path,
      ["--port", String(ports.redis), "--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"],
      redisAt.libraries,
    ),
    broker: run(brokerAt.path, ["-c", join(folder, "mosquitto.conf")], brokerAt.libraries),
  };
  await sleep(500);
  console.log(
    "| what | gateways | messages a second | CPU of a message, us: gateways | Redis | broker | memory of the gateways, MB | repeated |\n" +
      "| --- | --- | --- | --- | --- | --- | --- | --- |",
  );
  for (const line of lines) {
    const found = new Map([0, ...sizes].map((size) => [size, []]));
    for (let round = 0; round < rounds; round++)
      for (const [size, all] of found) all.push(await measure(size, ports, programs, line, round));
    for (const [size, all] of found) {
      const of = (field) => median(all.map((each) => each[field]));
      const name = size === 0 ? "one, no fleet" : size === 1 ? "a fleet of 1" : `a fleet of ${size}`;
      const lost = all.reduce((sum, { gaveUp }) => sum + gaveUp, 0);
      if (lost > 0) throw new Error(`${name}: ${lost} devices were sent away`);
      console.log(
        `| ${line.what} | ${name} | ${of("perSecond")} | ${of("gateways")} | ${of("redis")} | ${of("broker")} | ${of("rss")} | ${of("repeats")} |`,
      );
    }
  }
  console.log(`load of the machine: ${loadavg()[0].toFixed(1)}`);
}

try {
  await main();
} finally {
  for (const child of running) child.kill("SIGKILL");
  await sleep(200);
  rmSync(folder, { recursive: true, force: true });
}
