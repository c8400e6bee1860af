/**
 * Finds a Chromium for tests: the installed one, or Debian's headless one unpacked into `.cache/tools` (never installed).
 * Plain JavaScript, as the others of its kind.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installed, libraryFolders, toolsFolder, unpack } from "./debian-packages.mjs";

const cache = toolsFolder("chromium");
/** The C library must be this machine's own; the others are large, and headless Chromium draws without them. */
const leftOut =
  /^(libc6|libgcc-s1|libstdc\+\+6|libgl1-mesa-dri|libllvm\d+|libelogind0|libdebian-installer4|libicu\d+)$/;

/** @returns {{ path: string, environment: Record<string, string> } | { missing: string }} */
export function findChromium() {
  const found = installed("chromium") ?? installed("chromium-headless-shell");
  if (found !== undefined) return { path: found, environment: {} };
  const path = join(cache, "usr/lib/chromium/chromium-headless-shell");
  if (!existsSync(path)) unpack(cache, ["chromium-headless-shell", "chromium-common", "fonts-dejavu-core"]);
  const environment = { LD_LIBRARY_PATH: folders(), FONTCONFIG_FILE: fontsFile() };
  let tried = run(path, environment);
  if (tried?.status !== 0) {
    unpack(cache, ["chromium-headless-shell", ...libraries()]);
    environment.LD_LIBRARY_PATH = folders();
    tried = run(path, environment);
  }
  if (tried?.status === 0) return { path, environment };
  const why = tried ? String(tried.stderr).trim().split("\n")[0] : "apt-get download did not bring it";
  return { missing: `Chromium is not installed and could not be unpacked (${why})` };
}

/** PulseAudio has a folder of its own. */
function folders() {
  const all = libraryFolders(cache).split(":");
  return [...all, ...all.map((folder) => join(folder, "pulseaudio"))].join(":");
}

function run(path, environment) {
  if (!existsSync(path)) return undefined;
  return spawnSync(path, ["--version"], { env: { ...process.env, ...environment }, timeout: 60_000 });
}

/** What it needs, and what that needs. */
function libraries() {
  const without = ["recommends", "suggests", "conflicts", "breaks", "replaces", "enhances"].map(
    (kind) => `--no-${kind}`,
  );
  try {
    const text = execFileSync("apt-cache", ["depends", "--recurse", ...without, "chromium-headless-shell"]).toString();
    return [...new Set(text.match(/^lib[\w.+-]+$/gm) ?? [])].filter((name) => !leftOut.test(name));
  } catch {
    return [];
  }
}

/** The fonts that were unpacked, and no others: a page looks the same everywhere. */
function fontsFile() {
  const file = join(cache, "fonts.conf");
  const fonts = join(cache, "usr/share/fonts");
  const text = `<?xml version="1.0"?><!DOCTYPE fontconfig SYSTEM "fonts.dtd"><fontconfig><dir>${fonts}</dir><cachedir>${join(cache, "font-cache")}</cachedir></fontconfig>\n`;
  if (existsSync(cache)) writeFileSync(file, text);
  return file;
}
