/** Installs the packed tarball without development tools into an empty folder, and starts it, as a new user would. */
import { spawn, spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const folder = mkdtempSync(join(tmpdir(), "try-package-"));
const run = (command, args, cwd) => {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: "utf8" });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${status}\n${stdout}\n${stderr}`);
  return stdout;
};

try {
  run("npm", ["pack", "--pack-destination", folder], root);
  const tarball = readdirSync(folder).find((name) => name.endsWith(".tgz"));
  writeFileSync(join(folder, "package.json"), "{}\n");
  run("npm", ["install", "--omit=dev", "--no-audit", "--no-fund", join(folder, tarball)], folder);
  const port = 20_000 + Math.floor(Math.random() * 10_000);
  const config = {
    transports: [{ type: "udp", host: "127.0.0.1", port }],
    tryOutBroker: true,
    upstream: { url: `mqtt://127.0.0.1:${port + 1}` },
    api: { enabled: false },
  };
  writeFileSync(join(folder, "gateway.config.json"), JSON.stringify(config));
  const gateway = spawn("npx", ["--no-install", "mqtt-sn-gateway", "start"], { cwd: folder, detached: true });
  try {
    await lineOf(gateway.stdout, "ready");
    const sub = spawn(
      "npx",
      ["--no-install", "mqtt-sn-gateway", "sub", "-p", String(port), "-t", "try/#", "-v", "-C", "1"],
      { cwd: folder },
    );
    await lineOf(sub.stderr, "subscribed");
    run(
      "npx",
      ["--no-install", "mqtt-sn-gateway", "pub", "-p", String(port), "-t", "try/it", "-m", "it works", "-q", "1"],
      folder,
    );
    await lineOf(sub.stdout, "try/it it works");
    process.stdout.write("package: installed without development tools, started, one message through\n");
  } finally {
    process.kill(-gateway.pid, "SIGTERM");
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

function lineOf(stream, wanted) {
  return new Promise((done, fail) => {
    let text = "";
    const patience = setTimeout(() => fail(new Error(`waited for "${wanted}" in: ${text}`)), 20_000);
    stream.on("data", (data) => {
      text += data;
      if (!text.includes(wanted)) return;
      clearTimeout(patience);
      done();
    });
  });
}
