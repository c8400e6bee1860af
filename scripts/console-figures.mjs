/**
 * What the console costs, and whether it keeps up, with 5,000 devices and real browsers:
 *
 *     node scripts/console-figures.mjs cost [rounds]      messages per CPU second of the gateway, with no browser and with three
 *     node scripts/console-figures.mjs frames [seconds]   the times between two frames of the page, at 100 changes a second
 *     node scripts/console-figures.mjs idle [seconds]     system calls of an idle gateway, without and with an open page (strace)
 *     node scripts/console-figures.mjs memory [minutes]   memory of the gateway and of the page, at 100 changes a second
 *
 * After `npm run build`. Prints a table in the form of docs/measurements/figures. Needs Chromium; `idle` needs strace as well.
 */
import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";
import { startTryOutBroker } from "../dist/tryout-broker.js";
import { decode, encode } from "../dist/wire/v12/codec.js";
import { findStrace } from "../test/crash/power/find-strace.mjs";
import { findChromium } from "../test/helpers/find-chromium.mjs";

const devices = 5_000;
const changesPerSecond = 100;
const inFlight = 100;
const [part = "cost", amount] = process.argv.slice(2);
const parts = { cost, frames, idle, memory };
if (!(part in parts)) throw new Error(`no part ${part}: ${Object.keys(parts).join(", ")}`);

const program = fileURLToPath(new URL("../dist/main.js", import.meta.url));
const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const share = (values, of) =>
  values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * of))];
const megabytes = (octets) => (octets / 1e6).toFixed(1);
const idleCell = (values) => `${median(values).toFixed(1)} ms a second`;
const sum = (values) => values.reduce((a, b) => a + b, 0);

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}

/** All devices behind one forwarder: one socket. Each answer is counted. */
class Devices {
  #socket = createSocket("udp4");
  #port;
  #onAnswer = () => {};
  answers = 0;

  constructor(port) {
    this.#port = port;
    this.#socket.on("message", (bytes) => {
      const decoded = decode(bytes);
      if (!decoded.ok || decoded.message.type === "PINGREQ") return;
      this.answers++;
      this.#onAnswer();
    });
  }

  says(device, message) {
    const forwarded = { nodeId: new Uint8Array([device >> 8, device & 0xff]), radius: 0 };
    this.#socket.send(encode(message, forwarded), this.#port, "127.0.0.1");
  }

  async connect() {
    const connect = { type: "CONNECT", will: false, cleanSession: true, protocolId: 1, duration: 0xffff };
    for (let i = 0; i < devices; i++) {
      this.says(i, { ...connect, clientId: `device-${String(i).padStart(4, "0")}` });
      if (i % inFlight === inFlight - 1) await this.#answered(i + 1);
    }
  }

  async #answered(count) {
    for (let waited = 0; this.answers < count; waited++) {
      if (waited > 1_000) throw new Error(`${this.answers} of ${count} devices were answered`);
      await sleep(10);
    }
  }

  /** QoS 1, so many in flight, round about; ends after this time. */
  async publish(ms) {
    const payload = new Uint8Array(20);
    let next = 0;
    const send = () => {
      const msgId = 1 + (Math.floor(next / devices) % 0x7fff);
      const how = { dup: false, qos: 1, retain: false, topicIdType: "predefined", topicId: 1 };
      this.says(next++ % devices, { type: "PUBLISH", ...how, msgId, data: payload });
    };
    this.#onAnswer = send;
    for (let i = 0; i < inFlight; i++) send();
    await sleep(ms);
    this.#onAnswer = () => {};
    await sleep(200);
  }

  /** Devices go to sleep and wake up again, one after the other. */
  change() {
    let next = 0;
    return setInterval(() => {
      const device = next % devices;
      const isAsleep = Math.floor(next++ / devices) % 2 === 0;
      if (isAsleep) this.says(device, { type: "DISCONNECT", duration: 600 });
      else this.says(device, { type: "PINGREQ", clientId: `device-${String(device).padStart(4, "0")}` });
    }, 1_000 / changesPerSecond);
  }

  close() {
    this.#socket.close();
  }
}

