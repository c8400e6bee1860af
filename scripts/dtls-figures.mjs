// What DTLS costs: a handshake and a record on the gateway's side, a context in memory, contexts taken up at a start, and QoS 1 up in
// aggregating mode as a share of plain UDP, by the CPU time of the whole gateway. Prints a table in the form of
// docs/measurements/figures. Usage: node --expose-gc scripts/dtls-figures.mjs [messages] [rounds]     (after npm run build)
import { createPrivateKey, createSign, X509Certificate } from "node:crypto";
import { createSocket } from "node:dgram";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { SecureDevice } from "../dist/device/secure.js";
import { SecureServer } from "../dist/secure/server.js";
import { certificateSuites, suites } from "../dist/secure/suites.js";
import { readCertificateRing } from "../dist/transports/dtls/certificates.js";
import { loadNativeAead, withNativeAead } from "../dist/transports/dtls/native-crypto.js";
import { nodeCrypto } from "../dist/transports/dtls/node-crypto.js";
import { decode, encode } from "../dist/wire/v12/codec.js";
import { certificates, psk } from "./fuzz-dtls.mjs";
import { cpuOf, median, withGateway } from "./own-gateway.mjs";

const messages = Number(process.argv[2] ?? 60_000);
const rounds = Number(process.argv[3] ?? 3);
const fixture = (name) => new URL(`../test/helpers/fixtures/${name}`, import.meta.url).pathname;
const own = createPrivateKey(readFileSync(fixture("client-key.pem")));
const certificate = {
  chain: [new X509Certificate(readFileSync(fixture("client.pem"))).raw],
  sign: (bytes) => createSign("sha256").update(bytes).sign(own),
  trusts: () => () => true,
};
const key = Buffer.from(psk, "hex");
const { credentials } = readCertificateRing(certificates);
const compiled = loadNativeAead();

/** The shipped server over a store that says yes at once; the time that it alone takes is summed in `spent`, in microseconds. */
class Bench {
  spent = 0;
  stored = new Map();
  delivered = 0;
  constructor(clock = () => 1_000 * performance.now(), crypto = withNativeAead(compiled)) {
    this.clock = clock;
    const limits = {
      contextsMax: 1e6,
      handshakesMax: 1e6,
      handshakesPerHostMax: 1e6,
      hellosPerSecondMax: 1e9,
      idleMs: 1e12,
      storeTopEveryMs: 1_000,
    };
    const all = [...Object.values(suites), ...Object.values(certificateSuites)];
    this.server = new SecureServer(crypto, { ...limits, suites: all, cidOctets: 8, credentials: () => credentials }, 0);
  }
  input(input) {
    const began = this.clock();
    const effects = this.server.handle(input, 0);
    this.spent += this.clock() - began;
    const back = [];
    for (const effect of effects) {
      if (effect.kind === "transmit") back.push(effect.bytes);
      else if (effect.kind === "deliver") this.delivered++;
      else if (effect.kind === "askKey") back.push(...this.input({ kind: "key", token: effect.token, key }));
      else if (effect.kind === "persist") {
        for (const { identity, record } of effect.changes) this.stored.set(identity, record);
        back.push(...this.input({ kind: "persisted", token: effect.token, ok: true }));
      }
    }
    return back;
  }
  /** Shakes hands; the answer is the device. */
  open(identity, suite) {
    const device = new SecureDevice(nodeCrypto, { identity, key, suites: [suite], cidOctets: 0, certificate });
    device.start(0);
    for (let turns = 0; turns < 10 && !device.isOpen; turns++)
      for (const item of device.take())
        if (item.kind === "send")
          for (const bytes of this.input({ kind: "datagram", address: `192.0.2.1:${identity}`, bytes: item.bytes }))
            device.receive(bytes, 0);
    device.take();
    if (!device.isOpen) throw new Error("no handshake");
    return device;
  }
}

/** CPU time so far, in microseconds: other work on the machine does not count. */
const cpu = () => {
  const { user, system } = process.cpuUsage();
  return user + system;
};

function handshakeMicroseconds(suite) {
  const times = [];
  for (let round = 0; round < 5; round++) {
    const bench = new Bench(cpu);
    for (let i = 0; i < 400; i++) bench.open(`dev${i}`, suite);
    times.push(bench.spent / 400);
  }
  return Math.round(median(times.slice(1)));
}

/** One record of 60 octets, opened and sealed, in microseconds: medians of hundreds. */
function recordMicroseconds(suite, crypto) {
  const bench = new Bench(undefined, crypto);
  const device = bench.open("dev", suite);
  const bytes = new Uint8Array(60);
  const [open, seal] = [[], []];
  for (let i = 0; i < 300; i++) {
    const records = [];
    for (let j = 0; j < 100; j++) {
      device.send(bytes);
      records.push(device.take()[0].bytes);
    }
    bench.spent = 0;
    for (const record of records) bench.input({ kind: "datagram", address: "192.0.2.1:dev", bytes: record });
    open.push(bench.spent / 100);
    bench.spent = 0;
    for (let j = 0; j < 100; j++) bench.input({ kind: "send", identity: "dev", bytes });
    seal.push(bench.spent / 100);
  }
  return { open: median(open.slice(50)).toFixed(1), seal: median(seal.slice(50)).toFixed(1) };
}

