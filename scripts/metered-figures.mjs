// What a message, and a connection that is made again, cost on a line that is paid by the octet: links of the gateway to mosquitto, MQTT 5,
// by the octets that TCP carries (counted by the sockets) and, behind them, those of IPv4 and TCP headers (40 for each piece that the kernel
// counted; ss). All links at the same time, for so many minutes. Writes docs/measurements/figures/metered-*.json with --write.
// Usage: node scripts/metered-figures.mjs [minutes] [--write]     (after npm run build; needs ss, openssl, mosquitto)
import { execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import tls from "node:tls";
import { MqttUpstream } from "../dist/upstream/mqtt-upstream.js";
import { upstreamOptions } from "../dist/upstream/options.js";
import { findMosquitto } from "../test/helpers/find-mosquitto.mjs";

const minutes = Number(process.argv[2] ?? 10);
const topicName = "plant/line-04/dryer/humidity-1";
const headerBytes = 40;
const cycles = 8;

const folder = mkdtempSync(join(tmpdir(), "metered-"));
const fixture = (name) => new URL(`../test/helpers/fixtures/${name}`, import.meta.url).pathname;
const openssl = (...words) => execFileSync("openssl", words, { cwd: folder, stdio: ["ignore", "pipe", "ignore"] });

/** As a public authority does it: a certificate with an RSA key, and the authority's own between it and the root. */
function makeChain() {
  const key = ["-newkey", "rsa:2048", "-nodes"];
  const extensions = (name, lines) => {
    writeFileSync(join(folder, name), lines.join("\n"));
    return ["-extfile", name];
  };
  openssl(
    "req",
    "-x509",
    ...key,
    "-keyout",
    "root.key",
    "-out",
    "root.pem",
    "-days",
    "30",
    "-subj",
    "/CN=A Root Authority",
  );
  const signed = (name, subject, by, lines) => {
    openssl("req", ...key, "-keyout", `${name}.key`, "-out", `${name}.csr`, "-subj", subject);
    const of = ["-CA", `${by}.pem`, "-CAkey", `${by}.key`, "-CAcreateserial"];
    openssl(
      "x509",
      "-req",
      "-in",
      `${name}.csr`,
      ...of,
      "-out",
      `${name}.pem`,
      "-days",
      "30",
      ...extensions(`${name}.ext`, lines),
    );
  };
  signed("between", "/C=US/O=An Authority of Some Name/CN=R10", "root", [
    "basicConstraints=CA:TRUE",
    "keyUsage=keyCertSign",
  ]);
  const names = ["basicConstraints=CA:FALSE", "subjectAltName=DNS:localhost,DNS:broker.example.org,IP:127.0.0.1"];
  signed("leaf", "/CN=broker.example.org", "between", [...names, "extendedKeyUsage=serverAuth,clientAuth"]);
  writeFileSync(join(folder, "chain.pem"), openssl("x509", "-in", "leaf.pem") + openssl("x509", "-in", "between.pem"));
}

async function freePort() {
  const server = createServer();
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address();
  await new Promise((done) => server.close(done));
  return port;
}

const listeners = {
  plain: {},
  publicChain: { cert: "chain.pem", key: "leaf.key" },
  ownCa: { cert: fixture("server.pem"), key: fixture("server-key.pem") },
  ownCaBoth: { cert: fixture("server.pem"), key: fixture("server-key.pem"), client: true },
};

async function startBroker() {
  const found = findMosquitto();
  if ("missing" in found) throw new Error(found.missing);
  const lines = ["per_listener_settings true", "log_dest none", ...(process.getuid() === 0 ? ["user root"] : [])];
  for (const listener of Object.values(listeners)) {
    listener.port = await freePort();
    const { port, cert, key, client } = listener;
    lines.push(`listener ${port} 127.0.0.1`, "allow_anonymous true");
    if (cert) lines.push(`certfile ${resolve(folder, cert)}`, `keyfile ${resolve(folder, key)}`);
    if (client) lines.push(`cafile ${fixture("ca.pem")}`, "require_certificate true");
  }
  writeFileSync(join(folder, "mosquitto.conf"), `${lines.join("\n")}\n`);
  const env = found.libraries === undefined ? process.env : { ...process.env, LD_LIBRARY_PATH: found.libraries };
  const broker = spawn(found.path, ["-c", join(folder, "mosquitto.conf")], { env, stdio: "inherit" });
  await sleep(1_000);
  return broker;
}

/** TCP segments of a connection, in both directions, by its port. */
function pieces(port) {
  const text = execFileSync("ss", ["-tinHO", "state", "established", `( dport = :${port} )`], { encoding: "utf8" });
  const found = new Map();
  for (const line of text.split("\n")) {
    const own = /127\.0\.0\.1:(\d+) +127\.0\.0\.1:/.exec(line)?.[1];
    const [out, back] = [/segs_out:(\d+)/.exec(line)?.[1], /segs_in:(\d+)/.exec(line)?.[1]];
    if (own && out) found.set(own, Number(out) + Number(back ?? 0));
  }
  return found;
}

let names = 0;
/** A link that stands; `octets()` says what it has cost. */
async function newLink(listener, over = {}) {
  const { port, cert, client } = listener;
  const clientCertificate = client ? { cert: fixture("client.pem"), key: fixture("client-key.pem") } : {};
  const ca = cert === "chain.pem" ? join(folder, "root.pem") : fixture("ca.pem");
  const { tls: further = {}, ...rest } = over;
  const options = upstreamOptions.parse({
    url: `${cert ? "mqtts" : "mqtt"}://localhost:${port}`,
    protocol: "5",
    ...(cert && { tls: { ca, ...clientCertificate, ...further } }),
    ...rest,
  });
  const upstream = new MqttUpstream(options);
  let up = () => {};
  const nothing = () => {};
  const events = {
    up: () => up(),
    pong: nothing,
    congested: nothing,
    delivered: nothing,
    released: nothing,
    acked: nothing,
  };
  const failed = (_link, end) => console.error(`${options.url}: ${end.reason ?? end}`);
  await upstream.start({ ...events, refused: failed, down: failed });
  const clientId = `metered-${String(++names).padStart(2, "0")}`;
  const open = async (n) => {
    const is = new Promise((done) => {
      up = done;
    });
    upstream.open({
      linkId: `l~${n}`,
      upstream: "",
      mqttClientId: clientId,
      identity: clientId,
      clean: true,
      will: undefined,
    });
    await is;
  };
  const total = () => upstream.counters.wire.total.in + upstream.counters.wire.total.out;
  return { upstream, open, total };
}

async function messages(listener, { qos, payloadBytes, everySeconds, over }) {
  const before = new Set(pieces(listener.port).keys());
  const { upstream, open, total } = await newLink(listener, over);
  await open(1);
  const own = [...pieces(listener.port).keys()].find((each) => !before.has(each));
  const payload = Buffer.alloc(payloadBytes, 0x31);
  let packetId = 0;
  const publish = () =>
    upstream.publish("l~1", { topicName, payload, qos, retain: false }, qos ? ++packetId : 0, false);
  return {
    /** The first one says the name, and is not what a message costs. */
    first: publish,
    async run(during) {
      const from = { octets: total(), pieces: pieces(listener.port).get(own) ?? 0 };
      const count = Math.floor(during / everySeconds);
      for (let i = 0; i < count; i++) {
        if (i > 0) await sleep(everySeconds * 1_000);
        publish();
      }
      await sleep(everySeconds * 1_000 - 200);
      const octets = (total() - from.octets) / count;
      const headers = (((pieces(listener.port).get(own) ?? 0) - from.pieces) * headerBytes) / count;
      return { octets, whole: octets + headers };
    },
    close: () => upstream.shutdown(1_000),
  };
}

/** Octets of one connection: handshake, CONNECT, DISCONNECT. */
async function connections(listener, resume) {
  const { upstream, open, total } = await newLink(listener, { tls: { resume } });
  await open(0);
  await sleep(300); // its tickets come
  upstream.close("l~0", "disconnect", true);
  await sleep(300);
  const before = total();
  for (let n = 1; n <= cycles; n++) {
    await open(n);
    await sleep(200);
    upstream.close(`l~${n}`, "disconnect", true);
    await sleep(200);
  }
  const { full, resumed } = upstream.counters.tls;
  if (listener.cert && (resume ? resumed !== cycles : full !== cycles + 1))
    throw new Error(`resumed: ${resumed}, full: ${full}`);
  const each = (total() - before) / cycles;
  await upstream.shutdown(1_000);
  return Math.round(each);
}

const settings = {
  before: { topicAliases: 0, tls: { resume: false } },
  aliases: {},
  both: { keepAliveMaxSeconds: 1_200 },
};
const said = ({ octets, whole }) => `${octets.toFixed(0)} (${whole.toFixed(0)})`;

makeChain();
const broker = await startBroker();
try {
  const rows = [];
  const cases = [];
  for (const [way, listener] of [
    ["TCP", listeners.plain],
    ["TLS 1.3", listeners.publicChain],
  ])
    for (const [qos, payloadBytes, everySeconds] of [
      [1, 4, 1],
      [1, 20, 1],
      [1, 4, 60],
      [1, 20, 60],
      [0, 20, 60],
    ])
      cases.push({ way, listener, qos, payloadBytes, everySeconds });
  for (const each of cases) {
    each.links = [];
    for (const over of Object.values(settings)) each.links.push(await messages(each.listener, { ...each, over }));
  }
  for (const { links } of cases) for (const { first } of links) first();
  await sleep(12_000); // its answer, and where there is none, the question after it
  await Promise.all(
    cases.map(async (each) => {
      each.results = await Promise.all(each.links.map(({ run }) => run(each.everySeconds === 1 ? 60 : minutes * 60)));
    }),
  );
  for (const { way, qos, payloadBytes, everySeconds, results, links } of cases) {
    const what = `QoS ${qos}, ${payloadBytes} octets, one a ${everySeconds === 1 ? "second" : "minute"}, ${way}`;
    rows.push([what, ...results.map(said), `${Math.round(100 * (1 - results[2].whole / results[0].whole))} %`]);
    for (const { close } of links) await close();
  }
  const reconnects = [];
  for (const [what, name, version = "TLSv1.3"] of [
    ["TCP, without TLS", "plain"],
    ["TLS 1.3, the broker with a chain of two RSA certificates", "publicChain"],
    ["TLS 1.2, the same", "publicChain", "TLSv1.2"],
    ["TLS 1.3, the broker with one EC certificate of an own authority", "ownCa"],
    ["TLS 1.3, the same, and a client certificate", "ownCaBoth"],
  ]) {
    tls.DEFAULT_MAX_VERSION = version;
    const full = await connections(listeners[name], false);
    const resumed = listeners[name].cert ? await connections(listeners[name], true) : undefined;
    const saved = resumed === undefined ? "-" : `${Math.round(100 * (1 - resumed / full))} %`;
    reconnects.push([what, `${full}`, resumed === undefined ? "-" : `${resumed}`, saved]);
  }
  const machine = `two x86-64 cores (${cpus()[0]?.model.includes("EPYC") ? "AMD EPYC, virtual" : cpus()[0]?.model}), Node ${process.versions.node}`;
  const about = { machine, date: new Date().toISOString().slice(0, 10) };
  about.commit = execFileSync("git", ["log", "-1", "--format=%s"], { encoding: "utf8" }).trim();
  about.command = `node scripts/metered-figures.mjs ${minutes} --write`;
  const figures = {
    "metered-messages": {
      ...about,
      note: "Octets in both directions for each message, as TCP carries them; in brackets with 40 octets of IPv4 and TCP headers for each piece that the kernel counted (loopback, no TCP options, nothing lost). mosquitto 2.0, MQTT 5, a topic name of 30 octets; the first message of a connection, which says the name, is not in it. Octets do not depend on the machine's other work.",
      columns: ["One message", "before", "with topic aliases", "and `keepAliveMaxSeconds` 1200", "saved"],
      rows,
    },
    "metered-reconnects": {
      ...about,
      note: `Octets of TCP in both directions for one connection: handshake, CONNECT, DISCONNECT; mean of ${cycles}.`,
      columns: ["One connection", "whole handshake", "resumed", "saved"],
      rows: reconnects,
    },
  };
  for (const [name, figure] of Object.entries(figures)) {
    console.log(figure.columns.join(" | "));
    for (const row of figure.rows) console.log(row.join(" | "));
    const file = new URL(`../docs/measurements/figures/${name}.json`, import.meta.url);
    if (process.argv.includes("--write")) writeFileSync(file, `${JSON.stringify(figure, null, 2)}\n`);
  }
} finally {
  await new Promise((done) => broker.once("exit", done).kill("SIGTERM"));
  rmSync(folder, { recursive: true });
}
process.exit(0);
