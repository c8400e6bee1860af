/** Finds strace: the installed one, or one unpacked into `.cache/tools` (never installed). */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const cache = join(resolve(fileURLToPath(import.meta.url), "../../../.."), ".cache/tools/strace");

/** @returns {{ path: string, libraries: string } | { missing: string }} */
export function findStrace() {
  for (const folder of (process.env.PATH ?? "").split(":")) {
    if (existsSync(join(folder, "strace"))) return works({ path: join(folder, "strace"), libraries: "" });
  }
  const path = join(cache, "usr/bin/strace");
  if (!existsSync(path)) unpack();
  const base = join(cache, "usr/lib");
  const libraries = existsSync(base) ? [base, ...readdirSync(base).map((name) => join(base, name))].join(":") : "";
  return works({ path, libraries });
}

/** On some systems no process may be traced. */
function works(found) {
  const env = { ...process.env, ...(found.libraries && { LD_LIBRARY_PATH: found.libraries }) };
  const { status, stderr, error } = spawnSync(found.path, ["-f", "-o", "/dev/null", "true"], { env });
  if (status === 0) return found;
  return { missing: `strace is not there, or may not trace (${error?.message ?? String(stderr).trim()})` };
}

function unpack() {
  mkdirSync(cache, { recursive: true });
  const download = (name) => spawnSync("apt-get", ["download", name], { cwd: cache, stdio: "ignore" }).status === 0;
  // A new machine has no package lists yet; `download` finds nothing without them.
  if (!download("strace")) spawnSync("apt-get", ["update"], { stdio: "ignore" });
  for (const name of ["strace", "libunwind8", "liblzma5"]) download(name);
  for (const file of readdirSync(cache).filter((name) => name.endsWith(".deb")))
    execFileSync("dpkg", ["-x", file, "."], { cwd: cache, stdio: "ignore" });
}
