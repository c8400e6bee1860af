/**
 * What the library takes on a Cortex-M0+: `node size.mjs` compiles it with arm-none-eabi-gcc -Os and prints the table of
 * README.md; a test compares. The compiler is the installed one, or Debian's, unpacked into .cache/tools.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = resolve(fileURLToPath(import.meta.url), "..");
const cache = join(folder, "../../.cache/tools/arm");
const packages = ["gcc-arm-none-eabi", "binutils-arm-none-eabi", "libnewlib-dev"];

/** @returns {{ gcc: string, include: string[] } | { missing: string }} */
export function findCompiler() {
  if (spawnSync("arm-none-eabi-gcc", ["--version"]).status === 0) return { gcc: "arm-none-eabi-gcc", include: [] };
  const gcc = join(cache, "usr/bin/arm-none-eabi-gcc");
  if (!existsSync(gcc)) unpack();
  if (spawnSync(gcc, ["--version"]).status !== 0) {
    return { missing: "arm-none-eabi-gcc is not installed and could not be unpacked" };
  }
  return { gcc, include: ["-isystem", join(cache, "usr/include/newlib")] };
}

function unpack() {
  mkdirSync(cache, { recursive: true });
  if (!download(packages[0])) spawnSync("apt-get", ["update"], { stdio: "ignore" });
  for (const name of packages) download(name);
  for (const file of readdirSync(cache).filter((name) => name.endsWith(".deb"))) {
    execFileSync("dpkg", ["-x", file, "."], { cwd: cache, stdio: "ignore" });
  }
}

function download(name) {
  return spawnSync("apt-get", ["download", name], { cwd: cache, stdio: "ignore" }).status === 0;
}

/** Octets of code and constants by file, and of one client. */
export function measure({ gcc, include }) {
  const scratch = mkdtempSync(join(tmpdir(), "size-"));
  try {
    const size = gcc.replace(/gcc$/, "size");
    const options = ["-mcpu=cortex-m0plus", "-mthumb", "-Os", "-std=c99", ...include, `-I${join(folder, "include")}`];
    const sections = (source, name) => {
      const object = join(scratch, `${name}.o`);
      execFileSync(gcc, [...options, "-c", source, "-o", object], { stdio: "pipe" });
      const [text, data, bss] = execFileSync(size, [object], { encoding: "utf8" })
        .split("\n")[1]
        .trim()
        .split(/\s+/)
        .map(Number);
      return { text, ram: data + bss };
    };
    const files = readdirSync(join(folder, "src"))
      .filter((name) => name.endsWith(".c"))
      .sort();
    const code = files.map((name) => ({ name, ...sections(join(folder, "src", name), name) }));
    const client = join(scratch, "client_ram.c");
    writeFileSync(client, '#include "mqttsn.h"\nmqttsn_t client;\n');
    return { code, client: sections(client, "client_ram").ram };
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

export function table({ code, client }) {
  const sum = code.reduce((total, { text }) => total + text, 0);
  const statics = code.reduce((total, { ram }) => total + ram, 0);
  return [
    "| | octets |",
    "| --- | --- |",
    ...code.map(({ name, text }) => `| \`${name}\` | ${text} |`),
    `| **flash, all of it** | **${sum}** |`,
    `| **RAM for a client** (\`mqttsn_t\`), with the default sizes | **${client}** |`,
    `| RAM beside it | ${statics} |`,
  ].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = findCompiler();
  if ("missing" in found) {
    process.stderr.write(`${found.missing}\n`);
    process.exitCode = 1;
  } else process.stdout.write(`${table(measure(found))}\n`);
}
