/**
 * Finds a mosquitto for tests: the installed one, or one unpacked into `.cache/tools` (never installed, never a
 * service). Plain JavaScript, since scripts use it as well.
 */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { installed, libraryFolders, toolsFolder, unpack } from "./debian-packages.mjs";

const cache = toolsFolder("mosquitto");
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
  const found = installed("mosquitto");
  if (found !== undefined) return { path: found, libraries: undefined };
  const path = join(cache, "usr/sbin/mosquitto");
  if (!existsSync(path)) unpack(cache, packages);
  const libraries = libraryFolders(cache);
  // `-h` prints the help and ends with 3: everything it links to is there.
  const help = existsSync(path)
    ? spawnSync(path, ["-h"], { env: { ...process.env, LD_LIBRARY_PATH: libraries } })
    : undefined;
  if (help?.stdout?.includes("mosquitto version")) return { path, libraries };
  const why = help ? String(help.stderr).trim() : "apt-get download did not bring it";
  return { missing: `mosquitto is not installed and could not be unpacked (${why})` };
}