function contexts(count) {
  const bench = new Bench();
  const device = bench.open("dev", suites.ccm8);
  device.take();
  const [record] = bench.stored.values();
  // The same record under many names of one length: `dev` is the identity that stands in it.
  const at = Buffer.from(record).indexOf("dev");
  const records = Array.from({ length: count }, (_, i) => {
    const copy = Buffer.concat([
      record.subarray(0, at - 2),
      Buffer.from([0, 8]),
      Buffer.from(`d${String(i).padStart(7, "0")}`),
      record.subarray(at + 3),
    ]);
    // Its connection id, which has to be its own: 8 octets behind identity and address.
    const cidAt = at + 8 + 1 + copy[at + 8] + 1;
    copy.writeUInt32BE(i, cidAt);
    return new Uint8Array(copy);
  });
  const times = [];
  let kept;
  for (let i = 0; i < 5; i++) {
    const { server } = new Bench();
    const began = cpu();
    server.handle({ kind: "restored", records }, 0);
    times.push((cpu() - began) / 1_000);
    kept = server;
  }
  if (kept.size !== count) throw new Error(`${kept.size} contexts of ${count}`);
  kept = undefined;
  globalThis.gc?.();
  const before = process.memoryUsage();
  kept = new Bench().server;
  kept.handle({ kind: "restored", records }, 0);
  globalThis.gc?.();
  const after = process.memoryUsage();
  const each = (name) => Math.round((after[name] - before[name]) / count);
  return {
    ms: Math.round(median(times)),
    heap: each("heapUsed"),
    buffers: each("arrayBuffers"),
    record: records[0].length,
    size: kept.size,
  };
}

const devices = 64;

/** QoS 1 up of 64 devices, each with one open message: CPU time of the gateway for a message, in microseconds. */
async function upMicroseconds(port, suite, gateway) {
  const ends = await Promise.all(
    Array.from({ length: devices }, async (_, i) => {
      const end = { left: Math.ceil(messages / devices), socket: createSocket("udp4"), dtls: undefined, msgId: 0 };
      const identity = `dev${i}`;
      const clientId = suite ? identity : `plain${i}`;
      if (suite) end.dtls = new SecureDevice(nodeCrypto, { identity, key, suites: [suite], cidOctets: 0 });
      await new Promise((done) => end.socket.bind(0, "127.0.0.1", done));
      const raw = (bytes) => end.socket.send(bytes, port, "127.0.0.1");
      const flush = () => {
        for (const item of end.dtls.take()) {
          if (item.kind === "send") raw(item.bytes);
          else if (item.kind === "message") end.heard(item.bytes);
          else if (item.kind === "opened") end.opened();
        }
      };
      end.send = (message) => {
        const bytes = encode(message);
        if (!end.dtls) return raw(bytes);
        end.dtls.send(bytes);
        flush();
      };
      end.socket.on("message", (bytes) => {
        if (!end.dtls) return end.heard(bytes);
        end.dtls.receive(bytes, performance.now());
        flush();
      });
      if (end.dtls)
        await new Promise((done) => {
          end.opened = done;
          end.dtls.start(performance.now());
          flush();
        });
      await new Promise((done, fail) => {
        end.heard = (bytes) => {
          const { ok, message } = decode(bytes);
          if (ok && message.type === "CONNACK" && message.returnCode === 0) done();
          else fail(new Error(`not let in: ${Buffer.from(bytes).toString("hex")}`));
        };
        end.send({
          type: "CONNECT",
          will: false,
          cleanSession: true,
          protocolId: 1,
          duration: 600,
          clientId,
        });
      });
      return end;
    }),
  );
  // Everything is encoded and encrypted before, and answers are counted without being decrypted, so that devices have the same speed over
  // UDP and DTLS. Otherwise fewer datagrams of slower devices would arrive at a time, and the gateway would make more system calls for
  // each.
  const data = new Uint8Array(32);
  for (const end of ends) {
    end.datagrams = Array.from({ length: end.left }, (_, i) => {
      const topic = { topicIdType: "predefined", topicId: 1 };
      const bytes = encode({
        type: "PUBLISH",
        dup: false,
        qos: 1,
        retain: false,
        ...topic,
        msgId: (i % 65_000) + 1,
        data,
      });
      if (!end.dtls) return bytes;
      end.dtls.send(bytes);
      return end.dtls.take()[0].bytes;
    });
    end.socket.removeAllListeners("message");
  }
  const before = cpuOf(gateway.pid);
  await Promise.all(
    ends.map(
      ({ socket, datagrams }) =>
        new Promise((done) => {
          let sent = 0;
          const publish = () => {
            if (sent === datagrams.length) return done();
            socket.send(datagrams[sent++], port, "127.0.0.1");
          };
          socket.on("message", publish);
          publish();
        }),
    ),
  );
  const spent = (1_000 * (cpuOf(gateway.pid) - before)) / messages;
  // Another round may have their ports: the gateway must not tell those that their client is elsewhere now.
  for (const end of ends) end.send({ type: "DISCONNECT", duration: undefined });
  await new Promise((done) => setTimeout(done, 500));
  for (const { socket } of ends) socket.close();
  return spent;
}

