/** Finds promtool for tests: the installed one, or the one of Debian's package prometheus, unpacked into `.cache/tools`. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { installed, toolsFolder, unpack } from "./debian-packages.mjs";

/** @returns {{ path: string } | { missing: string }} */
export function findPromtool() {
  const found = installed("promtool");
  if (found !== undefined) return { path: found };
  const cache = toolsFolder("prometheus");
  const path = join(cache, "usr/bin/promtool");
  if (!existsSync(path)) unpack(cache, ["prometheus"]);
  return existsSync(path) ? { path } : { missing: "promtool is not installed, and apt-get download did not bring it" };
}
