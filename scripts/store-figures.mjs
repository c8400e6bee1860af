// What a commit costs in each kind of store: commits of one changed session (about 400 octets of JSON) with 1 and with 200 of them at work, as
// 200 devices make them. Commits per second, milliseconds until a commit is answered, CPU time of this process for each, and of Redis for
// each. Kinds take turns; medians over the rounds.
// Usage: node scripts/store-figures.mjs [rounds] [seconds] [folder for the stores, on the disk to measure]    (after npm run build)
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { DiskStore } from "../dist/storage/disk.js";
import { MemoryStore } from "../dist/storage/memory.js";
import { storeOptions } from "../dist/storage/options.js";
import { RedisStore } from "../dist/storage/redis.js";
import { findRedis } from "../test/helpers/find-redis.mjs";
import { cpuOf, median } from "./own-gateway.mjs";

const rounds = Number(process.argv[2] ?? 5);
const seconds = Number(process.argv[3] ?? 2);
const folder = mkdtempSync(join(process.argv[4] ?? tmpdir(), "store-figures-"));
const firstPort = 23_000 + 10 * Math.floor(Math.random() * 500);
const servers = [];

function server(i, ...settings) {
  const found = findRedis();
  if ("missing" in found) throw new Error(found.missing);
  const dir = join(folder, `redis-${i}`);
  mkdirSync(dir);
  const env = found.libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: found.libraries };
  const port = firstPort + i;
  const words = ["--port", String(port), "--bind", "127.0.0.1", "--dir", dir, "--save", "", ...settings];
  const child = spawn(found.path, words, { stdio: "ignore", env });
  servers.push(child);
  return { port, child };
}

const redis = ({ port, child }, more = {}) => ({
  pid: child.pid,
  make: () => {
    const options = storeOptions.parse({ kind: "redis", folder, redis: { url: `redis://127.0.0.1:${port}`, ...more } });
    return new RedisStore(options.redis, () => undefined, console.error);
  },
});

const disk = (durability) => ({
  make: () => new DiskStore(storeOptions.parse({ kind: "disk", folder: join(folder, durability), durability })),
});

const everySecond = server(0, "--appendonly", "yes", "--appendfsync", "everysec");
const always = server(1, "--appendonly", "yes", "--appendfsync", "always");
server(2, "--appendonly", "yes", "--appendfsync", "everysec", "--replicaof", "127.0.0.1", String(firstPort + 3));
const withReplica = server(3, "--appendonly", "yes", "--appendfsync", "everysec", "--repl-diskless-sync-delay", "0");
const kinds = [
  ["memory", { make: () => new MemoryStore() }],
  ["disk, none", disk("none")],
  ["disk, group", disk("group")],
  ["disk, each", disk("each")],
  ["Redis, appendfsync everysec", redis(everySecond)],
  ["Redis, appendfsync always", redis(always)],
  ["Redis, everysec, waitReplicas 1", redis(withReplica, { waitReplicas: 1 })],
];

const record = (clientId, topic) => ({
  clientId,
  peer: `udp/192.0.2.1:${1_024 + topic}`,
  state: "active",
  clean: false,
  keepAliveSeconds: 60,
  sleepSeconds: 0,
  farewell: false,
  topics: Array.from({ length: 4 }, (_, i) => ({ id: i + 1, name: `site/${clientId}/topic/${i}`, known: true })),
  nextTopicId: topic,
  subscriptions: [{ filter: `site/${clientId}/set`, qos: 1, by: "name", predefinedId: 0 }],
});

async function measured(store, pid, atWork) {
  const times = [];
  const end = performance.now() + 1_000 * seconds;
  const cpu = process.cpuUsage();
  const before = pid === undefined ? 0 : cpuOf(pid);
  let failed;
  await Promise.all(
    Array.from({ length: atWork }, async (_, i) => {
      const clientId = `client-${String(i).padStart(6, "0")}`;
      for (let topic = 2; performance.now() < end; topic = (topic % 60_000) + 1) {
        const began = performance.now();
        await new Promise((done) =>
          store.commit([{ of: "session", clientId, id: 0, record: record(clientId, topic) }], (error) => {
            failed ??= error;
            done();
          }),
        );
        times.push(performance.now() - began);
        if (store instanceof MemoryStore) await new Promise(setImmediate); // it answers in the same turn
      }
    }),
  );
  if (failed) throw failed;
  const { user, system } = process.cpuUsage(cpu);
  times.sort((a, b) => a - b);
  return {
    perSecond: Math.round(times.length / seconds),
    p50: times[Math.floor(times.length / 2)],
    p99: times[Math.floor(times.length * 0.99)],
    own: (user + system) / times.length,
    redis: pid === undefined ? undefined : (1_000 * (cpuOf(pid) - before)) / times.length,
  };
}

try {
  await sleep(3_000); // the replica has connected
  const results = new Map();
  for (let round = 0; round < rounds; round++)
    for (const atWork of [1, 200])
      for (const [name, { make, pid }] of kinds) {
        const store = make();
        await store.open();
        const key = `${name} | ${atWork}`;
        results.set(key, [...(results.get(key) ?? []), await measured(store, pid, atWork)]);
        await store.close();
      }
  console.log(
    "| store | at work | commits a second | p50, ms | p99, ms | CPU of the gateway, us | CPU of Redis, us |\n" +
      "| --- | --- | --- | --- | --- | --- | --- |",
  );
  for (const [key, all] of results) {
    const of = (field, digits = 0) => median(all.map((each) => each[field])).toFixed(digits);
    const ofRedis = all[0].redis === undefined ? "-" : of("redis", 1);
    console.log(`| ${key} | ${of("perSecond")} | ${of("p50", 2)} | ${of("p99", 2)} | ${of("own", 1)} | ${ofRedis} |`);
  }
  console.log(`load of the machine: ${loadavg()[0].toFixed(1)}`);
} finally {
  for (const child of servers) child.kill("SIGKILL");
  await sleep(200);
  rmSync(folder, { recursive: true, force: true });
}
