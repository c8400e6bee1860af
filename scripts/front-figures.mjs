// What a front of a fleet costs for each datagram, in one process and without sockets: the shipped core and driver hear QoS 0
// publications, or PINGREQs that are answered, once directly, once through a front that owns all shards, and once through a front that
// owns none and passes everything to another front (both are counted together then), without and with a key. 64 datagrams come in each
// wake-up. The ways take turns of some milliseconds; what is printed is microseconds of CPU and the ratio to the direct way, the median
// over the turns.
// Usage: node scripts/front-figures.mjs [clients] [turns] [folder of another version]    (after npm run build)
import { resolve } from "node:path";
import { inProcess, partOf } from "./in-process.mjs";

const clients = Number(process.argv[2] ?? 10_000);
const turns = Number(process.argv[3] ?? 200);
const dist = resolve(process.argv[4] ?? resolve(import.meta.dirname, ".."), "dist");
const { parseConfig } = await partOf(dist, "config/load.js");
const { encode } = await partOf(dist, "wire/v12/codec.js");
const { datagramWords } = await partOf(dist, "core/dialects/glance.js");
const { Front } = await partOf(dist, "fleet/front.js");
const { systemTimers } = await partOf(dist, "transports/timers.js");

const shards = 64;
const perWake = 64;
const wakesPerTurn = 100;
const peers = Array.from({ length: clients }, (_, i) => `udp/192.0.2.${i % 250}:${1_000 + i}`);
const connectOf = (i) =>
  encode({ type: "CONNECT", will: false, cleanSession: true, protocolId: 1, duration: 6_000, clientId: `c${i}` });
const messages = {
  "PUBLISH, QoS 0": encode({
    type: "PUBLISH",
    dup: false,
    qos: 0,
    retain: false,
    topicIdType: "short",
    topicId: 0x6162,
    msgId: 0,
    data: new Uint8Array(20),
  }),
  "PINGREQ and its answer": encode({ type: "PINGREQ", clientId: "" }),
};

/** Frames between gateways. */
const onTheWay = [];

function arrive() {
  while (onTheWay.length > 0) for (const each of onTheWay.splice(0)) each();
}

/** A transport of which the script is the network. */
class Wire {
  constructor(name) {
    this.name = name;
    this.place = "192.0.2.255:1";
    this.warnings = [];
    this.sent = 0;
  }
  hostOf = (peer) => peer.slice(4, peer.lastIndexOf(":"));
  maxMessageBytes = () => 1_024;
  identityOf = (peer) => ({ name: peer, by: "address", verified: false });
  sendsWhile() {}
  async start(events) {
    this.events = events;
  }
  send() {
    this.sent++;
  }
  broadcast() {}
  async close() {}
  hear(from, count, datagram) {
    this.events.batch(() => {
      for (let i = from; i < from + count; i++) this.events.datagram(peers[i % clients], datagram(i % clients).slice());
    });
  }
}

async function core(transport) {
  const config = parseConfig({
    transports: [{ type: "udp" }],
    upstream: { mode: "aggregating", url: "mqtt://127.0.0.1:1" },
    clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0, sessionsMax: 1_000_000, sessionsPerHostMax: 0 },
  });
  const hostOf = (peer) => transport.hostOf(peer);
  const { driver } = await inProcess(dist, config, {
    network: "udp",
    transport: { send: (to, bytes) => transport.send(to, bytes) },
    hostOf,
  });
  driver.handle({ kind: "restored", known: [] });
  driver.start();
  await new Promise((done) => setTimeout(done, 100));
  return driver;
}

const eventsOf = (driver) => ({
  datagram: (from, bytes) => driver.handle({ kind: "datagram", from, bytes }),
  batch: (work) => work(),
});

async function direct() {
  const wire = new Wire("udp");
  await wire.start(eventsOf(await core(wire)));
  return { wire, out: wire };
}

async function fronted(isOwner, key) {
  const places = new Map();
  const member = (name) => ({ name, run: name, place: `192.0.2.${name}:9`, version: "1", isDraining: false });
  const front = (name, owns) => {
    const wire = new Wire("udp");
    const carrier = new Wire("between");
    const other = member(name === "1" ? "2" : "1");
    const others = [other];
    carrier.send = (to, frame) => onTheWay.push(() => places.get(to)?.(`between/${member(name).place}`, frame));
    places.set(`between/${member(name).place}`, (from, frame) =>
      carrier.events.batch(() => carrier.events.datagram(from, frame)),
    );
    const made = new Front({
      name,
      transports: [wire],
      ownership: { shards, ownerOf: () => (owns ? "here" : other), others: () => others },
      book: { find: async () => undefined, keep() {} },
      words: datagramWords,
      between: { carrier, key: () => key, run: name },
      timers: systemTimers,
      told() {},
    });
    return { wire, front: made };
  };
  const owner = front("1", true);
  const asked = isOwner ? owner : front("2", false);
  await owner.front.start();
  if (!isOwner) await asked.front.start();
  const ports = Array.from({ length: shards }, (_, shard) => owner.front.transportsOf(shard)[0]);
  // One core in the place of 64: what the front costs, and not what so many cores do to the processor's cache.
  const transport = { hostOf: owner.wire.hostOf, send: (to, bytes) => ports[0].send(to, bytes), broadcast() {} };
  const events = eventsOf(await core(transport));
  for (const port of ports) await port.start(events);
  return { wire: asked.wire, out: asked.wire };
}

const ways = {
  direct: await direct(),
  "own shard": await fronted(true, undefined),
  "passed on": await fronted(false, undefined),
  "passed on, with a key": await fronted(false, new Uint8Array(32)),
};
for (const { wire } of Object.values(ways)) {
  for (let i = 0; i < clients; i += perWake) wire.hear(i, Math.min(perWake, clients - i), connectOf);
  arrive();
  await new Promise((done) => setTimeout(done, 300));
  arrive();
}

console.log("| datagrams | way | us each | ratio to direct |\n| --- | --- | --- | --- |");
for (const [what, bytes] of Object.entries(messages)) {
  const times = Object.fromEntries(Object.keys(ways).map((way) => [way, []]));
  const of = () => bytes;
  for (let turn = 0; turn < turns; turn++) {
    for (const [way, { wire, out }] of Object.entries(ways)) {
      const before = out.sent;
      const began = cpu();
      for (let wake = 0; wake < wakesPerTurn; wake++) {
        wire.hear((turn * wakesPerTurn + wake) * perWake, perWake, of);
        arrive();
        // Answers to other gateways leave at the end of a turn of the event loop.
        if (wake % 10 === 9) await new Promise((done) => setImmediate(done));
      }
      await new Promise((done) => setImmediate(done));
      arrive();
      times[way].push((cpu() - began) / (wakesPerTurn * perWake));
      const answers = out.sent - before;
      if (what.startsWith("PINGREQ") && answers !== wakesPerTurn * perWake)
        throw new Error(`${way}: ${answers} answers`);
    }
  }
  const direct = median(times.direct);
  for (const [way, all] of Object.entries(times))
    console.log(`| ${what} | ${way} | ${median(all).toFixed(2)} | ${(median(all) / direct).toFixed(2)} |`);
}
process.exit(0);

/** Microseconds of this process. */
function cpu() {
  const { user, system } = process.cpuUsage();
  return user + system;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[sorted.length >> 1];
}
