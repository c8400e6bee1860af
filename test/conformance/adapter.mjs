/** The gateway as an acceptance suite wants it; see `adapter`. The built gateway runs in this very process. */
import { createSocket } from "node:dgram";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../dist/config/load.js";
import { Gateway } from "../../dist/gateway.js";
import { createLog } from "../../dist/observe/log.js";
import { proxyKeys, startDtlsProxy } from "./dtls-proxy.mjs";
import { startForwarder } from "./forwarder-proxy.mjs";

const env = process.env;
const folder = storeFolder();
const number = (name, fallback) => Number(env[name] ?? fallback);

/** STORE=disk: in a folder that goes with the process, or in STORE_FOLDER, which outlives it. */
function storeFolder() {
  if (env.STORE !== "disk") return undefined;
  if (env.STORE_FOLDER) return join(env.STORE_FOLDER, env.SN_PORT ?? "0");
  const made = mkdtempSync(join(tmpdir(), "adapter-"));
  process.on("exit", () => rmSync(made, { recursive: true, force: true }));
  return made;
}

const predefined = Object.fromEntries(
  (env.PREDEF ?? "")
    .split(";")
    .filter((entry) => entry !== "")
    .map((entry) => [entry.slice(0, entry.indexOf("=")), entry.slice(entry.indexOf("=") + 1)]),
);

/** DTLS=1: what the suite says comes to the gateway over DTLS, by a proxy. In clear it listens elsewhere, for its broadcasts. */
const isSecure = env.DTLS === "1";
const dtlsPort = isSecure ? await freePort() : 0;
/** FORWARDED=1: what the suite says comes as from nodes behind a forwarder. */
const isForwarded = env.FORWARDED === "1";
const udpPort = isForwarded ? await freePort() : isSecure ? 0 : number("SN_PORT", 1883);
const dtls = () => {
  const made = mkdtempSync(join(tmpdir(), "adapter-keys-"));
  process.on("exit", () => rmSync(made, { recursive: true, force: true }));
  const file = join(made, "keys.json");
  writeFileSync(file, JSON.stringify(proxyKeys()), { mode: 0o600 });
  const more = { clients: "*", handshakesPerHostMax: 2_000, handshakesMax: 2_000, maxMessageBytes: 16_000 };
  return { type: "dtls", host: "127.0.0.1", port: dtlsPort, keys: { file }, ...more };
};

async function freePort() {
  const socket = createSocket("udp4");
  await new Promise((done) => socket.bind(0, "127.0.0.1", done));
  const { port } = socket.address();
  await new Promise((done) => socket.close(done));
  return port;
}

const config = parseConfig({
  gateway: { id: number("GATEWAY_ID", 7), advertiseSeconds: number("ADV_PERIOD", 900) },
  transports: [
    {
      type: "udp",
      host: "127.0.0.1",
      port: udpPort,
      maxMessageBytes: 32_000,
      gatherMilliseconds: number("GATHER", 0),
      multicast: { group: "127.0.0.1", port: number("MCAST_PORT", 1885) },
    },
    ...(isSecure ? [dtls()] : []),
  ],
  upstream: {
    url: `mqtt://127.0.0.1:${number("BROKER_PORT", 1883)}`,
    mode: env.MODE ?? "transparent",
    connections: number("CONNECTIONS", 1),
    protocol: env.MQTT ?? "3.1.1",
    serviceClientId: `gw-${env.SN_PORT}`,
    reconnect: { minSeconds: 0.5, maxSeconds: 5 },
  },
  uplink: { whenAway: env.WHEN_AWAY ?? "store" },
  clients: { newPerSecondMax: 0, newPerSecondPerHostMax: 0, sessionsMax: 100_000, sessionsPerHostMax: 0 },
  retry: { intervalSeconds: number("TRETRY", 10), limit: number("NRETRY", 3) },
  topics: { predefined },
  access: {
    qosMinusOne: { enabled: env.QOSM1 !== "0" },
    forwarders: { enabled: isForwarded || env.FORWARDER !== "0" },
  },
  api: { enabled: false },
  store: folder === undefined ? { kind: "memory" } : { kind: "disk", folder },
  log: { level: env.LOG_LEVEL ?? "warn", format: "json" },
});

// The suite reads stdout for READY alone; the log goes to stderr.
const log = await createLog(config.log, 2);
const gateway = new Gateway(config, log);
await gateway.start();
const port = number("SN_PORT", 1883);
const proxy = isSecure
  ? await startDtlsProxy({ port, gatewayPort: dtlsPort })
  : isForwarded && (await startForwarder({ port, gatewayPort: udpPort }));
process.stdout.write("READY\n");
for (const signal of ["SIGINT", "SIGTERM"])
  process.once(signal, () => {
    if (proxy) proxy.close();
    gateway.stop().then(() => process.exit(0));
  });