/** Makes Node not find the compiled part. */
const without =
  "require('node:module')._load = ((load) => (name, ...more) => { if (name.endsWith('aead.node')) throw new Error(name); return load(name, ...more); })(require('node:module')._load);";

const configure = ([udpPort, dtlsPort], folder) => {
  const keys = Object.fromEntries(Array.from({ length: devices }, (_, i) => [`dev${i}`, psk]));
  writeFileSync(join(folder, "keys.json"), JSON.stringify(keys), { mode: 0o600 });
  return {
    transports: [
      { type: "udp", host: "127.0.0.1", port: udpPort },
      { type: "dtls", host: "127.0.0.1", port: dtlsPort, keys: { file: "keys.json" }, handshakesPerHostMax: 1_000 },
    ],
    upstream: { receiveMaximum: 1_000 },
    topics: { predefined: { 1: "up/1" } },
    api: { enabled: false },
  };
};

/** Words for Node that make it not find the compiled part. */
function uncompiled(folder) {
  const file = join(folder, "without.cjs");
  writeFileSync(file, without);
  return ["--require", file];
}

const upBy = async ({ gateway, ports: [udpPort, dtlsPort] }) => {
  const kinds = { udp: [udpPort, undefined], ccm8: [dtlsPort, suites.ccm8], gcm: [dtlsPort, suites.gcm] };
  const found = { udp: [], ccm8: [], gcm: [] };
  // The first round warms up.
  for (let round = 0; round <= rounds; round++)
    for (const [name, [port, suite]] of Object.entries(kinds)) {
      const spent = await upMicroseconds(port, suite, gateway);
      if (round > 0) found[name].push(spent);
    }
  return Object.fromEntries(Object.entries(found).map(([name, values]) => [name, median(values)]));
};
const up = await withGateway({ configure, ports: 2 }, upBy);
const upNode = compiled ? await withGateway({ configure, ports: 2, words: uncompiled }, upBy) : up;
const records = Object.fromEntries(["ccm8", "gcm"].map((name) => [name, recordMicroseconds(suites[name])]));
const memory = contexts(10_000);
const us = (value) => `${value} µs`;
const rows = [
  ["handshake with a pre-shared key, CCM-8", us(handshakeMicroseconds(suites.ccm8))],
  ["handshake with a pre-shared key, GCM", us(handshakeMicroseconds(suites.gcm))],
  ["handshake with certificates, GCM", us(handshakeMicroseconds(certificateSuites.gcm))],
  ["a record of 60 octets, CCM-8: opened, sealed", `${us(records.ccm8.open)}, ${us(records.ccm8.seal)}`],
  ["a record of 60 octets, GCM: opened, sealed", `${us(records.gcm.open)}, ${us(records.gcm.seal)}`],
  ["QoS 1 up, aggregating: CPU of the gateway for a message over UDP", us(up.udp.toFixed(0))],
  ["the same over DTLS, CCM-8", `${us(up.ccm8.toFixed(0))}: ${(up.udp / up.ccm8).toFixed(2)} of the rate over UDP`],
  ["the same over DTLS, GCM", `${us(up.gcm.toFixed(0))}: ${(up.udp / up.gcm).toFixed(2)} of the rate over UDP`],
  [
    "without the compiled part: over UDP, CCM-8, GCM",
    `${us(upNode.udp.toFixed(0))}; ${us(upNode.ccm8.toFixed(0))}: ${(upNode.udp / upNode.ccm8).toFixed(2)}; ${us(upNode.gcm.toFixed(0))}: ${(upNode.udp / upNode.gcm).toFixed(2)}`,
  ],
  [
    "a context in memory",
    `${memory.heap + memory.buffers} octets of heap and buffers${compiled ? "" : ", and what OpenSSL keeps for two keys"}`,
  ],
  ["a context in the store", `${memory.record} octets`],
  ["10,000 contexts taken up at a start", `${memory.ms} ms of CPU time`],
];
process.stdout.write(`${JSON.stringify({ columns: ["", ""], rows }, undefined, 2)}\n`);
