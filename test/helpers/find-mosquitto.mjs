/**
 * Finds a mosquitto for tests: the installed one, or one unpacked into `.cache/tools` (never installed, never a
 * service). Plain JavaScript, since scripts use it as well.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const cache = join(resolve(fileURLToPath(import.meta.url), "../../.."), ".cache/tools/mosquitto");
const packages = [
  "mosquitto",
  "libmosquitto1",
  "libcjson1",
  "libdlt2",
  "libwebsockets17",
  "libev4",
  "libuv1",
  "libcap2",
  "libsystemd0",
  "libwrap0",
  "libnsl2",
  "libtirpc3",
];

/** @returns {{ path: string, libraries: string | undefined } | { missing: string }} */
export function findMosquitto() {
  for (const folder of [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"]) {
    const path = join(folder, "mosquitto");
    if (existsSync(path)) return { path, libraries: undefined };
  }
  const path = join(cache, "usr/sbin/mosquitto");
  if (!existsSync(path)) unpack();
  const libraries = libraryFolders();
  // `-h` prints the help and ends with 3: everything it links to is there.
  const help = existsSync(path)
    ? spawnSync(path, ["-h"], { env: { ...process.env, LD_LIBRARY_PATH: libraries } })
    : undefined;
  if (help?.stdout?.includes("mosquitto version")) return { path, libraries };
  const why = help ? String(help.stderr).trim() : "apt-get download did not bring it";
  return { missing: `mosquitto is not installed and could not be unpacked (${why})` };
}

function unpack() {
  mkdirSync(cache, { recursive: true });
  // A new machine has no package lists yet; `download` finds nothing without them.
  if (!download("mosquitto")) spawnSync("apt-get", ["update"], { stdio: "ignore" });
  // Not every Debian has every library under this name; what is really missing shows when it is started.
  for (const name of packages) download(name);
  for (const file of readdirSync(cache).filter((name) => name.endsWith(".deb"))) {
    execFileSync("dpkg", ["-x", file, "."], { cwd: cache, stdio: "ignore" });
  }
}

function download(name) {
  try {
    execFileSync("apt-get", ["download", name], { cwd: cache, stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

function libraryFolders() {
  const bases = [join(cache, "usr/lib"), join(cache, "lib")].filter((base) => existsSync(base));
  return bases.flatMap((base) => [base, ...readdirSync(base).map((name) => join(base, name))]).join(":");
}
