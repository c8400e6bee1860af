/**
 * BlueZ's emulated Bluetooth controllers for tests: `btvirt`, built from Debian's source package in `.cache/tools`,
 * with small changes without which it holds one link only. Needs apt-get with source packages, and gcc.
 */

import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, symlinkSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const cache = join(resolve(fileURLToPath(import.meta.url), "../../../.."), ".cache/tools/bluez");

/** Every change: file, what stands there, what is to stand there, and why. */
const changes = [
  {
    // The two ends of a link get different handles as soon as one end has another link; what is sent is lost then.
    file: "emulator/btdev.c",
    from: "\tconn1 = conn_new(dev, handle, type);",
    to:
      "\twhile (queue_find(dev->conns, match_handle, UINT_TO_PTR(handle)) ||\n" +
      "\t\t\tqueue_find(remote->conns, match_handle, UINT_TO_PTR(handle)))\n\t\thandle++;\n\n" +
      "\tconn1 = conn_new(dev, handle, type);",
  },
  {
    // A controller that vanishes is a link loss for the others.
    file: "emulator/btdev.c",
    after: "void btdev_destroy(struct btdev *btdev)",
    from: "\tdel_btdev(btdev);",
    to:
      "\tfor (struct btdev_conn *c; (c = queue_peek_head(btdev->conns)); conn_remove(c))\n\t\tif (c->link)\n" +
      "\t\t\tdisconnect_complete(c->link->dev, c->link->handle, 0x00, 0x08);\n\tdel_btdev(btdev);",
  },
  // Kernels without AF_ALG: no encryption, but controllers.
  { file: "src/shared/crypto.c", from: "if (singleton->ecb_aes < 0)", to: "if (0)" },
  { file: "src/shared/crypto.c", from: "if (singleton->cmac_aes < 0)", to: "if (0)" },
  // A controller that vanishes while it is written to does not end the program.
  {
    file: "emulator/main.c",
    from: "\tmainloop_init();",
    to: "\tsignal(SIGPIPE, SIG_IGN);\n\tmainloop_init();",
  },
  // Controllers with extended advertising at bt-server-bredrle, and as many octets in a report as an event holds.
  { file: "emulator/server.c", from: "type = BTDEV_TYPE_BREDRLE;", to: "type = BTDEV_TYPE_BREDRLE52;" },
  {
    file: "emulator/btdev.c",
    after: "static void send_ext_adv(",
    from: "uint8_t raw[24 + 31];",
    to: "uint8_t raw[24 + 229];",
  },
  // Sockets in the working directory, so that several run side by side.
  { file: "emulator/main.c", from: '"/tmp/bt-server-', to: '"bt-server-', all: true },
];

const sources = [
  ...["main", "serial", "server", "vhci", "btdev", "bthost", "smp", "phy", "amp", "le"].map(
    (name) => `emulator/${name}.c`,
  ),
  ...["mainloop", "mainloop-notify", "util", "queue", "io-mainloop", "timeout-mainloop", "crypto", "ecc"].map(
    (name) => `src/shared/${name}.c`,
  ),
  "lib/bluetooth.c",
  "lib/hci.c",
];

const flags = ["-O2", "-w", "-D_GNU_SOURCE", '-DVERSION="test"', "-include", "signal.h", "-I.", "-Iinc", "-Ilib"];
/** A program that was built otherwise is not taken for this one. */
const digest = createHash("sha256")
  .update(JSON.stringify([changes, sources, flags]))
  .digest("hex")
  .slice(0, 12);

/** @returns {{ path: string } | { missing: string }} */
export function findBtvirt() {
  const path = join(cache, `btvirt-${digest}`);
  if (existsSync(path)) return { path };
  if (spawnSync("gcc", ["--version"]).status !== 0) return { missing: "btvirt is built with gcc, which is not there" };
  try {
    build(path);
    return { path };
  } catch (error) {
    return { missing: `btvirt could not be built from Debian's bluez (${String(error).split("\n")[0]})` };
  }
}

function build(path) {
  const folder = join(cache, "source");
  for (const name of ["lists/partial", "lists.d", "archives/partial"])
    mkdirSync(join(folder, name), { recursive: true });
  if (!readdirSync(folder).some((name) => name.startsWith("bluez_"))) download(folder);
  const archive = readdirSync(folder).find((name) => /^bluez_.*\.orig\.tar\.xz$/.test(name));
  if (!archive) throw new Error("apt-get brought no source of bluez");
  execFileSync("tar", ["xJf", archive], { cwd: folder });
  const tree = join(folder, readdirSync(folder).find((name) => name.startsWith("bluez-")) ?? "");
  for (const change of changes) apply(tree, change);
  mkdirSync(join(tree, "inc"), { recursive: true });
  if (!existsSync(join(tree, "inc/bluetooth"))) symlinkSync("../lib", join(tree, "inc/bluetooth"));
  execFileSync("gcc", [...flags, "-o", `${path}.new`, ...sources], { cwd: tree, stdio: "pipe" });
  renameSync(`${path}.new`, path);
}

function apply(tree, { file, after, from, to, all }) {
  const text = readFileSync(join(tree, file), "utf8");
  const start = after === undefined ? 0 : text.indexOf(after);
  if (start < 0 || !text.includes(from, start)) throw new Error(`${file} is not as expected: ${from}`);
  const head = text.slice(0, start);
  const tail = text.slice(start);
  writeFileSync(join(tree, file), head + (all ? tail.replaceAll(from, to) : tail.replace(from, () => to)));
}

/** The machine's own package sources, with source packages, in separate lists. */
function download(folder) {
  const list = join(folder, "sources.list");
  const classic = existsSync("/etc/apt/sources.list") ? readFileSync("/etc/apt/sources.list", "utf8") : "";
  writeFileSync(list, classic.replaceAll(/^deb /gm, "deb-src "));
  const modern = "/etc/apt/sources.list.d";
  for (const name of existsSync(modern) ? readdirSync(modern).filter((each) => each.endsWith(".sources")) : []) {
    const text = readFileSync(join(modern, name), "utf8").replaceAll(/^Types:.*$/gm, "Types: deb-src");
    writeFileSync(join(folder, "lists.d", name), text);
  }
  const options = [
    "APT::Sandbox::User=root",
    `Dir::Etc::sourcelist=${list}`,
    `Dir::Etc::sourceparts=${join(folder, "lists.d")}`,
    `Dir::State::lists=${join(folder, "lists")}`,
    `Dir::Cache=${folder}`,
  ].flatMap((option) => ["-o", option]);
  execFileSync("apt-get", ["-qq", ...options, "update"], { cwd: folder, stdio: "pipe" });
  execFileSync("apt-get", ["-qq", ...options, "source", "--download-only", "bluez"], { cwd: folder, stdio: "pipe" });
}