const folder = mkdtempSync(join(tmpdir(), "console-figures-"));
const [brokerPort, udpPort, apiPort] = [await freePort(), await freePort(), await freePort()];
const file = join(folder, "gateway.config.json");
writeFileSync(
  file,
  JSON.stringify({
    transports: [{ type: "udp", host: "127.0.0.1", port: udpPort }],
    upstream: { url: `mqtt://127.0.0.1:${brokerPort}`, mode: "aggregating" },
    topics: { predefined: { 1: "figures/up" } },
    clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0, sessionsPerHostMax: 0 },
    store: { kind: "disk", folder, durability: "none" },
    api: { port: apiPort },
    log: { level: "error" },
  }),
);
const broker = await startTryOutBroker({ host: "127.0.0.1", port: brokerPort });
const gateway = spawn(process.execPath, [program, "start", "-c", file], { stdio: ["ignore", "inherit", "inherit"] });
const swarm = new Devices(udpPort);
const found = findChromium();
if ("missing" in found) throw new Error(found.missing);
const env = { ...process.env, ...found.environment };
const browser = await chromium.launch({ executablePath: found.path, env, args: ["--no-sandbox", "--disable-gpu"] });
try {
  for (
    let tries = 0;
    !(await fetch(`http://127.0.0.1:${apiPort}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    ));
    tries++
  ) {
    if (tries > 100) throw new Error("the gateway did not start");
    await sleep(100);
  }
  await swarm.connect();
  const { columns, rows } = await parts[part](amount === undefined ? undefined : Number(amount));
  const command = `node scripts/console-figures.mjs ${process.argv.slice(2).join(" ")}`;
  console.log(JSON.stringify({ date: new Date().toISOString().slice(0, 10), command, columns, rows }, undefined, 2));
} finally {
  await browser.close();
  swarm.close();
  gateway.kill("SIGTERM");
  await once(gateway, "exit");
  await broker.close();
  rmSync(folder, { recursive: true, force: true });
}

// ---------------------------------------------------------------- the parts

/** By turns: the same load with no page open, and with three browsers that show the devices. */
async function cost(rounds = 5) {
  const pages = [];
  for (let i = 0; i < 3; i++) pages.push(await openPage());
  const rates = { none: [], three: [] };
  const idles = { none: [], three: [] };
  for (let round = 0; round < rounds; round++) {
    for (const name of round % 2 === 0 ? ["none", "three"] : ["three", "none"]) {
      for (const page of pages) {
        if (name === "none") await page.goto("about:blank");
        else await showDevices(page);
      }
      await sleep(1_000);
      const cpuIdle = cpuMs(gateway.pid);
      await sleep(5_000);
      idles[name].push((cpuMs(gateway.pid) - cpuIdle) / 5);
      const [before, cpuBefore] = [swarm.answers, cpuMs(gateway.pid)];
      await swarm.publish(5_000);
      rates[name].push((1_000 * (swarm.answers - before)) / (cpuMs(gateway.pid) - cpuBefore));
    }
  }
  const [none, three] = [median(rates.none), median(rates.three)];
  return {
    columns: ["5,000 devices, QoS 1 up, 100 in flight", "messages per CPU second", "share", "CPU time while idle"],
    rows: [
      ["no browser", String(Math.round(none)), "1", idleCell(idles.none)],
      [
        "three browsers on the list of devices",
        String(Math.round(three)),
        (three / none).toFixed(3),
        idleCell(idles.three),
      ],
    ],
  };
}

async function frames(seconds = 30) {
  const page = await openPage();
  await showDevices(page);
  const rows = [];
  const quiet = await frameTimes(page, seconds);
  rows.push(["nothing happens", ...frameCells(quiet)]);
  const changes = swarm.change();
  rows.push([`${changesPerSecond} changes a second`, ...frameCells(await frameTimes(page, seconds))]);
  rows.push(["the same, while the list is scrolled", ...frameCells(await frameTimes(page, seconds, true))]);
  clearInterval(changes);
  return { columns: ["5,000 devices, the page on its list", "frames", "median", "99 of 100 below", "longest"], rows };
}

async function idle(seconds = 30) {
  const without = await systemCalls(seconds);
  const page = await openPage();
  await showDevices(page);
  await sleep(2_000);
  const withOne = await systemCalls(seconds);
  const perSecond = (calls) => (sum([...calls.values()]) / seconds).toFixed(1);
  const most = (calls) =>
    [...calls]
      .toSorted(([, a], [, b]) => b - a)
      .slice(0, 4)
      .map(([name, count]) => `${name} ${(count / seconds).toFixed(1)}`)
      .join(", ");
  return {
    columns: ["An idle gateway, 5,000 devices that say nothing", "system calls per second", "most of them"],
    rows: [
      ["no page", perSecond(without), most(without)],
      ["a page open on the list of devices", perSecond(withOne), most(withOne)],
    ],
  };
}

async function memory(minutes = 60) {
  const page = await openPage();
  const tools = await page.context().newCDPSession(page);
  await tools.send("Performance.enable");
  await showDevices(page);
  const changes = swarm.change();
  const rows = [];
  const steps = Math.min(12, minutes);
  for (let step = 0; step <= steps; step++) {
    await tools.send("HeapProfiler.collectGarbage");
    const { metrics } = await tools.send("Performance.getMetrics");
    const heap = metrics.find(({ name }) => name === "JSHeapUsedSize")?.value ?? Number.NaN;
    const minute = Math.round((step * minutes) / steps);
    rows.push([String(minute), megabytes(residentOctets(gateway.pid)), megabytes(heap)]);
    process.stderr.write(`${rows.at(-1).join(" ")}\n`);
    if (step < steps) await sleep((minutes * 60_000) / steps);
  }
  clearInterval(changes);
  return { columns: ["minute", "gateway, resident, MB", "page, JavaScript heap, MB"], rows };
}

// ---------------------------------------------------------------- what is looked at

async function openPage() {
  const context = await browser.newContext({ viewport: { width: 1_200, height: 800 } });
  const page = await context.newPage();
  const said = spawn(process.execPath, [program, "console", "-c", file, "--anywhere"]);
  let text = "";
  for (const stream of [said.stdout, said.stderr])
    stream.on("data", (data) => {
      text += data;
    });
  await once(said, "close");
  const link = /http:\S+#token=\S+/.exec(text)?.[0];
  if (link === undefined) throw new Error(`no link: ${text}`);
  await page.goto(link);
  await page.getByRole("navigation").waitFor();
  return page;
}

async function showDevices(page) {
  await page.goto(`http://127.0.0.1:${apiPort}/#/devices?sort=client`);
  await page.getByText(`${devices} of ${devices}`).waitFor();
}

/** Milliseconds from frame to frame. */
async function frameTimes(page, seconds, scrolls = false) {
  return page.evaluate(`new Promise((resolve) => {
    const times = [];
    const list = document.querySelector("[role=region][aria-label=Devices]") ?? document.scrollingElement;
    let last = performance.now();
    const end = last + ${1_000 * seconds};
    const frame = (now) => {
      times.push(now - last);
      last = now;
      if (${scrolls}) list.scrollTop = list.scrollTop + 40 > list.scrollHeight - list.clientHeight ? 0 : list.scrollTop + 40;
      if (now < end) requestAnimationFrame(frame); else resolve(times.slice(1));
    };
    requestAnimationFrame(frame);
  })`);
}

function frameCells(times) {
  const cell = (ms) => `${ms.toFixed(1)} ms`;
  return [String(times.length), cell(median(times)), cell(share(times, 0.99)), cell(Math.max(...times))];
}

/** User and system time so far, in milliseconds. */
function cpuMs(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

function residentOctets(pid) {
  return 1_024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]);
}

async function systemCalls(seconds) {
  const strace = findStrace();
  if ("missing" in strace) throw new Error(strace.missing);
  const path = strace.libraries === "" ? {} : { LD_LIBRARY_PATH: strace.libraries };
  const running = spawn(strace.path, ["-c", "-f", "-p", String(gateway.pid)], { env: { ...process.env, ...path } });
  let text = "";
  running.stderr.on("data", (data) => {
    text += data;
  });
  const began = performance.now();
  await sleep(1_000 * seconds);
  running.kill("SIGINT");
  await once(running, "close");
  const calls = new Map();
  for (const line of text.split("\n")) {
    const cells = line.trim().split(/\s+/);
    if (/^[\d.]+$/.test(cells[0] ?? "") && cells.length >= 5 && cells.at(-1) !== "total")
      calls.set(cells.at(-1), Number(cells[3]));
  }
  if (calls.size === 0) throw new Error(`strace said: ${text}`);
  process.stderr.write(`strace: ${((performance.now() - began) / 1_000).toFixed(1)} s\n`);
  return calls;
}
