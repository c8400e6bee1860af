// What sleepers cost: N clients connect, subscribe and sleep, and each is sent K publications at QoS 1, through the real
// driver, core and store; then a new process takes all of it up again, and each fetches its own. Prints memory, time
// and octets written. With "redis" in place of a durability the sessions are at a redis-server, which is started here: then the octets are
// those that its memory grows by.
// Usage: node --expose-gc scripts/sleeper-figures.mjs [clients] [messages each] [durability | redis]     (after npm run build)
import { fork, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setImmediate as nextTurn } from "node:timers/promises";
import { Redis } from "ioredis";
import { gatewayConfig } from "../dist/config/schema.js";
import { restore } from "../dist/runtime/restore.js";
import { DiskStore } from "../dist/storage/disk.js";
import { storeOptions } from "../dist/storage/options.js";
import { RedisStore } from "../dist/storage/redis.js";
import { encode } from "../dist/wire/v12/codec.js";
import { findRedis } from "../test/helpers/find-redis.mjs";
import { inProcess } from "./in-process.mjs";

const clients = Number(process.argv[2] ?? 100_000);
const each = Number(process.argv[3] ?? 2);
const [durability, port = String(24_000 + Math.floor(Math.random() * 4_000))] = (process.argv[4] ?? "group").split(":");
const isAtRedis = durability === "redis";
const folder = process.argv[5] ?? mkdtempSync(join(tmpdir(), "sleepers-"));
const isAgain = process.argv[6] === "again";
const payload = Buffer.alloc(20, 0x61);
const limits = { receiveMaximum: 65_535, maximumQoS: 2, retainAvailable: true, maximumPacketBytes: undefined };

const config = gatewayConfig.parse({
  store: { folder, durability: isAtRedis ? "group" : durability },
  clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0, sessionsMax: 1_000_000, pendingMax: 100_000 },
  buffer: { totalBytesMax: 2 ** 32 },
});
const memory = () => {
  globalThis.gc?.();
  return `${Math.round(process.memoryUsage.rss() / 1e6)} MB RSS, ${Math.round(process.memoryUsage().heapUsed / 1e6)} MB heap, ${Math.round(process.memoryUsage().arrayBuffers / 1e6)} MB buffers`;
};
const server = isAtRedis && !isAgain ? startRedis() : undefined;
const redis = isAtRedis ? new Redis({ port: Number(port), host: "127.0.0.1" }) : undefined;
redis?.on("error", () => {}); // it is starting
const written = async () =>
  redis
    ? Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1])
    : Number(/write_bytes: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))?.[1] ?? 0);
const seconds = (since) => ((performance.now() - since) / 1_000).toFixed(1);

const began = performance.now();
const store = redis ? newRedisStore() : new DiskStore(config.store);
const links = new Map();
/** What each device waits for. */
const waiting = new Map();
let acknowledged = 0;
const handle = (input) => setImmediate(() => driver.handle(input));
const upstream = {
  open: ({ linkId, identity }) => {
    links.set(identity, linkId);
    handle({ kind: "linkUp", linkId, sessionPresent: isAgain, limits });
  },
  subscribe: (linkId, packetId) => handle({ kind: "brokerAck", linkId, ack: "suback", packetId, code: 1 }),
  ack: () => {
    acknowledged++;
  },
};
const transport = { send: (to, bytes) => waiting.get(to)?.(bytes) };
const edges = { upstream, transport, store, hostOf: (peer) => peer };
const { core, driver } = await inProcess("dist", config, edges);
const say = (message, from) => driver.handle({ kind: "datagram", from, bytes: encode(message) });

const { notices, highest } = await store.open();
for (const notice of notices) console.log(`store: ${notice}`);
const restored = await restore(store, highest, {
  handle: (input) => driver.handle(input),
  hasTransport: () => true,
  pause: nextTurn,
});
driver.start();
await (isAgain ? fetchAll() : fill());
driver.stop();
await store.close();

