/**
 * npm run release -- VERSION [--dry-run] [--arch amd64,arm64|none] [--image] [--out FOLDER]: makes a release, step by step.
 *
 * 1. Checks: a clean work tree on `main`, a version after the present one, entries in CHANGELOG.md.
 * 2. Writes the version and the date into package.json, package-lock.json and CHANGELOG.md.
 * 3. Makes in FOLDER (.cache/release/VERSION): the tarball, its SBOM (CycloneDX), the Debian packages, the container image
 *    (--image, as an archive), and SHA256SUMS.
 * 4. Commits and tags `vVERSION`. It pushes nothing: the last lines say what to type.
 *
 * --dry-run does 1 and 3 with the present files and changes nothing in the work tree. Tests are not run here: RELEASING.md
 * says what comes before.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "dry-run": { type: "boolean", default: false },
    arch: { type: "string", default: "amd64,arm64" },
    image: { type: "boolean", default: false },
    out: { type: "string" },
  },
});

function fail(text) {
  console.error(`release: ${text}`);
  process.exit(1);
}

/** Its standard output; a command that fails ends the release. */
function run(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd: root, encoding: "utf8", maxBuffer: 1e8 });
  if (status !== 0) fail(`${command} ${args.join(" ")} failed:\n${error?.message ?? ""}${stdout}${stderr}`);
  return stdout;
}

const numbers = (version) => version.split(".").map(Number);

function follows(version, other) {
  const [a, b] = [numbers(version), numbers(other)];
  const at = a.findIndex((number, i) => number !== b[i]);
  return at >= 0 && a[at] > b[at];
}

/** The changelog with the unreleased entries under the new version's heading. */
function released(changelog, version, date) {
  const heading = /^## (.*) \(unreleased\)$/m;
  const [line] = heading.exec(changelog) ?? [];
  if (line === undefined) return undefined;
  const entries = changelog.slice(changelog.indexOf(line) + line.length).split(/^## /m)[0] ?? "";
  return /^- /m.test(entries) ? changelog.replace(heading, `## ${version} (${date})`) : undefined;
}

const [version] = positionals;
const dryRun = values["dry-run"];
if (!version || !/^\d+\.\d+\.\d+$/.test(version)) fail("which version? npm run release -- 1.2.3 [--dry-run]");
const present = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).version;
const tags = run("git", ["tag", "--list", "v*"]).split("\n");
const dirty = run("git", ["status", "--porcelain"]).trim();
const branch = run("git", ["rev-parse", "--abbrev-ref", "HEAD"]).trim();
if (!dryRun && dirty !== "") fail(`the work tree has changes:\n${dirty}`);
if (!dryRun && branch !== "main") fail(`this is ${branch}, not main`);
if (tags.includes(`v${version}`)) fail(`v${version} exists`);
if (tags.includes(`v${present}`) && !follows(version, present)) fail(`${version} does not follow ${present}`);
const changelogFile = join(root, "CHANGELOG.md");
const date = new Date().toISOString().slice(0, 10);
const changelog = released(readFileSync(changelogFile, "utf8"), version, date);
if (changelog === undefined) fail("CHANGELOG.md has no entry under a heading `## X (unreleased)`");

if (!dryRun) {
  run("npm", ["version", version, "--no-git-tag-version", "--allow-same-version", "--ignore-scripts"]);
  writeFileSync(changelogFile, changelog);
}

const out = resolve(values.out ?? join(root, ".cache/release", version));
mkdirSync(out, { recursive: true });
run("npm", ["run", "build"]);
run("npm", ["pack", "--pack-destination", out]);
writeFileSync(
  join(out, `mqtt-sn-gateway-${version}.cdx.json`),
  run("npm", ["sbom", "--sbom-format", "cyclonedx", "--omit", "dev"]),
);
for (const arch of values.arch.split(",").filter((name) => name !== "none"))
  run("hardware/raspberry-pi/build-deb.sh", [arch, "--out", out, "--version", version]);
if (values.image) {
  const name = `mqtt-sn-gateway:${version}`;
  run("docker", ["build", "-f", "hardware/raspberry-pi/Dockerfile", "-t", name, "."]);
  run("docker", ["save", "-o", join(out, `mqtt-sn-gateway-${version}.image.tar`), name]);
}

const files = readdirSync(out).filter((name) => name !== "SHA256SUMS");
const sums = files.map(
  (name) =>
    `${createHash("sha256")
      .update(readFileSync(join(out, name)))
      .digest("hex")}  ${name}`,
);
writeFileSync(join(out, "SHA256SUMS"), `${sums.join("\n")}\n`);
console.log(`release: ${out}\n${files.map((name) => `  ${name}`).join("\n")}`);
if (dryRun) process.exit(0);

run("git", ["commit", "-qam", `release: ${version}`]);
run("git", ["tag", "-a", `v${version}`, "-m", `mqtt-sn-gateway ${version}`]);
console.log(`release: committed and tagged. Now:\n  git push origin main v${version}\n  npm publish ${out}/*.tgz`);
