// Compiles the optional parts of native/ if there is a C compiler. If this fails, one line for each part says so and what is missing
// without it: the gateway runs without them. Runs when the package is installed.
import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = join(resolve(dirname(fileURLToPath(import.meta.url)), ".."), "native");
// -z now: what Node does not export is missed when the part is loaded, not when it is used.
const flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden", "-Wl,-z,now"];
const parts = {
  aead: "DTLS costs more without it",
  "udp-batch": "UDP costs more without it",
  "tcp-ring": "a connection to the broker for each device costs more without it",
  "tcp-read": "a connection to the broker for each device costs more without it",
  "hci-socket": "only Bluetooth misses it: it cannot tell whether packets were dropped, nor whether an adapter is up",
};

function build(name) {
  if (process.platform !== "linux") return `not for ${process.platform}`;
  const compiler = process.env.CC ?? "cc";
  const to = join(folder, "build", `${name}.node`);
  try {
    mkdirSync(dirname(to), { recursive: true });
    const { error, status, stderr } = spawnSync(compiler, [...flags, "-o", `${to}.new`, join(folder, `${name}.c`)]);
    if (error) return `there is no C compiler (${compiler})`;
    if (status !== 0) return String(stderr).trim();
    renameSync(`${to}.new`, to); // a gateway that runs keeps the old one
    return undefined;
  } catch (error) {
    return String(error);
  }
}

for (const [name, loss] of Object.entries(parts)) {
  const why = build(name);
  console.log(why === undefined ? `${name}: compiled` : `${name}: left out, ${why}; ${loss}`);
}
