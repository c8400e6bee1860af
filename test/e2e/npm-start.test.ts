/** The gateway as npm and systemd start it: signals reach it, and the journal gets the level of each line. */
import { spawn } from "node:child_process";
import { closeSync, fstatSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, expect, test } from "vitest";
import { freePorts } from "../helpers/ports.ts";
import { until } from "../helpers/test-gateway.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
let folder: string;
let file: string;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "npm-start-"));
  file = join(folder, "gateway.config.json");
  const [udp, broker] = await freePorts(2);
  writeFileSync(
    file,
    `// With a comment.\n${JSON.stringify({
      transports: [{ type: "udp", host: "127.0.0.1", port: udp }],
      tryOutBroker: true,
      upstream: { url: `mqtt://127.0.0.1:${broker}` },
      api: { enabled: false },
      store: { kind: "memory" },
    })}`,
  );
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

test("SIGTERM to npm ends the gateway in order, and nothing is left behind", async () => {
  const npm = spawn("npm", ["start", "--", "-c", file], { cwd: root });
  const ended = new Promise<number | null>((resolve) => npm.once("close", resolve));
  let said = "";
  for (const stream of [npm.stdout, npm.stderr]) stream.on("data", (data) => (said += data));
  await until("ready", () => said.includes("ready"));
  const gateway = descendants(npm.pid ?? 0).find((pid) => commandOf(pid).includes("dist/main.js"));
  expect(gateway).toBeDefined();
  npm.kill("SIGTERM");
  await ended;
  await until("the gateway's end", () => commandOf(gateway ?? 0) === "");
  expect(said).toContain("SIGTERM: ending");
});

test("an idle gateway lets the processor sleep", async () => {
  const [port] = await freePorts(1);
  const enabled = readFileSync(file, "utf8").replace('"api":{"enabled":false}', `"api":{"port":${port}}`);
  writeFileSync(file, enabled);
  const child = spawn(process.execPath, [join(root, "dist/main.js"), "start", "-c", file]);
  const ended = new Promise((resolve) => child.once("exit", resolve));
  try {
    let said = "";
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data) => (said += data));
    await until("ready", () => said.includes("ready"));
    const wakings = () => Number(/^voluntary_ctxt_switches:\s+(\d+)/m.exec(statusOf(child.pid))?.[1]);
    let fewest = Number.POSITIVE_INFINITY;
    // A busy machine makes them fewer; what is done once after the start is over in one of these seconds.
    for (let second = 0; second < 5 && fewest > 30; second++) {
      const before = wakings();
      await new Promise((passed) => setTimeout(passed, 1_000));
      fewest = Math.min(fewest, wakings() - before);
    }
    expect(fewest).toBeLessThanOrEqual(30);
  } finally {
    child.kill("SIGTERM");
    await ended;
  }
});

test("under systemd each line has its priority in front; a stream that is not the journal's stays JSON", async () => {
  const log = join(folder, "journal");
  const fd = openSync(log, "w");
  const { dev, ino } = fstatSync(fd, { bigint: true });
  for (const [stream, wanted] of [
    [`${dev}:${ino}`, /^<[346]>\{"level":[345]0,/],
    ["1:1", /^\{"level":[345]0,/],
  ] as const) {
    writeFileSync(log, "");
    const env = { ...process.env, JOURNAL_STREAM: stream };
    const child = spawn(process.execPath, [join(root, "dist/main.js"), "start", "-c", file], {
      env,
      stdio: ["ignore", fd, 2],
    });
    const ended = new Promise((resolve) => child.once("exit", resolve));
    await until("ready", () => readFileSync(log, "utf8").includes("ready"));
    child.kill("SIGTERM");
    await ended;
    // The file is written where the one before ended: what is between are zeros.
    const lines = readFileSync(log, "utf8").replace(/^\0+/, "").trim().split("\n");
    for (const line of lines) expect(line).toMatch(wanted);
  }
  closeSync(fd);
});

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return "";
  }
}

function descendants(pid: number): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8")
    .trim()
    .split(" ")
    .filter(Boolean)
    .map(Number);
  return [pid, ...children.flatMap(descendants)];
}

/** Of its first thread, which is the event loop. */
function statusOf(pid = 0): string {
  return readFileSync(`/proc/${pid}/task/${pid}/status`, "utf8");
}
