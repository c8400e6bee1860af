/** Finds a NATS server and a RabbitMQ with its Erlang for tests, as find-mosquitto.mjs does. */
import { spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { installed, libraryFolders, toolsFolder, unpack } from "./debian-packages.mjs";

/** @returns {{ path: string } | { missing: string }} */
export function findNats() {
  const found = installed("nats-server");
  if (found !== undefined) return { path: found };
  const cache = toolsFolder("nats");
  const path = join(cache, "usr/sbin/nats-server");
  if (!existsSync(path)) unpack(cache, ["nats-server"]);
  const version = existsSync(path) ? spawnSync(path, ["--version"], { encoding: "utf8" }) : undefined;
  if (version?.stdout?.includes("nats-server")) return { path };
  return { missing: "nats-server is not installed and could not be unpacked" };
}

const erlang =
  "base asn1 crypto eldap inets mnesia os-mon parsetools public-key runtime-tools snmp ssl syntax-tools tools xmerl";
const rabbitPackages = ["rabbitmq-server", ...erlang.split(" ").map((name) => `erlang-${name}`), "libsctp1"];

/**
 * RabbitMQ is started by Erlang directly, not by its scripts, which want to be installed.
 * @returns {{ erlang: string, rabbit: string, libraries: string | undefined } | { missing: string }}
 */
export function findRabbit() {
  const own = rabbitUnder("");
  if (own) return { ...own, libraries: undefined };
  const cache = toolsFolder("rabbitmq");
  if (!rabbitUnder(cache)) unpack(cache, rabbitPackages);
  const unpacked = rabbitUnder(cache);
  if (!unpacked) return { missing: "rabbitmq-server is not installed and could not be unpacked" };
  // Erlang's start script knows where it was to be installed; RabbitMQ calls it.
  const script = join(unpacked.erlang, "bin/erl");
  const text = readFileSync(script, "utf8");
  const moved = text.replaceAll(/ROOTDIR=\/.*$/gm, `ROOTDIR=${unpacked.erlang}`);
  if (moved !== text) writeFileSync(script, moved);
  const libraries = libraryFolders(cache);
  const env = { ...process.env, LD_LIBRARY_PATH: libraries };
  const tried = spawnSync(script, ["-noshell", "-eval", 'io:format("there"), halt().'], { env, encoding: "utf8" });
  if (!tried.stdout?.includes("there"))
    return { missing: `Erlang for RabbitMQ does not start (${tried.stderr?.trim()})` };
  return { ...unpacked, libraries };
}

function rabbitUnder(root) {
  const homes = join(root, "/usr/lib/rabbitmq/lib");
  const erlangRoot = join(root, "/usr/lib/erlang");
  const home = existsSync(homes) ? readdirSync(homes).find((name) => name.startsWith("rabbitmq_server-")) : undefined;
  if (home === undefined || !existsSync(join(erlangRoot, "bin/erl"))) return undefined;
  return { erlang: erlangRoot, rabbit: join(homes, home) };
}
