/** Finds a tshark for tests: the installed one, or one unpacked into `.cache/tools`. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { installed, libraryFolders, toolsFolder, unpack } from "./debian-packages.mjs";

const cache = toolsFolder("tshark");
const packages = [
  "tshark",
  "libwireshark16",
  "libwiretap13",
  "libwsutil14",
  "libpcap0.8",
  "libglib2.0-0",
  "libpcre2-8-0",
  "libbrotli1",
  "libc-ares2",
  "libgcrypt20",
  "libgpg-error0",
  "libgnutls30",
  "libk5crypto3",
  "libkrb5-3",
  "liblua5.2-0",
  "liblz4-1",
  "libnghttp2-14",
  "libsmi2ldbl",
  "libsnappy1v5",
  "libxml2",
  "libicu72",
  "libzstd1",
  "libdbus-1-3",
  "libsystemd0",
  "libcap2",
  "libmaxminddb0",
  "libspeexdsp1",
  "libssh-gcrypt-4",
  "libsbc1",
  "libspandsp2",
  "libbcg729-0",
  "libopus0",
];

/** @returns {{ path: string, libraries: string | undefined } | { missing: string }} */
export function findTshark() {
  const found = installed("tshark");
  if (found !== undefined) return { path: found, libraries: undefined };
  const path = join(cache, "usr/bin/tshark");
  if (!existsSync(path)) unpack(cache, packages);
  const libraries = libraryFolders(cache);
  const version = existsSync(path)
    ? spawnSync(path, ["-v"], { env: { ...process.env, LD_LIBRARY_PATH: libraries } })
    : undefined;
  if (version?.status === 0) return { path, libraries };
  const why = version ? String(version.stderr).trim() : "apt-get download did not bring it";
  return { missing: `tshark is not installed and could not be unpacked (${why})` };
}
