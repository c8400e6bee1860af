/**
 * npm run test:fuzz -- --datagrams 1000000 [--dtls 0.3]: random and mutated datagrams at the real gateway, over UDP and, as this share
 * of them, over DTLS: hellos, handshakes and records, and messages that were sealed well. It must live, serve another device on each, and
 * its memory must not grow.
 */
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { parseConfig } from "../dist/config/load.js";
import { Device } from "../dist/device/device.js";
import { Gateway } from "../dist/gateway.js";
import { createLog } from "../dist/observe/log.js";
import { encode } from "../dist/wire/v12/codec.js";
import { diceOf } from "./dice.mjs";
import { certificates, openDtls, psk } from "./fuzz-dtls.mjs";

const { values } = parseArgs({
  options: {
    datagrams: { type: "string", default: "100000" },
    seed: { type: "string", default: "1" },
    dtls: { type: "string", default: "0.3" },
  },
});
const total = Number(values.datagrams);
const dtlsShare = Number(values.dtls);
const { random, int } = diceOf(values.seed);

const brokerPort = 20_000 + int(5_000);
const folder = mkdtempSync(join(tmpdir(), "fuzz-"));
const keys = join(folder, "keys.json");
writeFileSync(keys, JSON.stringify(Object.fromEntries([0, 1, 2, 3, 4].map((i) => [`dev${i}`, psk]))), { mode: 0o600 });
const dtlsPort = 25_000 + int(5_000);
const config = parseConfig({
  transports: [
    { type: "udp", host: "127.0.0.1", port: 0 },
    {
      ...{ type: "dtls", host: "127.0.0.1", port: dtlsPort, keys: { file: keys }, certificates, clients: "*" },
      ...{ handshakesPerHostMax: 500, handshakesMax: 500 },
    },
  ],
  tryOutBroker: true,
  upstream: { url: `mqtt://127.0.0.1:${brokerPort}` },
  clients: { sessionsMax: 200, newPerSecondMax: 200 },
  api: { enabled: false },
  store: { kind: "memory" },
  log: { level: "silent" },
});
const gateway = new Gateway(config, await createLog(config.log));
await gateway.start();
const port = Number(gateway.places()[0].split(":").at(-1));

const text = (value) => new TextEncoder().encode(value);
const seeds = [
  { type: "SEARCHGW", radius: 1 },
  ...["fz", "fw"].map((clientId) => ({
    type: "CONNECT",
    will: clientId === "fw",
    cleanSession: random() < 0.5,
    protocolId: 1,
    duration: 5,
    clientId,
  })),
  { type: "WILLTOPIC", qos: 1, retain: false, willTopic: "w/t" },
  { type: "WILLMSG", willMsg: text("m") },
  { type: "REGISTER", topicId: 0, msgId: 1, topicName: "f/a" },
  { type: "REGACK", topicId: 1, msgId: 1, returnCode: 0 },
  ...[0, 1, 2, -1].map((qos) => ({
    type: "PUBLISH",
    dup: false,
    qos,
    retain: false,
    topicIdType: "short",
    topicId: 0x6162,
    msgId: qos > 0 ? 9 : 0,
    data: text("p"),
  })),
  { type: "PUBACK", topicId: 1, msgId: 9, returnCode: 0 },
  { type: "PUBREC", msgId: 9 },
  { type: "PUBREL", msgId: 9 },
  { type: "PUBCOMP", msgId: 9 },
  { type: "SUBSCRIBE", dup: false, qos: 2, topicIdType: "normal", msgId: 3, topic: "f/#" },
  { type: "UNSUBSCRIBE", topicIdType: "normal", msgId: 4, topic: "f/#" },
  { type: "PINGREQ", clientId: "fz" },
  { type: "DISCONNECT", duration: 5 },
  { type: "DISCONNECT", duration: undefined },
  { type: "WILLTOPICUPD", qos: 0, retain: false, willTopic: "w" },
  { type: "WILLMSGUPD", willMsg: text("n") },
].map((message) => encode(message, random() < 0.2 ? { nodeId: Uint8Array.of(int(256)), radius: 0 } : undefined));

