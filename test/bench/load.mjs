/**
 * The load of load.c for a machine without a C compiler: the same options, modes and line of JSON, from the device of
 * src/device with a socket for each. It takes more processor time than the gateway it measures, so rates are lower and
 * latencies longer; messages per second of the gateway's CPU time can still be compared. No more than 8,000 devices.
 */
import { createSocket } from "node:dgram";
import { readFileSync } from "node:fs";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import mqtt from "mqtt";
import { Device } from "../../dist/device/device.js";

const text = (short, standard) => ({ type: "string", short, default: standard });
const { values } = parseArgs({
  options: {
    mode: text("m", "up"),
    gateway: text("g", "127.0.0.1:1883"),
    broker: text("b", "127.0.0.1:1884"),
    devices: text("n", "100"),
    seconds: text("d", "5"),
    qos: text("q", "1"),
    rate: text("r", "0"),
    window: text("w", "100"),
    messages: text("k", "10"),
    size: text("s", "20"),
    loss: text("x", "0"),
    retry: text("t", "1"),
    prefix: text("i", "ld"),
    pid: text("p", "0"),
  },
});
const { mode } = values;
// Separate ids: the gateway refuses a client id for a time if it is taken over again and again.
const prefix = `${values.prefix}${String(process.pid % 10_000).padStart(4, "0")}`;
const [count, qos, window, size] = [values.devices, values.qos, values.window, values.size].map(Number);
const [seconds, rate, loss, pid] = [values.seconds, values.rate, values.loss, values.pid].map(Number);
const messagesEach = Number(values.messages);
const [gatewayHost, gatewayPort] = values.gateway.split(":");
const is = Object.fromEntries(["connect", "up", "down", "fanout", "sleep", "idle", "echo"].map((m) => [m, m === mode]));
if (is[mode] === undefined || !(count >= 1 && count <= 8_000) || !(size >= 16 && size <= 200)) {
  console.error("load: see the options of load.c; at most 8,000 devices");
  process.exit(2);
}

const counts = {
  sent: 0,
  done: 0,
  delivered: 0,
  duplicates: 0,
  misrouted: 0,
  repeats: 0,
  gaveUp: 0,
  rejected: 0,
  pings: 0,
};
const ways = [];
let answers = [];
let running = false;
let next = 0;
const now = () => performance.now();
const isLost = () => loss > 0 && Math.random() * 100 < loss;
const nameOf = (number) => `${prefix}${String(number).padStart(6, "0")}`;

/** Time, device, number: the payload shows messages that are lost, doubled or at the wrong device. */
function payload(device, sequence) {
  const octets = Buffer.alloc(size);
  octets.writeDoubleBE(now(), 0);
  octets.writeUInt32BE(device, 8);
  octets.writeUInt32BE(sequence, 12);
  return octets;
}

const seen = Array.from({ length: count }, () => new Set());
/** Returns false for a message that arrived before, or that is for another device. */
function arrived(octets, at, from = octets.readUInt32BE(8)) {
  if (from !== at && !is.fanout) counts.misrouted++;
  const sequence = octets.readUInt32BE(12);
  const before = seen[at];
  if (before.has(sequence)) {
    counts.duplicates++;
    return false;
  }
  before.add(sequence);
  counts.delivered++;
  ways.push(now() - octets.readDoubleBE(0));
  return true;
}

class LoadDevice {
  sequence = 0;
  #number;
  #device;
  #socket = createSocket("udp4");
  #timer;
  #waits = new Map();
  #askedAt = 0;
  onDrained = () => {};

