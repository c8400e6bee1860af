/**
 * A virtual machine for tests: Debian's kernel, with the modules that emulated Bluetooth controllers need, started by
 * qemu without any help of the processor. Everything is unpacked into `.cache/tools/vm`; nothing is installed.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";

const here = dirname(fileURLToPath(import.meta.url));
const cache = join(resolve(here, "../../.."), ".cache/tools/vm");
const wanted = [
  "virtio_pci",
  "9pnet_virtio",
  "9p",
  "overlay",
  "virtio_rng",
  "cmac",
  "ecb",
  "ccm",
  // Random numbers for its keys of LE Secure Connections.
  "hmac",
  "sha512_generic",
  "sha256_generic",
  "ctr",
  "jitterentropy_rng",
  "drbg",
  "ecdh_generic",
  "algif_hash",
  "algif_skcipher",
  "hci_vhci",
];

/** @returns {{ qemu: string, arguments: string[], env: Record<string, string>, kernel: string, initrd: string, tools: string } | { missing: string }} */
export function findVm() {
  if (process.platform !== "linux" || process.arch !== "x64")
    return { missing: "the virtual machine is for Linux on x64" };
  try {
    mkdirSync(cache, { recursive: true });
    const qemu = findQemu();
    const tools = unpacked("bluez", ["bluez", "libbluetooth3"]);
    const kernel = findKernel();
    return { ...qemu, ...kernel, initrd: initrd(kernel.kernel), tools };
  } catch (error) {
    return { missing: `the virtual machine could not be made (${String(error).split("\n")[0]})` };
  }
}

function apt(...words) {
  return execFileSync("apt-get", words, { cwd: cache, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Downloads packages and unpacks them into a folder of the cache, once. */
function unpacked(name, packages) {
  const folder = join(cache, name);
  if (existsSync(join(folder, ".complete"))) return folder;
  rmSync(folder, { recursive: true, force: true });
  const debs = join(cache, `${name}.debs`);
  mkdirSync(debs, { recursive: true });
  for (const each of packages) {
    execFileSync("apt-get", ["-qq", "download", each], { cwd: debs, stdio: ["ignore", "ignore", "pipe"] });
  }
  mkdirSync(folder, { recursive: true });
  for (const file of readdirSync(debs)) execFileSync("dpkg", ["-x", join(debs, file), folder]);
  rmSync(debs, { recursive: true });
  writeFileSync(join(folder, ".complete"), "");
  return folder;
}

function findQemu() {
  const installed = spawnSync("qemu-system-x86_64", ["--version"]);
  if (installed.status === 0) return { qemu: "qemu-system-x86_64", arguments: [], env: {} };
  let plan = "";
  try {
    plan = apt("-s", "install", "--no-install-recommends", "qemu-system-x86");
  } catch {
    apt("update"); // a new machine has no package lists yet
    plan = apt("-s", "install", "--no-install-recommends", "qemu-system-x86");
  }
  const packages = [...plan.matchAll(/^Inst (\S+)/gm)].map((match) => match[1]);
  const folder = unpacked("qemu", packages);
  const libraries = join(folder, "usr/lib/x86_64-linux-gnu");
  const env = {
    LD_LIBRARY_PATH: [libraries, join(folder, "lib/x86_64-linux-gnu"), join(libraries, "pulseaudio")].join(":"),
  };
  const qemu = join(folder, "usr/bin/qemu-system-x86_64");
  const works = spawnSync(qemu, ["--version"], { env: { ...process.env, ...env }, encoding: "utf8" });
  if (works.status !== 0) throw new Error(`qemu does not start: ${works.stderr}`);
  const data = ["usr/share/qemu", "usr/share/seabios"].flatMap((each) => ["-L", join(folder, each)]);
  return { qemu, arguments: data, env };
}

function findKernel() {
  const depends = execFileSync("apt-cache", ["depends", "linux-image-amd64"], { encoding: "utf8" });
  const image = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
  if (image === undefined) throw new Error("Debian's kernel package was not found");
  const folder = unpacked(image, [image]);
  return { kernel: join(folder, "boot", `vmlinuz-${image.slice("linux-image-".length)}`) };
}

/** busybox, the modules in the order in which they load, and our own first process. */
function initrd(kernel) {
  const digest = createHash("sha256").update(wanted.join(" ")).digest("hex").slice(0, 12);
  const file = `${kernel}-${digest}.initrd`;
  const init = join(here, "vm-init.sh");
  if (existsSync(file) && statSync(file).mtimeMs > statSync(init).mtimeMs) return file;
  const busybox = join(unpacked("busybox", ["busybox-static"]), "bin/busybox");
  const root = `${file}.tree`;
  rmSync(root, { recursive: true, force: true });
  for (const name of ["bin", "modules", "proc", "sys", "dev", "lower", "layer", "job", "root"]) {
    mkdirSync(join(root, name), { recursive: true });
  }
  copyFileSync(busybox, join(root, "bin/busybox"));
  copyFileSync(init, join(root, "init"));
  chmodSync(join(root, "init"), 0o755);
  const order = modulesInOrder(join(dirname(dirname(kernel)), "lib/modules"));
  for (const path of order) copyFileSync(path, join(root, "modules", basename(path)));
  writeFileSync(join(root, "modules/order"), `${order.map((path) => basename(path)).join("\n")}\n`);
  const names = readdirSync(root, { recursive: true }).join("\n");
  const archive = execFileSync(busybox, ["cpio", "-o", "-H", "newc"], {
    cwd: root,
    input: `${names}\n`,
    maxBuffer: 2 ** 28,
    stdio: ["pipe", "pipe", "ignore"],
  });
  writeFileSync(`${file}.new`, gzipSync(archive, { level: 1 }));
  renameSync(`${file}.new`, file);
  rmSync(root, { recursive: true });
  return file;
}

/** The wanted modules, each behind those that it depends on. */
function modulesInOrder(folder) {
  const byName = new Map();
  for (const name of readdirSync(folder, { recursive: true })) {
    if (name.endsWith(".ko")) byName.set(basename(name, ".ko").replaceAll("-", "_"), join(folder, name));
  }
  const order = new Set();
  const add = (name) => {
    const path = byName.get(name.replaceAll("-", "_"));
    if (path === undefined || order.has(path)) return; // built in, or there already
    const depends = /(?:^|\0)depends=([^\0]*)/.exec(readFileSync(path, "latin1"))?.[1] ?? "";
    for (const each of depends.split(",").filter(Boolean)) add(each);
    order.add(path);
  };
  for (const name of wanted) add(name);
  return [...order];
}
