/** Finds a gnutls-cli for tests: the installed one, or one unpacked into `.cache/tools`. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { installed, libraryFolders, toolsFolder, unpack } from "./debian-packages.mjs";

const cache = toolsFolder("gnutls");
const packages = [
  "gnutls-bin",
  "libgnutls30",
  "libgnutls-dane0",
  "libunbound8",
  "libopts25",
  "libevent-2.1-7",
  "libp11-kit0",
  "libidn2-0",
  "libunistring2",
  "libtasn1-6",
  "libnettle8",
  "libhogweed6",
  "libgmp10",
  "libnghttp2-14",
  "libffi8",
];

/** @returns {{ path: string, libraries: string | undefined } | { missing: string }} */
export function findGnutls() {
  const found = installed("gnutls-cli");
  if (found !== undefined) return { path: found, libraries: undefined };
  const path = join(cache, "usr/bin/gnutls-cli");
  if (!existsSync(path)) unpack(cache, packages);
  const libraries = libraryFolders(cache);
  const version = existsSync(path)
    ? spawnSync(path, ["--version"], { env: { ...process.env, LD_LIBRARY_PATH: libraries } })
    : undefined;
  if (version?.status === 0) return { path, libraries };
  const why = version ? String(version.stderr).trim() : "apt-get download did not bring it";
  return { missing: `gnutls-cli is not installed and could not be unpacked (${why})` };
}
