// What topic rights cost a message: QoS 1 up through the shipped driver and core in one process, with rules that limit topics and
// without, by turns, in CPU time; and that as a share of what the whole gateway needs for such a message (given in microseconds, as
// scripts/dtls-figures.mjs measures it). Prints a table in the form of docs/measurements/figures.
// Usage: node --expose-gc scripts/rights-figures.mjs [microseconds of a message] [rounds]     (after npm run build)
import { fileURLToPath } from "node:url";
import { gatewayConfig } from "../dist/config/schema.js";
import { encode } from "../dist/wire/v12/codec.js";
import { connectClients, inProcess } from "./in-process.mjs";

const dist = fileURLToPath(new URL("../dist", import.meta.url));
const whole = Number(process.argv[2] ?? 17);
const rounds = Number(process.argv[3] ?? 60);
const clients = 64;
const perRound = 20_000;
const names = ["site/{clientId}/temp", "site/{clientId}/hum", "all/alarm", "up/1"];
const filters = ["site/{clientId}/#", "cfg/+/state", "all/alarm", "a/b/c", "a/b/d", "x/#", "up/+", "log/{clientId}"];

/** A separate gateway, whose broker answers at once. */
async function gateway(rules) {
  const predefined = Object.fromEntries(names.map((name, i) => [i + 1, name.replace("{clientId}", "c")]));
  const config = gatewayConfig.parse({
    upstream: { mode: "aggregating" },
    topics: { predefined },
    access: { rules },
    clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0 },
  });
  let acknowledged = 0;
  const waiting = [];
  const { driver } = await inProcess(dist, config, {
    upstream: { publish: (linkId, _publication, packetId) => waiting.push({ linkId, packetId }) },
    transport: { send: (_to, bytes) => void (bytes[1] === 0x0d && bytes[6] === 0 && acknowledged++) },
  });
  driver.handle({ kind: "restored", known: [] });
  driver.start();
  return {
    stop: () => driver.stop(),
    connect: () => connectClients(clients, (input) => driver.handle(input), encode),
    /** CPU time for a message, in microseconds; of `topics` topics, one after the other. */
    round: (datagrams) => {
      const before = acknowledged;
      const began = process.cpuUsage();
      for (let i = 0; i < datagrams.length; i++) {
        driver.handle({ kind: "datagram", from: `x/${i % clients}`, bytes: datagrams[i] });
        for (const { linkId, packetId } of waiting.splice(0))
          driver.handle({ kind: "brokerAck", linkId, ack: "puback", packetId, code: 0 });
      }
      const { user, system } = process.cpuUsage(began);
      if (acknowledged - before !== datagrams.length)
        throw new Error(`${acknowledged - before} of ${datagrams.length} were acknowledged`);
      return (user + system) / datagrams.length;
    },
  };
}

/** Each device goes through so many topics. */
function datagramsOf(topics) {
  const data = new Uint8Array(32);
  return Array.from({ length: perRound }, (_, i) => {
    const turn = Math.floor(i / clients);
    const topic = { topicIdType: "predefined", topicId: topics === 1 ? 4 : 1 + (turn % topics) };
    return encode({ type: "PUBLISH", dup: false, qos: 1, retain: false, ...topic, msgId: 1 + turn, data });
  });
}

const allowed = filters.map((filter) => filter.replace("{clientId}", "c"));
const free = await gateway([]);
const limited = await gateway([{ allow: "c*", publish: [...filters, ...allowed], subscribe: filters }]);
for (const each of [free, limited]) await each.connect();
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const rows = [];
for (const [topics, title] of [
  [1, "one topic for each device"],
  [4, "each device goes through four topics"],
]) {
  const datagrams = datagramsOf(topics);
  const found = { free: [], limited: [], more: [] };
  for (let round = 0; round < rounds + 5; round++) {
    globalThis.gc?.();
    // The order changes at each turn, because the first one warms up the caches for the second one.
    const order = round % 2 === 0 ? ["free", "limited"] : ["limited", "free"];
    const times = Object.fromEntries(order.map((name) => [name, (name === "free" ? free : limited).round(datagrams)]));
    if (round < 5) continue;
    found.free.push(times.free);
    found.limited.push(times.limited);
    found.more.push(times.limited - times.free);
  }
  const more = median(found.more);
  const share = ((100 * more) / whole).toFixed(1);
  rows.push([
    title,
    `${median(found.free).toFixed(2)} µs`,
    `${median(found.limited).toFixed(2)} µs`,
    `${more.toFixed(3)} µs`,
    `${share} % of ${whole} µs`,
  ]);
}
for (const each of [free, limited]) each.stop();
const columns = [
  "QoS 1 up",
  "core without rules",
  "core with 16 filters",
  "difference, median of pairs",
  "share of a message",
];
process.stdout.write(`${JSON.stringify({ columns, rows }, undefined, 2)}\n`);
