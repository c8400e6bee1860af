/**
 * npm run build [-- --force]: compiles src/ into dist/, and puts the console's page together. Does nothing where dist/ is
 * just what the last build made of the same sources with the same tools: that goes by what is in the files, not by their
 * times.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const tools = [
  "scripts/build.mjs",
  "scripts/build-console.mjs",
  "tsconfig.json",
  "tsconfig.build.json",
  "package.json",
];
/** What npm has installed: versions of the compiler, of esbuild, and of what is built into the page. */
const installed = "node_modules/.package-lock.json";
const stamp = join(root, ".cache/build.json");

function read(path) {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** All files of a folder, by their path in it. */
function filesIn(folder) {
  const entries = readdirSync(join(root, folder), { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  return files.sort();
}

function digest(paths) {
  const hash = createHash("sha256");
  for (const path of paths) {
    const content = read(path);
    hash.update(`${path.slice(root.length)}\0${content === undefined ? "-" : content.length}\0`);
    if (content !== undefined) hash.update(content);
  }
  return hash.digest("hex");
}

const inputs = () => digest([...filesIn("src"), ...[...tools, installed].map((path) => join(root, path))]);
const outputs = () => digest(filesIn("dist"));

function isDone(before) {
  try {
    const last = JSON.parse(readFileSync(stamp, "utf8"));
    return last.inputs === before && last.outputs === outputs();
  } catch {
    return false; // no build yet, or not a whole one
  }
}

const before = inputs();
if (!process.argv.includes("--force") && isDone(before)) {
  console.log("build: dist is up to date");
  process.exit(0);
}
rmSync(stamp, { force: true });
const compiler = join(root, "node_modules/typescript/bin/tsc");
const { status } = spawnSync(process.execPath, [compiler, "-p", "tsconfig.build.json"], {
  cwd: root,
  stdio: "inherit",
});
if (status !== 0) process.exit(status ?? 1);
await import("./build-console.mjs");
// What was changed while it was compiled is compiled next time.
if (inputs() === before) {
  mkdirSync(dirname(stamp), { recursive: true });
  writeFileSync(stamp, `${JSON.stringify({ inputs: before, outputs: outputs() })}\n`);
}
