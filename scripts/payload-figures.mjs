// What declarations cost a message: QoS 1 up, four octets, through the shipped driver and core in one process, without a declaration, with
// 1 and with 100, and with a script; by turns, in CPU time of the gateway's process. With the `dist` of an earlier version, also what
// that one needs for the same: the way of a datagram where nothing is declared. Prints a table in the form of docs/measurements/figures.
// Usage: node scripts/payload-figures.mjs [rounds] [earlier dist]     (after npm run build)
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { cpus } from "node:os";
import { fileURLToPath } from "node:url";
import { encode } from "../dist/wire/v12/codec.js";
import { connectClients, inProcess, partOf } from "./in-process.mjs";

const rounds = Number(process.argv[2] ?? 41);
const earlier = process.argv[3];
const own = fileURLToPath(new URL("../dist", import.meta.url));
const clients = 64;
const perRound = 20_000;
/** A script takes a hundred times as long. */
const perScriptRound = 640;
/** Questions to a script at the same time. */
const atOnce = 8;

const fields = [
  { name: "temperature", type: "i16", scale: 0.1 },
  { name: "humidity", type: "u8" },
  { name: "battery", type: "u8", scale: 0.02 },
];
const others = Array.from({ length: 99 }, (_, i) => ({ topics: `site/${i}/+/climate`, fields }));
const source = {
  file: "t.js",
  text: `function decodeUplink({ bytes }) {
  return { data: { temperature: ((bytes[0] << 8) | bytes[1]) / 10, humidity: bytes[2], battery: bytes[3] / 50 } };
}`,
};

/** A separate gateway of the version in this folder, whose broker answers at once. */
async function gateway(dist, payloads) {
  const part = (path) => partOf(dist, path);
  const { gatewayConfig } = await part("config/schema.js");
  const config = gatewayConfig.parse({
    upstream: { mode: "aggregating" },
    topics: { predefined: { 1: "up/1" } },
    clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0 },
    // On a busy machine the process for scripts may have to wait.
    ...(payloads && { payloads, scripts: { runMsMax: 1_000 } }),
  });
  const policy = payloads && (await part("config/payloads.js")).payloadPolicy(config.payloads);
  let [acknowledged, made, wantedCount] = [0, 0, 0];
  let reached = () => {};
  const waiting = [];
  const publish = (linkId, { payload }, packetId) => {
    if (payload[0] === 0x7b) made++;
    waiting.push({ linkId, packetId });
    if (scripts && waiting.length === 1) setImmediate(settle);
  };
  const send = (_to, bytes) => {
    if (bytes[1] !== 0x0d || bytes[6] !== 0) return;
    acknowledged++;
    if (acknowledged === wantedCount) reached();
  };
  const edges = { upstream: { publish }, transport: { send } };
  const { core, driver } = await inProcess(dist, config, edges, { payloads: policy });
  let handle = (input) => driver.handle(input);
  let scripts;
  if (payloads?.some(({ script }) => script)) {
    const { Scripts } = await part("gateway-scripts.js");
    const told = (_level, say) => console.error(say);
    scripts = new Scripts(config, { core, handle, told, wallClock: Date.now });
    scripts.load(config, policy);
    await scripts.start([source]);
    handle = (input) => scripts.stage.take(input);
  }
  driver.handle({ kind: "restored", known: [] });
  driver.start();
  await connectClients(clients, handle, encode);
  const settle = () => {
    for (const { linkId, packetId } of waiting.splice(0))
      driver.handle({ kind: "brokerAck", linkId, ack: "puback", packetId, code: 0 });
  };
  const until = async (count) => {
    if (acknowledged >= count) return;
    wantedCount = count;
    await new Promise((done) => {
      reached = done;
    });
  };
  return {
    stop: async () => {
      driver.stop();
      await scripts?.close();
    },
    /** CPU time of a message, in microseconds. */
    round: async (datagrams) => {
      const [acknowledgedBefore, madeBefore] = [acknowledged, made];
      const began = process.cpuUsage();
      for (let i = 0; i < datagrams.length; i++) {
        handle({ kind: "datagram", from: `x/${i % clients}`, bytes: datagrams[i] });
        if (!scripts) settle();
        else if (i % atOnce === atOnce - 1) await until(acknowledgedBefore + i + 1);
      }
      const { user, system } = process.cpuUsage(began);
      if (acknowledged - acknowledgedBefore !== datagrams.length) throw new Error("not all were acknowledged");
      const wanted = payloads?.some(({ topics }) => topics === "up/+") ? datagrams.length : 0;
      // The machine did something else while a script was waited for: then this turn says nothing.
      if (scripts && made - madeBefore !== wanted) return undefined;
      if (made - madeBefore !== wanted) throw new Error(`${made - madeBefore} of ${wanted} were decoded`);
      return (user + system) / datagrams.length;
    },
  };
}

