// What sessions of sleeping clients cost that share a connection, each with one filter of its own: octets of memory for each session as an
// object and parked (src/core/state/parked-sessions.ts), the CPU time of a start that restores them, and of the first PINGREQ of a
// client and its answer.
// Usage: node --expose-gc scripts/parked-figures.mjs [sessions] [folder of another version]    (after npm run build)
import { execFileSync } from "node:child_process";
import { join, resolve } from "node:path";

const count = Number(process.argv[2] ?? 100_000);
const version = resolve(process.argv[3] ?? join(import.meta.dirname, ".."));
const way = process.argv[4];

if (way === undefined) {
  console.log(
    "| sessions | way | heap and buffers each | RSS in all, MB | CPU of a start, s | CPU of the first PINGREQ, us |",
  );
  console.log("| --- | --- | --- | --- | --- | --- |");
  // A process for each: what one leaves behind is not another's.
  for (const each of ["as objects", "parked"])
    execFileSync(process.execPath, ["--expose-gc", process.argv[1], String(count), version, each], {
      stdio: "inherit",
    });
} else await measure();

async function measure() {
  const dist = (path) => import(join(version, "dist", path));
  const { GatewayCore } = await dist("core/gateway-core.js");
  const { coreOptions } = await dist("config/core-options.js");
  const { gatewayConfig } = await dist("config/schema.js");
  const { admitAll } = await dist("core/access.js");
  const { encode } = await dist("wire/v12/codec.js");
  const config = gatewayConfig.parse({
    upstream: { mode: "aggregating" },
    clients: { sessionsMax: 1_000_000, sessionsPerHostMax: 0 },
  });
  const options = coreOptions(config, admitAll);
  const parkAfterMs = way === "parked" ? 10_000 : Number.POSITIVE_INFINITY;
  const environment = {
    maxMessageBytes: () => 1_024,
    hostOf: (peer) => peer.slice(0, peer.lastIndexOf(":")),
    identityOf: (peer) => ({ name: peer, by: "address", verified: false }),
    wallClock: () => undefined,
    random: Math.random,
  };
  const used = () => {
    for (let i = 0; i < 3; i++) globalThis.gc();
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    return heapUsed + arrayBuffers;
  };
  const core = new GatewayCore(
    { ...options, clients: { ...options.clients, parkAfterMs }, durable: true },
    environment,
  );
  const peerOf = (i) => flat(`udp/10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}:${1_024 + (i % 60_000)}`);
  const before = used();
  const began = process.cpuUsage();
  const slice = 1_000;
  for (let from = 0; from < count; from += slice) {
    const states = Array.from({ length: Math.min(slice, count - from) }, (_, at) => stateOf(from + at, peerOf));
    core.handle({ kind: "restored", states }, 1);
  }
  const seconds = cpuSince(began) / 1e6;
  const each = Math.round((used() - before) / count);
  const rss = Math.round(process.memoryUsage.rss() / 1e6);
  if (core.sizes.sessions !== count) throw new Error("some are missing");
  const rounds = Math.min(count, 10_000);
  const pinged = process.cpuUsage();
  for (let i = 0; i < rounds; i++) {
    const at = Math.floor((i * count) / rounds);
    const bytes = encode({ type: "PINGREQ", clientId: `dev-${at}` });
    core.handle({ kind: "datagram", from: peerOf(at), bytes }, 1_000);
  }
  const us = cpuSince(pinged) / rounds;
  console.log(`| ${count} | ${way} | ${each} | ${rss} | ${seconds.toFixed(1)} | ${us.toFixed(1)} |`);
}

/** Microseconds of CPU, also of the garbage collector. */
function cpuSince(began) {
  const { user, system } = process.cpuUsage(began);
  return user + system;
}

/** As it is read from octets: one piece. */
function flat(text) {
  return Buffer.from(text).toString();
}

function stateOf(i, peerOf) {
  const session = {
    clientId: flat(`dev-${i}`),
    peer: peerOf(i),
    state: "asleep",
    clean: false,
    keepAliveSeconds: 60,
    sleepSeconds: 3_600,
    farewell: false,
    spoke: true,
    will: undefined,
    brokerWill: undefined,
    topics: [],
    nextTopicId: 1 + (i % 4_000),
    home: "/0",
    subscriptions: [{ filter: flat(`site/dev-${i}/set`), qos: 1, by: "name", predefinedId: 0 }],
  };
  return { session, topics: [], queued: [], uplink: [], received: [], taken: [], backlog: undefined };
}