function startRedis() {
  const found = findRedis();
  if ("missing" in found) throw new Error(found.missing);
  const env = found.libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: found.libraries };
  const words = ["--port", port, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes"];
  return spawn(found.path, words, { stdio: "ignore", env });
}

function newRedisStore() {
  const options = storeOptions.parse({ kind: "redis", folder, redis: { url: `redis://127.0.0.1:${port}` } });
  return new RedisStore(options.redis, () => undefined, console.error);
}

async function fill() {
  console.log(`empty: ${memory()}`);
  const before = await written();
  for (let first = 0; first < clients; first += 500) {
    const some = Array.from({ length: Math.min(500, clients - first) }, (_, i) => `c${first + i}`);
    await Promise.all(some.map(sleepSoon));
  }
  console.log(
    `${clients} sleepers in ${seconds(began)} s: ${memory()}; ${(((await written()) - before) / clients).toFixed(0)} octets written for each`,
  );
  const start = await written();
  for (let n = 1; n <= each; n++) {
    for (const { clientId } of core.sessions()) {
      const publication = { topicName: "ab", payload, qos: 1, retain: false };
      driver.handle({ kind: "delivered", linkId: links.get(clientId), publication, packetId: n, dup: false });
      if ((n * clients) % 200 === 0) await new Promise((done) => setImmediate(done));
    }
    while (acknowledged < n * clients) await new Promise((done) => setTimeout(done, 20));
  }
  const octets = (await written()) - start;
  const messages = clients * each;
  console.log(
    `${messages} messages for them: ${memory()}; ${(octets / messages).toFixed(0)} octets written for each, ${(octets / messages / payload.length).toFixed(1)} per octet of payload`,
  );
  driver.stop();
  await store.close();
  const child = fork(
    process.argv[1],
    [String(clients), String(each), isAtRedis ? `redis:${port}` : durability, folder, "again"],
    {
      execArgv: ["--expose-gc"],
    },
  );
  await new Promise((done) => child.once("exit", done));
  server?.kill();
  redis?.disconnect();
  rmSync(folder, { recursive: true });
  process.exit(0);
}

function sleepSoon(clientId) {
  const peer = `x/${clientId}`;
  return new Promise((done) => {
    waiting.set(peer, (bytes) => {
      const type = bytes[1];
      if (type === 0x05)
        say({ type: "SUBSCRIBE", dup: false, qos: 1, topicIdType: "short", topicId: 0x6162, msgId: 1 }, peer);
      else if (type === 0x13) say({ type: "DISCONNECT", duration: 60_000 }, peer);
      else if (type === 0x18) done();
    });
    say({ type: "CONNECT", will: false, cleanSession: false, protocolId: 1, duration: 600, clientId }, peer);
  });
}

async function fetchAll() {
  console.log(
    `taken up again: ${restored.sessions} sessions, ${restored.down} messages in ${seconds(began)} s: ${memory()}`,
  );
  const start = performance.now();
  let fetched = 0;
  const names = [...core.sessions()].map(({ clientId }) => clientId);
  for (let first = 0; first < names.length; first += 500) {
    await Promise.all(
      names.slice(first, first + 500).map(
        (clientId) =>
          new Promise((done) => {
            const peer = `x/${clientId}`;
            waiting.set(peer, (bytes) => {
              if (bytes[1] === 0x17) return done();
              if (bytes[1] !== 0x0c) return;
              fetched++;
              const topicId = (bytes[3] << 8) | bytes[4];
              const msgId = (bytes[5] << 8) | bytes[6];
              say({ type: "PUBACK", topicId, msgId, returnCode: 0 }, peer);
            });
            say({ type: "PINGREQ", clientId }, peer);
          }),
      ),
    );
  }
  console.log(`${fetched} fetched in ${seconds(start)} s: ${memory()}`);
  driver.stop();
  await store.close();
  process.exit(0);
}
