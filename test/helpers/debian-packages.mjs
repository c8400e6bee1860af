/**
 * Programs for tests from Debian's packages, unpacked into `.cache/tools`: never installed, never a service. Plain
 * JavaScript, since scripts use it as well.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** Folder of its own for what one program needs. */
export function toolsFolder(name) {
  return join(resolve(fileURLToPath(import.meta.url), "../../.."), ".cache/tools", name);
}

/** The first of `packages` must be there; not every Debian has every library under its name, what is missing shows later. */
export function unpack(folder, packages) {
  mkdirSync(folder, { recursive: true });
  // A new machine has no package lists yet; `download` finds nothing without them.
  if (!download(folder, packages.slice(0, 1))) spawnSync("apt-get", ["update"], { stdio: "ignore" });
  // All at once, and each alone where one of them is not there.
  if (!download(folder, packages)) for (const name of packages) download(folder, [name]);
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".deb")))
    execFileSync("dpkg", ["-x", file, "."], { cwd: folder, stdio: "ignore" });
}

function download(folder, names) {
  try {
    execFileSync("apt-get", ["download", ...names], { cwd: folder, stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

/** For LD_LIBRARY_PATH. */
export function libraryFolders(folder) {
  const bases = [join(folder, "usr/lib"), join(folder, "lib")].filter((base) => existsSync(base));
  return bases.flatMap((base) => [base, ...readdirSync(base).map((name) => join(base, name))]).join(":");
}

/** A program that is installed on this machine. */
export function installed(name) {
  for (const folder of [...(process.env.PATH ?? "").split(":"), "/usr/sbin", "/usr/local/sbin"])
    if (existsSync(join(folder, name))) return join(folder, name);
  return undefined;
}

/**
 * A program for tests: the installed one, or one unpacked from `packages`, if it starts there.
 * @param {{ name: string, cache: string, packages: readonly string[], place?: string, asks?: readonly string[], works?: (run: import("node:child_process").SpawnSyncReturns<Buffer>) => boolean }} program
 * `cache`: its folder in `.cache/tools`; `place`: where in the packages it is; `asks`: the words with which it is tried.
 * @returns {{ path: string, libraries: string | undefined } | { missing: string }}
 */
export function findProgram({
  name,
  cache,
  packages,
  place = "usr/bin",
  asks = ["--version"],
  works = ({ status }) => status === 0,
}) {
  const found = installed(name);
  if (found !== undefined) return { path: found, libraries: undefined };
  const folder = toolsFolder(cache);
  const path = join(folder, place, name);
  if (!existsSync(path)) unpack(folder, packages);
  const libraries = libraryFolders(folder);
  const run = existsSync(path)
    ? spawnSync(path, asks, { env: { ...process.env, LD_LIBRARY_PATH: libraries } })
    : undefined;
  if (run && works(run)) return { path, libraries };
  const why = run ? String(run.stderr).trim() : "apt-get download did not bring it";
  return { missing: `${name} is not installed and could not be unpacked (${why})` };
}
