/** A run of the shipped gateway with secrets of every kind planted, and everything that it says looked through for them. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterEach, expect, test } from "vitest";
import { ask } from "../../src/cli/ask.ts";
import { startTryOutBroker, type TryOutBroker } from "../../src/tryout-broker.ts";
import { freePort } from "../helpers/ports.ts";
import { until } from "../helpers/test-gateway.ts";

const main = fileURLToPath(new URL("../../dist/main.js", import.meta.url));

const secrets = {
  urlPassword: "hunter2-in-the-url",
  filePassword: "hunter2-in-a-file",
  variablePassword: "hunter2-in-a-variable",
  fileKey: "0f1e2d3c4b5a69788796a5b4c3d2e1f0",
  consolePassword: "hunter2-of-the-console",
};

let folder = "";
let gateway: ChildProcess | undefined;
let broker: TryOutBroker | undefined;

afterEach(async () => {
  if (gateway && gateway.exitCode === null) await new Promise((done) => gateway?.once("exit", done).kill("SIGKILL"));
  if (broker?.kind === "started") await broker.close();
  rmSync(folder, { recursive: true, force: true });
});

test("planted secrets are in no log line, metric, answer, command's output or bundle", {
  timeout: 120_000,
}, async () => {
  folder = mkdtempSync(join(tmpdir(), "secrets-"));
  const [brokerPort, udpPort, dtlsPort, apiPort] = [
    await freePort(),
    await freePort(),
    await freePort(),
    await freePort(),
  ];
  broker = await startTryOutBroker({ host: "127.0.0.1", port: brokerPort });
  writeFileSync(join(folder, "password"), secrets.filePassword, { mode: 0o600 });
  writeFileSync(join(folder, "keys.json"), JSON.stringify({ dev1: secrets.fileKey }), { mode: 0o600 });
  chmodSync(join(folder, "keys.json"), 0o600);
  const file = join(folder, "gateway.config.json");
  writeFileSync(
    file,
    JSON.stringify({
      transports: [
        { type: "udp", host: "127.0.0.1", port: udpPort },
        { type: "dtls", host: "127.0.0.1", port: dtlsPort, keys: { file: "keys.json" } },
      ],
      upstream: {
        url: `mqtt://somebody:${secrets.urlPassword}@127.0.0.1:${brokerPort}`,
        credentials: [
          { clients: "a-*", username: "a", password: { file: "password" } },
          { clients: "b-*", username: "b", password: { env: "PLANTED" } },
        ],
      },
      api: { port: apiPort },
      log: { level: "trace", format: "json" },
    }),
  );
  const env = { ...process.env, PLANTED: secrets.variablePassword };
  let said = "";
  const child = spawn(process.execPath, [main, "start", "-c", file], { cwd: folder, env });
  gateway = child;
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
  await until("ready", () => said.includes("ready: devices") && said.includes("connected to the broker"));

  const command = async (...words: string[]) => {
    const done = await promisify(execFile)(process.execPath, [main, ...words, "-c", file], { cwd: folder, env }).catch(
      (error: { stdout?: string; stderr?: string }) => error,
    );
    said += `${done.stdout ?? ""}${done.stderr ?? ""}`;
  };
  const socket = join(folder, "data", "control.sock");
  const { key: made } = await ask(socket, "device.add", { name: "dev9" });
  const setting = spawn(process.execPath, [main, "console", "--lan", "-c", file], { cwd: folder, env });
  for (const stream of [setting.stdout, setting.stderr]) stream.on("data", (data) => (said += data));
  setting.stdin.end(`${secrets.consolePassword}\n`);
  await new Promise((done) => setting.once("exit", done));
  for (const id of ["a-1", "b-1"])
    await promisify(execFile)(
      process.execPath,
      [main, "pub", "-p", String(udpPort), "-i", id, "-t", "t", "-m", "x", "-q", "1"],
      {
        cwd: folder,
      },
    ).catch(() => undefined); // the try-out broker asks for no password; the gateway says it all the same
  await command("check");
  await command("check", "--export");
  await command("sessions", "--json");
  await command("queue");
  await command("device", "list");
  await command("doctor", "--json");
  await command("doctor", "--bundle", join(folder, "bundle"));
  for (const path of ["/metrics", "/healthz", "/", "/api/v1/overview", "/api/v1/openapi.json"])
    said += await (await fetch(`http://127.0.0.1:${apiPort}${path}`)).text();
  for (const name of readdirSync(folder, { recursive: true }).map(String))
    if (name.startsWith("bundle")) said += readableOf(join(folder, name));
  child.kill("SIGHUP");
  await until("it was read again", () => /read again|reload/i.test(said));
  child.kill("SIGTERM");
  await new Promise((done) => child.once("exit", done));

  expect(said.length).toBeGreaterThan(5_000);
  for (const [what, secret] of Object.entries({ ...secrets, made }))
    expect(said.toLowerCase().includes(secret.toLowerCase()), `${what} was said`).toBe(false);
});

function readableOf(path: string): string {
  try {
    return readFileSync(path, "latin1");
  } catch {
    return ""; // a folder
  }
}
