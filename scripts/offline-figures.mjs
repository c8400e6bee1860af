// What a long outage costs: N publications at QoS 1 (or 2) accepted while the broker is away, through the real driver,
// core and disk store; then a new process that opens the store and drains it. Prints memory, time and octets written.
// Usage: node scripts/offline-figures.mjs [messages] [qos] [durability]     (after npm run build)
import { fork } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setImmediate as nextTurn } from "node:timers/promises";
import { gatewayConfig } from "../dist/config/schema.js";
import { restore } from "../dist/runtime/restore.js";
import { DiskStore } from "../dist/storage/disk.js";
import { encode } from "../dist/wire/v12/codec.js";
import { inProcess } from "./in-process.mjs";

const messages = Number(process.argv[2] ?? 1_000_000);
const qos = Number(process.argv[3] ?? 1);
const durability = process.argv[4] ?? "group";
const folder = process.argv[5] ?? mkdtempSync(join(tmpdir(), "offline-"));
const phase = process.argv[6] ?? "fill";
const clients = 100;
const burst = 8;
const payload = Buffer.alloc(20, 0x61);

const config = gatewayConfig.parse({
  store: { folder, durability },
  uplink: {
    messagesMax: messages,
    bytesMax: 2 ** 40,
    totalMessagesMax: 2 * messages,
    totalBytesMax: 2 ** 40,
    drainPerSecond: 1e6,
  },
  clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0 },
});
const memory = () => {
  globalThis.gc?.();
  return `${Math.round(process.memoryUsage.rss() / 1e6)} MB RSS, ${Math.round(process.memoryUsage().heapUsed / 1e6)} MB heap`;
};
const written = () => Number(/write_bytes: (\d+)/.exec(readFileSync("/proc/self/io", "utf8"))?.[1] ?? 0);
const seconds = (since) => ((performance.now() - since) / 1_000).toFixed(1);

const store = new DiskStore(config.store);
let onSend = () => {};
let onPublish = () => {};
const links = new Map();
const upstream = {
  open: (link) => links.set(link.linkId, link),
  close: (linkId) => links.delete(linkId),
  publish: (linkId, publication, packetId) => onPublish(linkId, publication, packetId),
  release: (linkId, packetId) =>
    setImmediate(() => driver.handle({ kind: "brokerAck", linkId, ack: "pubcomp", packetId, code: 0 })),
};
const transport = { send: (to, bytes) => onSend(to, bytes) };
const { core, driver } = await inProcess("dist", config, { upstream, transport, store, hostOf: (peer) => peer });
const say = (message, from) => driver.handle({ kind: "datagram", from, bytes: encode(message) });

const began = performance.now();
const { notices, highest } = await store.open();
for (const notice of notices) console.log(`store: ${notice}`);
const to = { handle: (input) => driver.handle(input), hasTransport: () => true, pause: nextTurn };
await restore(store, highest, to);
driver.handle({ kind: "restored", known: Array.from({ length: clients }, (_, i) => `c${i}`) });
driver.start();
if (phase === "fill") await fill();
else await drain().then(() => store.close());

async function fill() {
  const wire = { dup: false, qos, retain: false, topicIdType: "short", topicId: 0x6162, data: payload };
  let accepted = 0;
  let msgId = 0;
  const before = written();
  console.log(`empty: ${memory()}`);
  await new Promise((done) => {
    onSend = (to, bytes) => {
      const type = bytes[1];
      if (type === 0x0f) return setImmediate(() => say({ type: "PUBREL", msgId: (bytes[2] << 8) | bytes[3] }, to));
      if (type !== 0x0d && type !== 0x0e) return;
      if (type === 0x0d && bytes[6] !== 0) throw new Error(`refused with code ${bytes[6]}`);
      accepted++;
      if (accepted % (messages / 5) === 0)
        console.log(`${accepted} accepted, ${seconds(began)} s: ${memory()}, backlog ${core.counters.backlogMessages}`);
      if (accepted === messages) return done();
      if (accepted + clients * burst <= messages) setImmediate(() => publish(to));
    };
    const publish = (from) => {
      msgId = (msgId % 65_535) + 1;
      say({ type: "PUBLISH", msgId, ...wire }, from);
    };
    for (let i = 0; i < clients; i++) {
      say(
        { type: "CONNECT", will: false, cleanSession: true, protocolId: 1, duration: 600, clientId: `c${i}` },
        `x/${i}`,
      );
      for (let j = 0; j < burst; j++) publish(`x/${i}`);
    }
  });
  const octets = written() - before;
  console.log(
    `QoS ${qos}, ${durability}: ${messages} accepted in ${seconds(began)} s, ${Math.round(messages / Number(seconds(began)))} per second`,
  );
  console.log(
    `${octets} octets written to disk: ${(octets / messages).toFixed(0)} per message, ${(octets / messages / payload.length).toFixed(1)} per octet of payload`,
  );
  driver.stop();
  await store.close();
  const child = fork(process.argv[1], [String(messages), String(qos), durability, folder, "drain"], {
    execArgv: ["--expose-gc"],
  });
  await new Promise((done) => child.once("exit", done));
  rmSync(folder, { recursive: true });
}

async function drain() {
  console.log(`opened again with ${core.counters.backlogMessages} messages in ${seconds(began)} s: ${memory()}`);
  const before = written();
  const start = performance.now();
  let sent = 0;
  let most = 0;
  await new Promise((done) => {
    onPublish = (linkId, publication, packetId) => {
      if (packetId === 0) return;
      sent++;
      if (sent % 50_000 === 0) most = Math.max(most, process.memoryUsage.rss());
      const ack = publication.qos === 1 ? "puback" : "pubrec";
      setImmediate(() => {
        driver.handle({ kind: "brokerAck", linkId, ack, packetId, code: 0 });
        if (core.counters.backlogMessages === 0) setTimeout(done, 500);
      });
    };
    for (const linkId of links.keys()) {
      driver.handle({
        kind: "linkUp",
        linkId,
        sessionPresent: true,
        limits: { receiveMaximum: 65_535, maximumQoS: 2, retainAvailable: true, maximumPacketBytes: undefined },
      });
    }
  });
  const took = (performance.now() - start) / 1_000;
  console.log(
    `drained: ${sent} in ${took.toFixed(1)} s, ${Math.round(sent / took)} per second; at most ${Math.round(most / 1e6)} MB RSS; ${((written() - before) / sent).toFixed(0)} octets written per message`,
  );
  driver.stop();
  await store.close();
  process.exit(0);
}
