/** Finds a redis-server for tests: the installed one, or one unpacked into `.cache/tools` (never installed, never a service). */
import { findProgram } from "./debian-packages.mjs";

// The program is in redis-tools, and redis-server a link to it.
const packages = ["redis-server", "redis-tools", "libatomic1", "libjemalloc2", "liblzf1", "libssl3", "libsystemd0"];

/** @returns {{ path: string, libraries: string | undefined } | { missing: string }} */
export function findRedis() {
  return findProgram({ name: "redis-server", cache: "redis", packages });
}
