// The arithmetic of a network of ten million sleepers: takes its factors out of docs/measurements/figures, and writes
// docs/measurements/figures/ten-million.json. It measures nothing.
// Usage: node scripts/ten-million.mjs && npm run docs
import { readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = resolve(dirname(fileURLToPath(import.meta.url)), "../docs/measurements/figures");
const sleepers = 10_000_000;
const minutesBetween = 10;
const gateways = 10;
/** MQTT-SN 1.2 6.14: who sleeps and has something to send says CONNECT, PUBLISH and DISCONNECT, and hears an answer to each. */
const datagramsEachWay = 3;
/** The session's record is written when it becomes active and when it sleeps again. */
const commits = 2;
/** Seconds that a session stays in memory after it has fallen asleep. */
const idleSeconds = 10;

/** The first number in a cell of a figure's file, found by the beginnings of its column and its first cell, and by the next ones. */
function figure(file, row, column) {
  const { columns, rows } = JSON.parse(readFileSync(join(folder, `${file}.json`), "utf8"));
  const at = columns.findIndex((each) => each.startsWith(column));
  const found = rows.find((cells) => row.every((text, i) => (i === 0 ? cells[i].startsWith(text) : cells[i] === text)));
  const number = Number(/\d[\d,.]*\d|\d/.exec(found?.[at] ?? "")?.[0].replaceAll(",", ""));
  if (!Number.isFinite(number)) throw new Error(`${file}: ${row} ${column}`);
  return number;
}

const perSecond = sleepers / (60 * minutesBetween);
const messageAlone = figure("fleet-cost", ["QoS 1 up", "a fleet of 1"], "CPU of a message");
const messagePassed = figure("fleet-cost", ["QoS 1 up", "a fleet of 5"], "CPU of a message");
const brokerCpu = figure("fleet-cost", ["QoS 1 up", "a fleet of 5"], "broker");
const firstDatagram = figure("parked-sessions", ["1,000,000", "parked"], "CPU of the first PINGREQ");
const parked = figure("parked-sessions", ["1,000,000", "parked"], "heap and buffers each");
const awake = figure("parked-sessions", ["100,000", "as objects"], "heap and buffers each");
const startSeconds = figure("parked-sessions", ["1,000,000", "parked"], "CPU of a start");
const commitCpu = figure("stores", ["Redis, appendfsync everysec", "200"], "CPU of the gateway");
const redisCpu = figure("stores", ["Redis, appendfsync everysec", "200"], "CPU of Redis");
const atRedis = figure("redis-sleepers", ["a session"], "memory of Redis");
const waiting = figure("redis-sleepers", ["a message"], "memory of Redis");

const number = (value, digits = 0) =>
  value.toLocaleString("en", { maximumFractionDigits: digits, minimumFractionDigits: digits });
const cores = (perUnit) => `${number((perSecond * perUnit) / 1e6, 1)} cores`;
const gigabytes = (octets) => `${number(octets / 1e9, 1)} GB`;
const fixed = firstDatagram + commits * commitCpu;
const perGateway = sleepers / gateways;

const rows = [
  ["Sleepers, each awake once in", `${number(sleepers)}, ${minutesBetween} min`, "assumed", ""],
  ["Wake-ups a second", "", "", number(perSecond)],
  [
    "Datagrams a second, each way",
    `${datagramsEachWay} for a wake-up with one publication at QoS 1`,
    "MQTT-SN 1.2, 6.14",
    number(perSecond * datagramsEachWay),
  ],
  [
    "CPU of all gateways, if devices reach the owner of their shard",
    `${firstDatagram} µs for the first datagram, ${messageAlone} µs for the message, ${commits} commits of ${commitCpu} µs`,
    "parked-sessions, fleet-cost (a fleet of 1), stores",
    cores(fixed + messageAlone),
  ],
  [
    "the same, if four of five datagrams are passed on, few at a time",
    `${messagePassed} µs for the message`,
    "fleet-cost (a fleet of 5)",
    cores(fixed + messagePassed),
  ],
  ["CPU of the broker", `${brokerCpu} µs for the message`, "fleet-cost", cores(brokerCpu)],
  [
    "CPU of Redis",
    `${commits} commits of ${redisCpu} µs`,
    "stores (200 at work)",
    `${cores(commits * redisCpu)}; a redis-server has one`,
  ],
  ["Memory of Redis", `${atRedis} octets for each session`, "redis-sleepers", gigabytes(sleepers * atRedis)],
  [
    "the same, if a message waits for each",
    `${waiting} octets more`,
    "redis-sleepers",
    gigabytes(sleepers * (atRedis + waiting)),
  ],
  [
    "Memory of all gateways: sessions that are parked",
    `${parked} octets each`,
    "parked-sessions",
    gigabytes(sleepers * parked),
  ],
  [
    "and those that were awake in the last seconds",
    `${idleSeconds} s, ${number(awake)} octets each`,
    "parked-sessions",
    gigabytes(perSecond * idleSeconds * awake),
  ],
  [
    `One of ${gateways} gateways dies: the others read its sessions`,
    `${number(perGateway)} sessions, ${startSeconds} s of CPU for a million`,
    "parked-sessions",
    `${number((perGateway / 1e6 / (gateways - 1)) * startSeconds, 1)} s of CPU for each of the others`,
  ],
];

const about = {
  machine: "none: arithmetic from figures of a machine with two x86-64 cores",
  date: "2026-11-30",
  commit: "scripts: the arithmetic of ten million sleepers",
  command: "node scripts/ten-million.mjs",
  columns: ["What", "Factor", "Where the factor is from", "Result"],
  rows,
};
writeFileSync(join(folder, "ten-million.json"), `${JSON.stringify(about, null, 2)}\n`);
