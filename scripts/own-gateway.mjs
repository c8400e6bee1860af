/** For scripts that measure: the shipped gateway in a separate process, with the try-out broker, and its CPU time and memory so far. */
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startTryOutBroker } from "../dist/tryout-broker.js";

/** CPU time of a process so far, in milliseconds. */
export function cpuOf(pid) {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1].split(" ");
  return 10 * (Number(fields[11]) + Number(fields[12]));
}

/** Resident memory of a process, in MB. */
export function rssOf(pid) {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) / 1_024;
}

export const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

const heapOnSignal = `process.on("SIGUSR2", () => {
  global.gc();
  const { heapUsed, external } = process.memoryUsage();
  process.stdout.write("heap " + (heapUsed + external) / 1e6 + "\\n");
});`;

/** Words for Node that let `heapOf` ask a gateway. */
export function withHeap(folder) {
  const file = join(folder, "heap.cjs");
  writeFileSync(file, heapOnSignal);
  return ["--expose-gc", "--require", file];
}

/** What is left after a collection: heap and buffers, in MB. */
export async function heapOf(gateway) {
  let text = "";
  return new Promise((done) => {
    const read = (more) => {
      text += more;
      const found = /^heap (\S+)$/m.exec(text);
      if (!found) return;
      gateway.stdout.off("data", read);
      done(Number(found[1]));
    };
    gateway.stdout.on("data", read);
    gateway.kill("SIGUSR2");
  });
}

/**
 * Calls `what({ gateway, ports, printed })` while a gateway runs in aggregating mode, and ends it. `configure(ports, folder)` answers the
 * configuration but for `upstream.url` and the log; `ports`: so many free ones. `words`: before the program, for Node.
 */
export async function withGateway({ configure, ports: count, words = () => [] }, what) {
  const folder = mkdtempSync(join(tmpdir(), "figures-"));
  const first = 21_000 + 8 * Math.floor(Math.random() * 1_000);
  const [brokerPort, ...ports] = Array.from({ length: count + 1 }, (_, i) => first + i);
  const broker = await startTryOutBroker({ host: "127.0.0.1", port: brokerPort });
  const { upstream, ...config } = configure(ports, folder);
  const whole = {
    ...config,
    upstream: { url: `mqtt://127.0.0.1:${brokerPort}`, mode: "aggregating", ...upstream },
    log: { level: "info" },
  };
  writeFileSync(join(folder, "gateway.config.json"), JSON.stringify(whole));
  const main = new URL("../dist/main.js", import.meta.url).pathname;
  const gateway = spawn(process.execPath, [...words(folder), main, "start"], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  let text = "";
  await new Promise((done, fail) => {
    gateway.once("exit", () => fail(new Error(text)));
    gateway.stdout.on("data", (more) => {
      text += more;
      if (/ready: devices/.test(text) && text.includes("connected to the broker")) done();
    });
  });
  // It connects a second time once it has ended the broker's session of an earlier store.
  await new Promise((done) => setTimeout(done, 2_000));
  try {
    return await what({ gateway, ports, printed: () => text });
  } finally {
    gateway.removeAllListeners("exit");
    await new Promise((done) => gateway.once("exit", done).kill("SIGKILL"));
    await broker.close();
    rmSync(folder, { recursive: true });
  }
}
