/** Devices with keys at the shipped gateway: admitted, published to the broker, and not disturbed by kill -9. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { connectAsync, type MqttClient } from "mqtt";
import { afterEach, beforeEach, expect, test } from "vitest";
import { ask } from "../../src/cli/ask.ts";
import type { SecureDeviceOptions } from "../../src/device/secure.ts";
import { certificateSuites, suites } from "../../src/secure/suites.ts";
import { startTryOutBroker, type TryOutBroker } from "../../src/tryout-broker.ts";
import { deviceWith, keyPemOf, makeAuthority, makeCertificate } from "../helpers/make-certificate.ts";
import { freePort } from "../helpers/ports.ts";
import { SecureSocket } from "../helpers/secure-socket.ts";
import { until } from "../helpers/test-gateway.ts";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const key = "00112233445566778899aabbccddeeff";
const otherKey = "ffeeddccbbaa99887766554433221100";

let folder: string;
let gateway: ChildProcess | undefined;
let broker: TryOutBroker | undefined;
let watcher: MqttClient | undefined;
let brokerPort = 0;
let dtlsPort = 0;
let apiPort = 0;
const sockets: SecureSocket[] = [];
let heard: string[] = [];
/** All that any process printed. */
let printed = "";

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "dtls-"));
  heard = [];
  printed = "";
  brokerPort = await freePort();
  broker = await startTryOutBroker({ host: "127.0.0.1", port: brokerPort });
  watcher = await connectAsync(`mqtt://127.0.0.1:${brokerPort}`);
  watcher.on("message", (topic, payload) => heard.push(`${topic} ${payload}`));
  await watcher.subscribeAsync("#");
  [dtlsPort, apiPort] = [await freePort(), await freePort()];
  writeKeys({ dev1: key, dev2: otherKey });
  configure();
});

function configure(more: object = {}): void {
  writeFileSync(
    join(folder, "gateway.config.json"),
    JSON.stringify({
      transports: [{ type: "dtls", host: "127.0.0.1", port: dtlsPort, keys: { file: "keys.json" }, ...more }],
      upstream: { url: `mqtt://127.0.0.1:${brokerPort}`, mode: "aggregating" },
      topics: { predefined: { "1": "plain/1" } },
      api: { port: apiPort, console: false },
      log: { level: "debug", format: "json" },
    }),
  );
}

afterEach(async () => {
  for (const socket of sockets.splice(0)) await socket.close();
  await kill("SIGKILL");
  await watcher?.endAsync(true);
  if (broker?.kind === "started") await broker.close();
  rmSync(folder, { recursive: true, force: true });
});

function writeKeys(keys: Record<string, string>): void {
  writeFileSync(join(folder, "keys.json"), JSON.stringify(keys));
  chmodSync(join(folder, "keys.json"), 0o600);
}

async function start(): Promise<void> {
  const child = spawn(process.execPath, [main, "start"], { cwd: folder });
  gateway = child;
  const from = printed.length;
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (printed += data));
  await until(
    "ready",
    () => /ready: devices/.test(printed.slice(from)) && printed.slice(from).includes("connected to the broker"),
  );
}

async function kill(signal: NodeJS.Signals): Promise<void> {
  const child = gateway;
  gateway = undefined;
  if (child && child.exitCode === null) await new Promise((done) => child.once("exit", done).kill(signal));
}

function device(options: Partial<SecureDeviceOptions> = {}): SecureSocket {
  const all = { identity: "dev1", key: Buffer.from(key, "hex"), suites: [suites.ccm8], cidOctets: 0, ...options };
  const socket = new SecureSocket(dtlsPort, all);
  sockets.push(socket);
  return socket;
}

const hex = (octets: Uint8Array) => Buffer.from(octets).toString("hex");

async function asks(from: SecureSocket, message: string, answer: RegExp): Promise<void> {
  const before = from.received.length;
  from.send(Buffer.from(message, "hex"));
  await until(`${answer} to ${message}`, () => from.received.slice(before).some((octets) => answer.test(hex(octets))));
}

const cli = (words: readonly string[]) =>
  promisify(execFile)(process.execPath, [main, ...words, "-c", join(folder, "gateway.config.json")], { cwd: folder });

/** CONNECT with a clean session; QoS 1 PUBLISH to the predefined topic 1. */
const connect = (clientId: string) =>
  `${(6 + clientId.length).toString(16).padStart(2, "0")}040401003c${hex(Buffer.from(clientId))}`;
const publish = (msgId: string, text: string) =>
  `${(7 + text.length).toString(16).padStart(2, "0")}0c210001${msgId}${hex(Buffer.from(text))}`;
const connected = /^030500$/;

async function metric(name: string): Promise<string[]> {
  const text = await (await fetch(`http://127.0.0.1:${apiPort}/metrics`)).text();
  return text.split("\n").filter((line) => line.startsWith(name));
}