function datagram() {
  const kind = random();
  if (kind < 0.25) return Uint8Array.from({ length: int(60) }, () => int(256));
  const bytes = [...seeds[int(seeds.length)]];
  if (kind < 0.45) return Uint8Array.from(bytes);
  for (let i = 1 + int(4); i > 0 && bytes.length > 0; i--) {
    const at = int(bytes.length);
    const how = int(6);
    if (how === 0) bytes[at] ^= 1 << int(8);
    else if (how === 1) bytes[at] = int(256);
    else if (how === 2) bytes.length = at;
    else if (how === 3) bytes.splice(at, 0, ...Array.from({ length: int(20) }, () => int(256)));
    else if (how === 4) bytes[0] = Math.min(255, bytes.length);
    else bytes.splice(at, 1);
  }
  return Uint8Array.from(bytes);
}

const sockets = await Promise.all(
  Array.from(
    { length: 50 },
    () =>
      new Promise((done) => {
        const socket = createSocket("udp4");
        socket.on("message", () => {});
        socket.on("error", () => {});
        socket.bind(0, "127.0.0.1", () => done(socket));
      }),
  ),
);
const dtls = openDtls({ port: dtlsPort, random });
const memory = [];
const began = Date.now();
for (let i = 0; i < total; i++) {
  if (random() < dtlsShare) dtls.step(datagram());
  else sockets[int(sockets.length)].send(datagram(), port, "127.0.0.1", () => {});
  if (i % 200 === 199) await new Promise((done) => setTimeout(done, 4));
  // Handshakes need some turns of the loop.
  if (dtlsShare > 0 && i % 40 === 39) await new Promise((done) => setTimeout(done, 1));
  if (i % Math.ceil(total / 10) === 0) memory.push(Math.round(process.memoryUsage().rss / 1e6));
}
await new Promise((done) => setTimeout(done, 1_000));

/** QoS 2 to the end; `openWay` gives what sends, and calls back with what comes. */
function another(clientId, openWay) {
  return new Promise((done) => {
    const device = new Device({ clientId, retryMs: 1_000 });
    let send = () => {};
    const act = () => {
      for (const item of device.take()) {
        if (item.kind === "send") send(item.bytes);
        else if (item.event.event === "connected")
          device.publish({ topic: { by: "name", topicName: "w" }, payload: text("x"), qos: 2 }, performance.now());
        else if (item.event.event === "published") return done(true);
        else if (item.event.event === "failed") return done(false);
      }
      if (device.nextDeadline() !== undefined)
        setTimeout(() => {
          device.timeout(performance.now());
          act();
        }, 50);
    };
    const heard = (bytes) => {
      device.receive(bytes, performance.now());
      act();
    };
    openWay(heard).then(
      (way) => {
        send = way;
        device.connect({ clean: true, keepAliveSeconds: 60 }, performance.now());
        act();
      },
      () => done(false),
    );
  });
}

const inClear = (heard) =>
  new Promise((done) => {
    const socket = createSocket("udp4");
    socket.on("message", heard);
    socket.bind(0, "127.0.0.1", () => done((bytes) => socket.send(bytes, port, "127.0.0.1")));
  });
const served = (await another("another", inClear)) && (await another("another-sealed", dtls.open));
const { contexts, handshakes, counters } = gateway.secureReports()[0];
process.stdout.write(
  `${total} datagrams in ${((Date.now() - began) / 1000).toFixed(0)} s; RSS in MB on the way: ${memory.join(" ")}; ` +
    `clients left: ${gateway.health().clients}; another device over each is ${served ? "served" : "NOT served"}\n` +
    `DTLS: ${dtls.counts.sent} datagrams, ${counters.handshakesDone} handshakes done, ${counters.badKeys} with wrong keys, ` +
    `${counters.badRecords} records dropped, ${counters.replays} replays; contexts ${contexts}, half-open ${handshakes}\n`,
);
const grew = memory.length > 4 && memory.at(-1) > memory[Math.floor(memory.length / 2)] * 1.5;
if (grew) process.stdout.write("memory grew\n");
dtls.close();
await gateway.stop();
rmSync(folder, { recursive: true });
process.exit(served && !grew ? 0 : 1);