const datagrams = Array.from({ length: perRound }, (_, i) =>
  encode({
    type: "PUBLISH",
    dup: false,
    qos: 1,
    retain: false,
    topicIdType: "predefined",
    topicId: 1,
    msgId: 1 + Math.floor(i / clients),
    data: Uint8Array.of(0x00, 0xd7, 0x30, 0x96),
  }),
);
const lines = [
  ...(earlier === undefined ? [] : [["no declaration, before there were any", earlier, undefined]]),
  ["no declaration", own, undefined],
  ["1 declaration, three fields", own, [{ topics: "up/+", fields }]],
  ["100 declarations, the last one fits", own, [...others, { topics: "up/+", fields }]],
  ["99 declarations, none fits", own, others],
  ["a script that says the same", own, [{ topics: "up/+", script: source.file }]],
];
const runs = [];
for (const [title, dist, payloads] of lines) {
  if (!existsSync(dist)) throw new Error(`${dist} is not there`);
  const isScript = payloads?.some(({ script }) => script) ?? false;
  const messages = isScript ? datagrams.slice(0, perScriptRound) : datagrams;
  runs.push({ title, messages, gateway: await gateway(dist, payloads), found: [] });
}
/** Again after a while, where a turn says nothing: a script that was too late is left out for a second or more. */
async function measured(gateway, messages) {
  for (let tries = 0; tries < 10; tries++) {
    const found = await gateway.round(messages);
    if (found !== undefined) return found;
    await new Promise((done) => setTimeout(done, 3_000));
  }
  throw new Error("the machine is too busy for scripts");
}

for (const { gateway, messages } of runs) await measured(gateway, messages);
// Forwards, then backwards: what a machine does meanwhile meets all.
for (let round = 0; round < rounds; round++)
  for (const { gateway, messages, found } of round % 2 === 0 ? runs : runs.toReversed())
    found.push(await measured(gateway, messages));
for (const { gateway } of runs) await gateway.stop();

const sorted = (values) => [...values].sort((a, b) => a - b);
const median = (values) => sorted(values)[Math.floor(values.length / 2)];
const base = runs.find(({ title }) => title === "no declaration").found;
const row = ({ title, found }) => {
  const differences = found.map((each, round) => each - base[round]);
  const more = found === base ? "-" : `${median(differences).toFixed(2)} µs`;
  return [title, `${median(found).toFixed(2)} µs`, `${sorted(found)[0].toFixed(2)} µs`, more];
};
const commitOf = () => execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
console.log(
  JSON.stringify(
    {
      machine: `${cpus().length} cores (${cpus()[0]?.model}), Node ${process.versions.node}`,
      date: new Date().toISOString().slice(0, 10),
      commit: commitOf(),
      command: `node scripts/payload-figures.mjs ${rounds}${earlier === undefined ? "" : " EARLIER-DIST"}`,
      note: `CPU time of the gateway's process, core and driver alone; by turns, ${rounds} turns of ${perRound} messages, with the script ${perScriptRound}.`,
      columns: ["QoS 1 up, four octets", "median", "best turn", "more than without, median of pairs"],
      rows: runs.map(row),
    },
    null,
    2,
  ),
);
