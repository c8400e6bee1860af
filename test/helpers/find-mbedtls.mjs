/**
 * mbed TLS to compile against, as Debian has it: this Debian's, and Debian 13's, whose 3.6 has the connection ids of RFC 9146.
 * Each is one package, headers and static libraries, unpacked into `.cache/tools`.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { toolsFolder, unpack } from "./debian-packages.mjs";

const name = "libmbedtls-dev";
const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

/** @returns {{ version: string, include: string, libraries: readonly string[] } | { missing: string }} */
export function findMbedtls(release = "") {
  const folder = toolsFolder(release === "" ? "mbedtls" : `mbedtls-${release}`);
  const place = () => librariesIn(join(folder, "usr/lib"));
  if (!place()) {
    if (release === "") unpack(folder, [name]);
    else unpackOf(release, folder);
  }
  const libraries = place();
  if (!libraries) return { missing: `apt-get download ${name}${release && `/${release}`} did not bring it` };
  const include = join(folder, "usr/include");
  const version = /MBEDTLS_VERSION_STRING\s+"([^"]+)"/.exec(
    ["version.h", "build_info.h"].map((file) => readIfThere(join(include, "mbedtls", file))).join(""),
  )?.[1];
  return version === undefined ? { missing: `${include} says no version` } : { version, include, libraries };
}

/** In the order that a linker wants. */
function librariesIn(folder) {
  if (!existsSync(folder)) return undefined;
  for (const each of [".", ...readdirSync(folder)]) {
    const files = ["tls", "x509", "crypto"].map((part) => join(folder, each, `libmbed${part}.a`));
    if (files.every((file) => existsSync(file))) return files;
  }
  return undefined;
}

function readIfThere(file) {
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

/** Another release from the package server of this machine, with separate lists, so that apt's own state does not change. */
function unpackOf(release, folder) {
  const source = debianSource();
  if (!source) return;
  for (const part of ["lists/partial", "cache/archives/partial"]) mkdirSync(join(folder, part), { recursive: true });
  writeFileSync(join(folder, "sources.list"), `deb ${source} ${release} main\n`);
  const options = [
    ...["-o", `Dir::Etc::SourceList=${join(folder, "sources.list")}`, "-o", "Dir::Etc::SourceParts=/dev/null"],
    ...["-o", `Dir::State::Lists=${join(folder, "lists")}`, "-o", `Dir::Cache=${join(folder, "cache")}`],
    ...["-o", "Acquire::Languages=none"],
  ];
  spawnSync("apt-get", [...options, "update"], { stdio: "ignore" });
  spawnSync("apt-get", [...options, "download", name], { cwd: folder, stdio: "ignore" });
  for (const file of readdirSync(folder).filter((each) => each.endsWith(".deb")))
    execFileSync("dpkg", ["-x", file, "."], { cwd: folder, stdio: "ignore" });
  for (const part of ["lists", "cache"]) rmSync(join(folder, part), { recursive: true });
}

/** Where this machine has its Debian, and the keys of Debian, as in a line of sources.list; undefined: apt knows no Debian. */
function debianSource() {
  const format = "$(ORIGIN)|$(LABEL)|$(REPO_URI)";
  const run = spawnSync("apt-get", ["indextargets", "--format", format, "Created-By: Packages"], { encoding: "utf8" });
  const address = /^Debian\|Debian\|(.+)$/m.exec(run.stdout ?? "")?.[1];
  if (address === undefined) return undefined;
  return existsSync(keyring) ? `[signed-by=${keyring}] ${address}` : address;
}
