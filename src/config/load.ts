/** Loads a configuration from a file, or reports all its problems. */
import { readFileSync } from "node:fs";
import { dirname, isAbsolute, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { z } from "zod";
import { GatewayError } from "../errors.ts";
import { crossCheck } from "./cross-check.ts";
import { parseJson } from "./json.ts";
import { type GatewayConfig, gatewayConfig } from "./schema.ts";
import { problemsInWords, valueAt } from "./words.ts";

const shipped = fileURLToPath(new URL("../../gateway.config.json", import.meta.url));

/** The result of reading a configuration. */
export interface Reading {
  /** The contents of the file; undefined: it is no JSON. */
  readonly raw: unknown;
  /**
   * The usable part of the configuration, so that more mistakes are found in one run; undefined: too little can be
   * used.
   */
  readonly config: GatewayConfig | undefined;
  /** True if nothing was removed. */
  readonly isWhole: boolean;
  readonly problems: readonly string[];
}

/** @throws {GatewayError} ERR_CONFIG_READ or ERR_CONFIG_INVALID, the latter with every problem found. */
export function loadConfig(path: string): GatewayConfig {
  const { config, problems } = readConfig(path);
  if (problems.length > 0 || !config) throw new GatewayError("ERR_CONFIG_INVALID", { problems });
  return config;
}

/** Reads the configuration, with its problems as values. @throws {GatewayError} ERR_CONFIG_READ */
export function readConfig(path: string): Reading {
  let octets: Uint8Array;
  try {
    octets = readFileSync(path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    const hint = why.includes("EISDIR")
      ? `; name the file in it: -c ${path.replace(/\/$/, "")}/gateway.config.json`
      : "";
    throw new GatewayError("ERR_CONFIG_READ", { path }, { cause, say: `cannot read ${path}: ${why}${hint}` });
  }
  return readConfigText(octets, path);
}

/** Reads a configuration from a text instead of a file. */
export function readConfigText(octets: Uint8Array, path: string): Reading {
  const parsed = parseJson(octets, path);
  if ("problems" in parsed) return { raw: undefined, config: undefined, isWhole: false, problems: parsed.problems };
  // Relative paths in the package's own configuration start from the current folder, because the gateway must not write
  // into the package.
  const folder = comesWithThePackage(path) ? process.cwd() : dirname(resolve(path));
  const { config, ...rest } = understood(parsed.value);
  return { raw: parsed.value, config: config && withPathsFrom(folder, config), ...rest };
}

/** The file that is used if there is no other. No user may change it. */
export function comesWithThePackage(path: string): boolean {
  return resolve(path) === shipped;
}

/** Parses, never merely checks. @throws {GatewayError} ERR_CONFIG_INVALID with every problem found. */
export function parseConfig(raw: unknown): GatewayConfig {
  const { config, problems } = understood(raw);
  if (config && problems.length === 0) return config;
  throw new GatewayError("ERR_CONFIG_INVALID", { problems });
}

function understood(raw: unknown): Omit<Reading, "raw"> {
  const result = gatewayConfig.safeParse(raw);
  if (result.success) return { config: result.data, isWhole: true, problems: crossCheck(result.data) };
  const problems = problemsInWords(result.error.issues, raw);
  const { config, removed } = usable(raw, result.error.issues);
  if (!config) return { config, isWhole: false, problems };
  // A check that compares a value with a removed one would judge the default of the removed value.
  const about = removed.map((path) => path.slice(0, -1).join("."));
  const isSure = (problem: string) =>
    about.every((key) => key !== "" && !problem.startsWith(`${key}.`)) &&
    removed.every((path) => !problem.includes(path.join(".")));
  const further = removed.some(([first]) => first === "transports") ? [] : crossCheck(config).filter(isSure);
  return { config, isWhole: false, problems: [...problems, ...further] };
}

const roundsMax = 20;

/** Removes invalid values, so that the rest can be checked. */
function usable(
  raw: unknown,
  issues: readonly z.core.$ZodIssue[],
): { config?: GatewayConfig; removed: PropertyKey[][] } {
  const removed: PropertyKey[][] = [];
  if (typeof raw !== "object" || raw === null || Array.isArray(raw)) return { removed };
  const copy: unknown = structuredClone(raw);
  let wrong = issues;
  for (let round = 0; round < roundsMax; round++) {
    for (const issue of wrong) {
      if (issue.code === "unrecognized_keys") for (const key of issue.keys) remove(copy, [...issue.path, key]);
      else removed.push(remove(copy, issue.path));
    }
    const result = gatewayConfig.safeParse(copy);
    if (result.success) return { config: result.data, removed };
    wrong = result.error.issues;
  }
  return { removed };
}

/**
 * Removes the value at this path, or the nearest one above it. In a list the whole list is removed, because the other
 * entries would change their numbers.
 */
function remove(from: unknown, path: readonly PropertyKey[]): PropertyKey[] {
  for (let length = path.length; length > 0; length--) {
    const key = path[length - 1];
    const parent = valueAt(from, path.slice(0, length - 1));
    if (key === undefined || typeof parent !== "object" || parent === null || Array.isArray(parent)) continue;
    if (Reflect.has(parent, key)) {
      Reflect.deleteProperty(parent, key);
      return path.slice(0, length);
    }
  }
  return [...path];
}

/** Makes file names absolute. In the configuration they are relative to its folder. */
function withPathsFrom(folder: string, config: GatewayConfig): GatewayConfig {
  const at = (path: string) => (isAbsolute(path) ? path : resolve(folder, path));
  const isFileKey = new Set(["file", "ca", "cert", "key", "folder", "countersFile", "script"]);
  const walk = (value: unknown, key: string): unknown => {
    if (typeof value === "string") return isFileKey.has(key) ? at(value) : value;
    // A program whose name has a slash is a file; one without is searched as a shell does.
    if ((key === "passwordCommand" || key === "command") && Array.isArray(value))
      return value.map((word, i) => (i === 0 && String(word).includes("/") ? at(String(word)) : word));
    if (Array.isArray(value)) return value.map((item) => walk(item, ""));
    if (typeof value !== "object" || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, walk(item, name)]));
  };
  return {
    ...config,
    transports: walk(config.transports, "") as GatewayConfig["transports"],
    upstream: walk(config.upstream, "") as GatewayConfig["upstream"],
    upstreams: walk(config.upstreams, "") as GatewayConfig["upstreams"],
    store: walk(config.store, "") as GatewayConfig["store"],
    fleet: walk(config.fleet, "") as GatewayConfig["fleet"],
    payloads: walk(config.payloads, "") as GatewayConfig["payloads"],
  };
}
