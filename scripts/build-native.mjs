// Compiles native/udp-batch.c where there is a C compiler. It is optional: where it fails, one line says so, and the
// gateway takes Node's own UDP, which costs more per datagram. Runs when the package is installed.
import { spawnSync } from "node:child_process";
import { mkdirSync, renameSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = join(resolve(dirname(fileURLToPath(import.meta.url)), ".."), "native");
const to = join(folder, "build", "udp-batch.node");
const flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-fPIC", "-shared", "-fvisibility=hidden"];

function build() {
  if (process.platform !== "linux") return `not for ${process.platform}`;
  const compiler = process.env.CC ?? "cc";
  try {
    mkdirSync(dirname(to), { recursive: true });
    const { error, status, stderr } = spawnSync(compiler, [...flags, "-o", `${to}.new`, join(folder, "udp-batch.c")]);
    if (error) return `there is no C compiler (${compiler})`;
    if (status !== 0) return String(stderr).trim();
    renameSync(`${to}.new`, to); // a gateway that runs keeps the old one
    return undefined;
  } catch (error) {
    return String(error);
  }
}

const why = build();
console.log(why === undefined ? "udp-batch: compiled" : `udp-batch: left out, ${why}; UDP costs more without it`);
