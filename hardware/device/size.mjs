/**
 * What the library takes on a Cortex-M0+: `node size.mjs` compiles it with arm-none-eabi-gcc -Os and prints the table of
 * README.md; a test compares. The compiler is the installed one, or Debian's, unpacked into .cache/tools.
 *
 * `node size.mjs --mbedtls FOLDER`: the port to mbed TLS, and mbed TLS itself with ports/mbedtls_psk_config.h, whose source
 * (3.x) is in that folder.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = resolve(fileURLToPath(import.meta.url), "..");
const cache = join(folder, "../../.cache/tools/arm");
const portFile = "ports/mqttsn_dtls_mbedtls.c";
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

const options = ["-mcpu=cortex-m0plus", "-mthumb", "-Os", "-std=c99", `-I${join(folder, "include")}`];

function inScratch(work) {
  const scratch = mkdtempSync(join(tmpdir(), "size-"));
  try {
    return work(scratch);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function sectionsOf(gcc, file) {
  const [text, data, bss] = execFileSync(gcc.replace(/gcc$/, "size"), [file], { encoding: "utf8" })
    .split("\n")[1]
    .trim()
    .split(/\s+/)
    .map(Number);
  return { text, ram: data + bss };
}

function compiled(gcc, words, source, object) {
  execFileSync(gcc, [...options, ...words, "-c", source, "-o", object], { stdio: "pipe" });
  return sectionsOf(gcc, object);
}

/** What one variable of this type takes. */
function ramOf(gcc, words, scratch, header, type) {
  const source = join(scratch, `${type}.c`);
  writeFileSync(source, `#include "${header}"\n${type} variable;\n`);
  return compiled(gcc, words, source, `${source}.o`).ram;
}

/** Octets of code and constants by file, and of one client. */
export function measure({ gcc, include }) {
  return inScratch((scratch) => {
    const files = readdirSync(join(folder, "src"))
      .filter((name) => name.endsWith(".c"))
      .sort();
    const code = files.map((name) => ({
      name,
      ...compiled(gcc, include, join(folder, "src", name), join(scratch, `${name}.o`)),
    }));
    return { code, client: ramOf(gcc, include, scratch, "mqttsn.h", "mqttsn_t") };
  });
}

/** The port, by mbed TLS's headers; a device's RAM with mbed TLS's two structures in it. */
export function measurePort({ gcc, include }, headers) {
  return inScratch((scratch) => {
    const words = portOptions(include, headers);
    const { text } = compiled(gcc, words, join(folder, portFile), join(scratch, "port.o"));
    return { text, ram: ramOf(gcc, words, scratch, "mqttsn_dtls.h", "mqttsn_dtls_t") };
  });
}

/** What a linker leaves of mbed TLS for the port, without the C library's own part. `tree`: its source. */
function measureMbedtls({ gcc, include }, tree) {
  return inScratch((scratch) => {
    const words = [...portOptions(include, join(tree, "include")), "-ffunction-sections", "-fdata-sections"];
    const sources = readdirSync(join(tree, "library")).filter((name) => name.endsWith(".c"));
    const objects = [...sources.map((name) => join(tree, "library", name)), join(folder, portFile)].map((source, i) => {
      const object = join(scratch, `${i}.o`);
      compiled(gcc, words, source, object);
      return object;
    });
    const link = (name, files) => {
      const linked = join(scratch, name);
      const roots = ["init", "free", "send", "receive", "poll", "wait", "moved", "close"];
      const needed = [...roots.map((root) => `-Wl,-u,mqttsn_dtls_${root}`), "-Wl,-u,mbedtls_memory_buffer_alloc_init"];
      const rules = [
        "-nostdlib",
        "-Wl,--gc-sections",
        "-Wl,--unresolved-symbols=ignore-all",
        "-Wl,-e,mqttsn_dtls_init",
      ];
      execFileSync(gcc, ["-mcpu=cortex-m0plus", "-mthumb", ...rules, ...needed, ...files, "-o", linked], {
        stdio: "pipe",
      });
      return sectionsOf(gcc, linked);
    };
    const all = link("all", objects);
    const port = link("port", objects.slice(-1));
    return { text: all.text - port.text, ram: all.ram - port.ram };
  });
}

function portOptions(include, headers) {
  const config = '-DMBEDTLS_CONFIG_FILE="mbedtls_psk_config.h"';
  return [...include, "-isystem", headers, `-I${join(folder, "ports")}`, config];
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

export function portTable(port, mbedtls) {
  return [
    "| | octets |",
    "| --- | --- |",
    `| **flash, the port** | **${port.text}** |`,
    `| flash, mbed TLS | ${mbedtls.text} |`,
    `| **RAM for a device** (\`mqttsn_dtls_t\`, two structures of mbed TLS in it) | **${port.ram}** |`,
    `| RAM beside it, mbed TLS | ${mbedtls.ram} |`,
  ].join("\n");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const found = findCompiler();
  const tree = process.argv[2] === "--mbedtls" ? process.argv[3] : undefined;
  if ("missing" in found) {
    process.stderr.write(`${found.missing}\n`);
    process.exitCode = 1;
  } else if (tree === undefined) process.stdout.write(`${table(measure(found))}\n`);
  else process.stdout.write(`${portTable(measurePort(found, join(tree, "include")), measureMbedtls(found, tree))}\n`);
}