  constructor(number) {
    this.#number = number;
    this.#device = new Device({ clientId: nameOf(number), retryMs: Number(values.retry) * 1_000, retryLimit: 20 });
    this.#socket.on("message", (octets) => {
      if (!isLost()) this.#act(() => this.#device.receive(octets, now()));
    });
  }

  get idle() {
    return this.#device.idle;
  }

  async setUp() {
    await new Promise((bound) => this.#socket.bind(0, "127.0.0.1", bound));
    const began = now();
    await this.#until("connected", () => this.#device.connect({ clean: true, keepAliveSeconds: 3_600 }, now()));
    answers.push(now() - began);
    if (is.connect) return;
    const filter = is.up ? undefined : is.fanout ? `${prefix}/f` : `${prefix}/d/${nameOf(this.#number)}`;
    if (filter !== undefined) {
      await this.#until("subscribed", () =>
        this.#device.subscribe({ by: "name", topicName: filter }, is.idle ? 1 : qos, now()),
      );
    }
    if (is.up || is.idle) await this.#until("published", () => this.#publish(0, 0)); // its topic is registered then
    if (is.sleep) await this.#until("asleep", () => this.#device.sleep(3_600, now()));
  }

  publish() {
    counts.sent++;
    this.#askedAt = now();
    this.#act(() => this.#publish(++this.sequence, qos));
  }

  wake() {
    counts.pings++;
    this.#askedAt = now();
    this.#act(() => this.#device.wake(now()));
  }

  #publish(sequence, at) {
    const topic = { by: "name", topicName: `${prefix}/u/${nameOf(this.#number)}` };
    this.#device.publish({ topic, payload: payload(this.#number, sequence), qos: at }, now());
  }

  #until(event, what) {
    return new Promise((resolve, reject) => {
      this.#waits.set(event, { resolve, reject });
      this.#act(what);
    });
  }

  #act(what) {
    what();
    for (let output = this.#device.take(); output.length > 0; output = this.#device.take()) {
      for (const item of output) {
        if (item.kind === "event") this.#on(item.event);
        else if (!isLost()) this.#socket.send(item.bytes, Number(gatewayPort), gatewayHost);
      }
    }
    const at = this.#device.nextDeadline();
    clearTimeout(this.#timer);
    if (at === undefined) return;
    this.#timer = setTimeout(
      () => {
        if (running && !this.#device.idle) counts.repeats++;
        this.#act(() => this.#device.timeout(now()));
      },
      Math.max(1, at - now()),
    );
  }

  #on(event) {
    const waiting = this.#waits.get(event.event);
    this.#waits.delete(event.event);
    waiting?.resolve();
    if (event.event === "failed") {
      counts[event.returnCode === undefined ? "gaveUp" : "rejected"]++;
      for (const { reject } of this.#waits.values())
        reject(new Error(`${nameOf(this.#number)} was refused, or not answered`));
    } else if (event.event === "message") {
      if (arrived(Buffer.from(event.payload), this.#number) && is.down && rate === 0 && running) down(next++ % count);
    } else if (event.event === "published" && this.sequence > 0 && qos > 0) {
      counts.done++;
      answers.push(now() - this.#askedAt);
      if (running) this.publish();
    } else if (event.event === "drained") {
      answers.push(now() - this.#askedAt);
      this.onDrained();
    }
  }
}

const devices = [];
let client;
let open = 0;
async function openBroker() {
  client = await mqtt.connectAsync(`mqtt://${values.broker}`, { clientId: `load-${process.pid}`, protocolVersion: 4 });
  if (!is.up) return;
  await client.subscribeAsync(`${prefix}/u/#`, { qos });
  client.on("message", (topic, octets) => {
    if (octets.readUInt32BE(12) > 0) arrived(octets, Number(topic.slice(-6)));
  });
}

function publishDown(topic, octets) {
  open++;
  client.publish(topic, octets, { qos: is.sleep ? 1 : qos }, () => {
    open--;
    if (heldBack.length > 0) down(heldBack.shift());
  });
}

/** At QoS 2 a broker such as mosquitto drops what is more than 20 open publications: the others wait here. */
const heldBack = [];

function down(number) {
  if (qos === 2 && !is.sleep && open >= 20) {
    heldBack.push(number);
    return;
  }
  counts.sent++;
  publishDown(`${prefix}/d/${nameOf(number)}`, payload(number, ++devices[number].sequence));
}

async function setUpAll() {
  const queue = Array.from({ length: count }, (_, number) => number);
  const take = async () => {
    for (let number = queue.shift(); number !== undefined; number = queue.shift()) {
      devices[number] = new LoadDevice(number);
      await devices[number].setUp();
    }
  };
  await Promise.all(Array.from({ length: Math.min(window, count) }, take));
}

/** Waits in turns of the event loop, at most so long. */
async function until(condition, milliseconds) {
  for (const end = now() + milliseconds; !condition() && now() < end; ) await sleep(2);
}

/** So many a second, for a time. */
async function steadily(what) {
  const began = now();
  for (let begun = 0; now() < began + seconds * 1_000; await sleep(1)) {
    for (const want = ((now() - began) * rate) / 1_000; begun < want; begun++) what(begun % count);
  }
}

function echoes() {
  for (let i = 0; i < Math.min(window, count); i++) {
    const socket = createSocket("udp4");
    let at = now();
    const send = () => {
      at = now();
      socket.send(Buffer.alloc(size), Number(gatewayPort), gatewayHost);
    };
    socket.on("message", () => {
      counts.done++;
      answers.push(now() - at);
      if (running) send();
    });
    send();
  }
}

function cpuSeconds() {
  if (pid === 0) return 0;
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return (Number(fields[11]) + Number(fields[12])) / 100;
}

function rssKb() {
  return pid === 0 ? 0 : Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
}

function kernelDrops() {
  const port = Number(gatewayPort).toString(16).toUpperCase().padStart(4, "0");
  const lines = readFileSync("/proc/net/udp", "utf8").split("\n");
  return lines.reduce(
    (sum, line) => (line.includes(`:${port} 00000000:`) ? sum + Number(line.trim().split(/\s+/).at(-1)) : sum),
    0,
  );
}

/** Runs the mode; answers how many messages count. */
async function run() {
  switch (mode) {
    case "connect":
      return count;
    case "echo":
      echoes();
      await sleep(seconds * 1_000);
      return counts.done;
    case "up":
      if (qos === 0) await steadily((number) => devices[number].publish());
      else {
        for (const device of devices) device.publish();
        await sleep(seconds * 1_000);
      }
      return qos === 0 ? counts.delivered : counts.done;
    case "down":
      if (rate > 0) await steadily(down);
      else {
        for (let i = 0; i < window; i++) down(next++ % count);
        await sleep(seconds * 1_000);
      }
      return counts.delivered;
    case "fanout":
      for (let k = 1; k <= messagesEach; k++) {
        counts.sent += count;
        publishDown(`${prefix}/f`, payload(0, k));
        await until(() => counts.delivered >= k * count, 10_000);
      }
      return counts.delivered;
    case "sleep": {
      let asleep = count;
      for (const device of devices) {
        device.onDrained = () => asleep--;
        device.wake();
      }
      await until(() => asleep === 0, 60_000);
      return counts.delivered;
    }
  }
}

const percentile = (list, share) =>
  list.sort((a, b) => a - b)[Math.min(list.length - 1, Math.floor(list.length * share))] ?? 0;

if (!is.echo && !is.connect && !is.idle) await openBroker();
const [drops, cpuBefore, setUpAt] = [kernelDrops(), cpuSeconds(), now()];
if (!is.echo) await setUpAll();
const setUpSeconds = (now() - setUpAt) / 1_000;
if (is.idle) {
  console.log("READY");
  for await (const _ of process.stdin);
}
if (is.sleep) {
  for (let k = 0; k < messagesEach; k++) {
    for (let number = 0; number < count; number++) {
      if (open >= 500) await until(() => open < 500, 60_000);
      down(number);
    }
  }
  await until(() => open === 0, 60_000);
  await sleep(2_000); // the broker has handed all over
}
if (!is.connect) answers = [];
const cpu = is.connect ? cpuBefore : cpuSeconds();
const began = now();
running = true;
const counted = is.idle ? 0 : await run();
running = false;
const spent = cpuSeconds() - cpu;
const took = is.connect ? setUpSeconds : (now() - began) / 1_000;
if (!is.idle && !is.connect && !is.echo) {
  const isOver = () => counts.delivered >= counts.sent && devices.every(({ idle }) => idle);
  await until(isOver, loss > 0 ? 180_000 : 5_000);
}
const lost = is.echo || is.connect || is.idle ? 0 : Math.max(0, counts.sent - counts.delivered);
console.log(
  JSON.stringify({
    mode,
    n: count,
    qos,
    seconds: took,
    setup_s: setUpSeconds,
    messages: counted,
    per_s: Math.round(counted / took),
    per_cpu_s: spent > 0 ? Math.round(counted / spent) : 0,
    cpu_s: spent,
    rss_kb: rssKb(),
    answer_p50_ms: percentile(answers, 0.5),
    answer_p99_ms: percentile(answers, 0.99),
    way_p50_ms: percentile(ways, 0.5),
    way_p99_ms: percentile(ways, 0.99),
    sent: counts.sent,
    delivered: counts.delivered,
    lost,
    duplicates: counts.duplicates,
    misrouted: counts.misrouted,
    repeats: counts.repeats,
    rejected: counts.rejected,
    gave_up: counts.gaveUp,
    pings: counts.pings,
    kernel_drops: kernelDrops() - drops,
  }),
);
process.exit(0);