test("a device is heard at the broker; after kill -9, and from a new port, it goes on without a handshake", async () => {
  await start();
  const one = device();
  one.start();
  await until("the handshake", () => one.outcome === "opened");
  await asks(one, connect("dev1"), connected);
  await asks(one, publish("0001", "before"), /^070d0001000100$/);
  await until("the broker has it", () => heard.includes("plain/1 before"));

  await kill("SIGKILL");
  await start();
  one.rebind();
  const sent = one.sent;
  await asks(one, publish("0002", "after"), /^070d0001000200$/);
  await until("the broker has it", () => heard.includes("plain/1 after"));
  expect(one.sent - sent).toBe(1);
  expect(one.outcome).toBe("opened");
  expect(await metric("mqttsn_dtls_moved_total")).toEqual(['mqttsn_dtls_moved_total{transport="dtls"} 1']);
  expect(await metric("mqttsn_dtls_contexts")).toEqual(['mqttsn_dtls_contexts{transport="dtls"} 1']);
  expect(printed).not.toMatch(new RegExp(`${key}|${otherKey}`, "i"));
});

test("a device with a certificate of an authority keeps its session over kill -9, too", async () => {
  const { authority, options, folder: made } = makeAuthority();
  configure({ keys: undefined, certificates: { ...options, pinned: undefined } });
  try {
    await start();
    const certificate = deviceWith(makeCertificate({ name: "dev7", by: authority }), authority);
    const one = device({ identity: "dev7", certificate, suites: [certificateSuites.ccm8] });
    one.start();
    await until("the handshake", () => one.outcome === "opened");
    await asks(one, connect("dev7"), connected);
    await kill("SIGKILL");
    await start();
    await asks(one, publish("0001", "after"), /^070d0001000100$/);
    await until("the broker has it", () => heard.includes("plain/1 after"));
    expect(printed).not.toContain("not_admitted");
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
});

test("a wrong key, and another's client id, are not let in; a key that is removed puts out at SIGHUP", async () => {
  await start();
  const wrong = device({ key: Buffer.from(otherKey, "hex") });
  wrong.start();
  const right = device({
    identity: "dev2",
    key: Buffer.from(otherKey, "hex"),
    cidOctets: undefined,
    suites: [suites.gcm],
  });
  right.start();
  await until("the right one", () => right.outcome === "opened");
  await until("the line", () => /dev1.{1,3}at 127.0.0.1:\d+: the key does not match/.test(printed));
  expect(wrong.outcome).toBeUndefined();

  await asks(right, connect("dev1"), /^030503$/);
  expect(printed).toContain("is not admitted");
  await asks(right, connect("dev2"), connected);
  // QoS -1 needs no connection. [§6.8]
  right.send(Buffer.from("090c610001000068" + "69", "hex"));
  await until("the broker has it", () => heard.includes("plain/1 hi"));

  writeKeys({ dev1: key });
  gateway?.kill("SIGHUP");
  await until("it is put out", () => /ended it \(alert 49\)/.test(right.outcome ?? ""));
  const again = device({ identity: "dev2", key: Buffer.from(otherKey, "hex") });
  again.start();
  await until("its line", () => /dev2.{1,3}at 127.0.0.1:\d+: there is no such identity/.test(printed));
  expect(await metric("mqttsn_dtls_bad_keys_total")).toEqual(['mqttsn_dtls_bad_keys_total{transport="dtls"} 2']);
  const knocks = await ask(join(folder, "data", "control.sock"), "knocking.list", {});
  expect(knocks.filter(({ what }) => what === "key")).toMatchObject([
    { clientId: "dev2", why: "there is no key for this identity", hint: "mqtt-sn-gateway device add dev2", times: 1 },
    { clientId: "dev1", why: "its key does not match", hint: "", times: 1 },
  ]);
  expect(printed).not.toMatch(new RegExp(`${key}|${otherKey}`, "i"));
});

test("device add: let in with the key that is printed once, and nobody else by that name; rotated and removed, it is out", async () => {
  await start();
  // The command shows a key on a terminal only; it asks this socket.
  await expect(cli(["device", "add", "dev9"])).rejects.toThrow("a key is shown only on a terminal");
  const { key: made } = await ask(join(folder, "data", "control.sock"), "device.add", { name: "dev9" });
  const stranger = device({ identity: "dev2", key: Buffer.from(otherKey, "hex") });
  stranger.start();
  await until("the handshake", () => stranger.outcome === "opened");
  await asks(stranger, connect("dev9"), /^0305(?!00)/);
  const one = device({ identity: "dev9", key: Buffer.from(made, "hex") });
  one.start();
  await until("the handshake", () => one.outcome === "opened");
  await asks(one, connect("dev9"), connected);
  await asks(one, publish("0001", "made"), /^070d0001000100$/);
  await until("the broker has it", () => heard.includes("plain/1 made"));
  await ask(join(folder, "data", "control.sock"), "device.rotate", { name: "dev9" });
  await until("the old key is out", async () => (await metric("mqttsn_dtls_contexts"))[0]?.endsWith(" 1") === true);
  await cli(["device", "remove", "dev9"]);
  const again = device({ identity: "dev9", key: Buffer.from(made, "hex") });
  again.start();
  await until("it is not let in", async () => (await metric("mqttsn_dtls_bad_keys_total"))[0]?.endsWith(" 1") === true);
  expect(again.outcome).not.toBe("opened");
  // The key is shown only in the answer to its request.
  expect(printed).not.toContain(made);
});

test("a capture shows what is inside", async () => {
  await start();
  const file = join(folder, "inside.pcapng");
  const capture = spawn(process.execPath, [main, "capture", "-w", file, "-c", join(folder, "gateway.config.json")]);
  let said = "";
  for (const stream of [capture.stdout, capture.stderr]) stream.on("data", (data) => (said += data));
  try {
    await until("it listens", () => said.includes("wireshark") || said.includes("capturing"));
    const one = device();
    one.start();
    await until("the handshake", () => one.outcome === "opened");
    await asks(one, connect("dev1"), connected);
    await asks(one, publish("0001", "inside"), /^070d0001000100$/);
  } finally {
    await new Promise((done) => capture.once("exit", done).kill("SIGINT"));
  }
  const { stdout } = await promisify(execFile)(process.execPath, [main, "decode", "-1", "-r", file]);
  expect(stdout).toMatch(/client dev1 at dtls\/dev1: CONNECT/);
  expect(stdout).toMatch(/dtls\/dev1: PUBLISH .*"inside"/);
  expect(stdout).toMatch(/PUBACK/);
});

test("pub speaks DTLS with a key from a file; the key is on no command line", async () => {
  await start();
  writeFileSync(join(folder, "dev1.key"), `${key}\n`, { mode: 0o600 });
  const words = ["pub", "-p", String(dtlsPort), "--psk-identity", "dev1", "-t", "from/pub", "-m", "hello", "-q", "1"];
  const run = (more: readonly string[], env: NodeJS.ProcessEnv = {}) =>
    promisify(execFile)(process.execPath, [main, ...words, ...more], { cwd: folder, env: { ...process.env, ...env } });
  await run(["--psk-file", "dev1.key"]);
  await until("the broker has it", () => heard.includes("from/pub hello"));
  await run(["--psk-variable", "DEV1_KEY"], { DEV1_KEY: key });
  await until("twice", () => heard.filter((line) => line === "from/pub hello").length === 2);
  await expect(run([])).rejects.toThrow(/say where the key is/);
});

test("pub and sub speak DTLS with certificates, and say whom they do not believe", async () => {
  const { authority, options, folder: made } = makeAuthority();
  const file = (name: string, text: string) => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return name;
  };
  const dev7 = makeCertificate({ name: "dev7", by: authority });
  const own = ["--cert-file", file("dev7.pem", dev7.pem), "--key-file", file("dev7.key", keyPemOf(dev7))];
  const of = (ca: string, name = "gateway") => [...own, "--ca-file", ca, "--gateway-name", name];
  const stranger = file("stranger.pem", makeCertificate({ name: "another", isAuthority: true }).pem);
  configure({ keys: undefined, certificates: options });
  try {
    await start();
    const run = (words: readonly string[]) =>
      promisify(execFile)(process.execPath, [main, ...words], { cwd: folder, timeout: 30_000 });
    const to = ["-p", String(dtlsPort)];
    const pub = ["pub", ...to, "-t", "from/pub", "-m", "hello", "-q", "1"];
    const listening = run(["sub", ...to, ...of(options.ca), "-t", "to/sub", "-q", "1", "-C", "1", "-v"]);
    await until("it is subscribed", () => /"clientId":"dev7"/.test(printed) || printed.includes("dev7"));
    await until("the message comes", async () => {
      await watcher?.publishAsync("to/sub", "down", { qos: 1 });
      return await Promise.race([listening.then(() => true), new Promise<false>((no) => setTimeout(no, 500, false))]);
    });
    expect((await listening).stdout).toBe("to/sub down\n");
    await run([...pub, ...of(options.ca)]);
    await until("the broker has it", () => heard.includes("from/pub hello"));
    // The certificate itself needs neither authority nor name.
    await run([...pub, ...own, "--ca-file", options.cert]);
    await until("twice", () => heard.filter((line) => line === "from/pub hello").length === 2);
    await expect(run([...pub, ...of(stranger)])).rejects.toThrow(/the gateway's certificate is not trusted/);
    await expect(run([...pub, ...of(options.ca, "elsewhere")])).rejects.toThrow(/is not trusted/);
    await expect(run([...pub, ...own])).rejects.toThrow(/all of --cert-file, --key-file and --ca-file/);
    await expect(run([...pub, ...of(options.ca), "--psk-file", "x"])).rejects.toThrow(/do not go together/);
    await expect(run([...pub, "--cert-file", "dev7.key", ...of(options.ca).slice(2)])).rejects.toThrow(
      /dev7.key holds no certificate/,
    );
    expect(heard.filter((line) => line === "from/pub hello").length).toBe(2);
  } finally {
    rmSync(made, { recursive: true, force: true });
  }
});
