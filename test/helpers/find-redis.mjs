/** Finds a redis-server for tests: the installed one, or one unpacked into `.cache/tools` (never installed, never a service). */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { installed, libraryFolders, toolsFolder, unpack } from "./debian-packages.mjs";

const cache = toolsFolder("redis");
// The program is in redis-tools, and redis-server a link to it.
const packages = ["redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1", "libssl3", "libsystemd0"];

/** @returns {{ path: string, libraries: string | undefined } | { missing: string }} */
export function findRedis() {
  const found = installed("redis-server");
  if (found !== undefined) return { path: found, libraries: undefined };
  const path = join(cache, "usr/bin/redis-server");
  if (!existsSync(path)) unpack(cache, packages);
  const libraries = libraryFolders(cache);
  const version = existsSync(path)
    ? spawnSync(path, ["--version"], { env: { ...process.env, LD_LIBRARY_PATH: libraries } })
    : undefined;
  if (version?.status === 0) return { path, libraries };
  const why = version ? String(version.stderr).trim() : "apt-get download did not bring it";
  return { missing: `redis-server is not installed and could not be unpacked (${why})` };
}
