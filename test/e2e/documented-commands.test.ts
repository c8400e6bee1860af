/** Every command line of the documents is run, against a gateway with a try-out broker: it does what it is there for. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, test } from "vitest";
import { gatewayPort } from "../../src/capture/capture-file.ts";
import { readCapture } from "../../src/cli/read-capture.ts";
import { documentedCommands } from "../helpers/documented-commands.ts";
import { freePorts } from "../helpers/ports.ts";
import { until } from "../helpers/test-gateway.ts";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));
const key = "00112233445566778899aabbccddeeff";
/** What documents write for what a reader puts in. */
const placeholders: Readonly<Record<string, string>> = {
  TOPIC: "demo/temp",
  HEX: "00d7",
  NAME: "dev9",
  ID: "sensor-1",
  "<address>": "aa:bb:cc:dd:ee:ff",
};
/** They continue until they are ended. */
const endless = ["sub", "capture", "demo"];
/** They need what this machine need not have, or a terminal, or a gateway that is stopped, and say so. */
const mayRefuse = [
  "restore",
  "ble",
  "fleet",
  "doctor",
  "queue republish",
  "device add",
  "console --lan",
  "pub -h gateway.local",
];
/** Far more than any of them needs. */
const patienceMs = 60_000;
/** The first example of docs/guide/payloads.md. */
const payloads = JSON.parse(
  /```jsonc\n\{?\s*"payloads": (\[[\s\S]*?\n\])\s*\}?\n```/.exec(
    readFileSync(new URL("../../docs/guide/payloads.md", import.meta.url), "utf8"),
  )?.[1] ?? "[]",
) as readonly unknown[];

let folder: string;
let gateway: ChildProcess;
let ports: { udp: number; dtls: number; broker: number; api: number; free: number };
let said = "";

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "documented-"));
  const [udp = 0, dtls = 0, broker = 0, api = 0, free = 0] = await freePorts(5);
  ports = { udp, dtls, broker, api, free };
  writeFileSync(join(folder, "devices.json"), JSON.stringify({ dev1: key }), { mode: 0o600 });
  writeFileSync(join(folder, "dev1.key"), key, { mode: 0o600 });
  const written = (name: string, config: object) => writeFileSync(join(folder, name), JSON.stringify(config));
  const upstream = { url: `mqtt://127.0.0.1:${broker}` };
  written("fleet.json", {
    transports: [{ type: "udp", host: "127.0.0.1", port: udp }],
    upstream,
    store: { kind: "redis", redis: { url: `redis://127.0.0.1:${free}` } },
    fleet: { enabled: true, listen: "127.0.0.1:1884" },
  });
  // docs/guide/fleet.md calls the configuration of a single gateway so.
  for (const name of ["gateway.config.json", "one.json"])
    written(name, {
      transports: [
        { type: "udp", host: "127.0.0.1", port: udp },
        { type: "dtls", host: "127.0.0.1", port: dtls, keys: { file: "devices.json" } },
      ],
      tryOutBroker: true,
      upstream,
      payloads: [...payloads, { topics: "demo/temp", fields: [{ name: "degrees", type: "u16", scale: 0.1 }] }],
      store: { kind: "disk", folder: join(folder, "data") },
      api: { port: api },
    });
  gateway = spawn(process.execPath, [main, "start"], { cwd: folder });
  for (const stream of [gateway.stdout, gateway.stderr]) stream?.on("data", (data) => (said += data));
  await until("ready", () => said.includes("ready") || gateway.exitCode !== null);
  expect(said).toContain("ready");
}, 60_000);

afterAll(async () => {
  const ended = new Promise((resolve) => gateway.once("exit", resolve));
  gateway.kill("SIGTERM");
  await ended;
  rmSync(folder, { recursive: true, force: true });
});

/** What the pages show one after the other uses what came before it: the file of a capture is decoded, then replayed. */
test("they run", { timeout: 900_000 }, async () => {
  const seen = new Set<string>();
  const outcomes: string[] = [];
  for (const { words } of documentedCommands()) {
    const line = words.join(" ");
    if (seen.has(line)) continue;
    seen.add(line);
    const outcome = await run(line, adapted(words));
    if (outcome) outcomes.push(outcome);
  }
  expect(seen.size).toBeGreaterThan(30);
  expect(outcomes).toEqual([]);
});

/** The same, at this gateway's ports. */
function adapted(words: readonly string[]): string[] {
  const [command = ""] = words;
  const filled = words.map((word) => placeholders[word] ?? word.replace("127.0.0.1:1883", `127.0.0.1:${ports.udp}`));
  const isSecret = words.some((word) => word.startsWith("--psk"));
  if (command === "pub" || command === "sub") filled.push("-p", String(isSecret ? ports.dtls : ports.udp));
  if (command === "try-device") filled.push("--timeout", "1", "-p", String(ports.free));
  if (command === "console") filled.push("--anywhere");
  return filled;
}

async function run(line: string, words: readonly string[]): Promise<string | undefined> {
  const child = spawn(process.execPath, [main, ...words], { cwd: folder, stdio: ["pipe", "pipe", "pipe"] });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (output += data));
  const ended = new Promise<number | null>((resolve) => child.once("close", resolve));
  const hangs = setTimeout(() => child.kill("SIGKILL"), patienceMs);
  child.stdin.end(line === "decode" ? "0216\n" : "");
  if (endless.includes(words[0] ?? "")) {
    // With `-C` it ends when messages came; that it has subscribed is said before.
    const isHeard = () => child.exitCode !== null || (output !== "" && !words.includes("-C"));
    const topic = (words[words.indexOf("-t") + 1] ?? "").replace(/#$/, "temp");
    for (let tries = 0; tries < 30 && !isHeard(); tries++) {
      // A capture that begins within a session cannot be replayed.
      if (words[0] === "demo" || words[0] === "capture") await new Promise((passed) => setTimeout(passed, 1_000));
      else await sensor(topic.includes("/") ? topic : "demo/temp");
    }
    if (words.includes("-w")) await sensor("demo/temp");
    if (words.includes("trouble.pcapng"))
      await until("recorded to its end", () => isWhole(join(folder, "trouble.pcapng")));
    if (!words.includes("-C")) child.kill("SIGINT");
  }
  const status = await ended;
  clearTimeout(hangs);
  // A device that never came is a situation that was not played.
  if (words[0] === "try-device" && status === 2) return undefined;
  const isRefusal = mayRefuse.some((each) => line.startsWith(each)) && status === 1 && output !== "";
  if (/^\s+at .*:\d+:\d+\)?$/m.test(output)) return `${line}: a stack trace: ${output}`;
  if ((status === 0 || isRefusal) && !/^error: (?:unknown|too many|missing)/m.test(output)) return undefined;
  return `${line}: ended with ${status}: ${output.slice(-400)}`;
}

/** The last thing in it is the answer to the device's DISCONNECT. */
function isWhole(path: string): boolean {
  try {
    const last = readCapture(path, gatewayPort).at(-1);
    return last?.direction === "out" && Buffer.from(last.payload).toString("hex") === "0218";
  } catch {
    return false;
  }
}

/** Connects with a session that stays, and sends something. */
async function sensor(topic: string): Promise<void> {
  const words = ["pub", "-i", "sensor-1", "-c", "-t", topic, "-m", "21.5", "-q", "1", "-p", String(ports.udp)];
  const child = spawn(process.execPath, [main, ...words], { cwd: folder, stdio: "ignore" });
  await new Promise((resolve) => child.once("close", resolve));
}
