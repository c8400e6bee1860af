/** From a file to a configuration, or to every problem at once. */
import { readFileSync } from "node:fs";
import { dirname, isAbsolute, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { z } from "zod";
import { ownIdsOf } from "../core/own-ids.ts";
import { GatewayError } from "../errors.ts";
import { parseBrokerUrl, withoutSecrets } from "../upstream/broker-url.ts";
import { globToRegExp } from "../upstream/credentials.ts";
import { defaultUrl, placesOf, urlsOf } from "../upstream/options.ts";
import { isBluetoothAddress, parseNetwork } from "./access.ts";
import { type GatewayConfig, gatewayConfig } from "./schema.ts";

const shipped = fileURLToPath(new URL("../../gateway.config.json", import.meta.url));

/** @throws {GatewayError} ERR_CONFIG_READ or ERR_CONFIG_INVALID, the latter with every problem found. */
export function loadConfig(path: string): GatewayConfig {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GatewayError("ERR_CONFIG_READ", { path }, { cause, say: `cannot read ${path}: ${why}` });
  }
  // The configuration that comes with the package lies where nothing is to be written.
  const folder = resolve(path) === shipped ? process.cwd() : dirname(resolve(path));
  return withPathsFrom(folder, parseConfig(parseJson(text, path)));
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    // Without its cause: that repeats a piece of the file, which may be a secret.
    const problems = [`${path}: not valid JSON${placeOf(cause, text)}`];
    throw new GatewayError("ERR_CONFIG_INVALID", { problems });
  }
}

function placeOf(cause: unknown, text: string): string {
  const message = cause instanceof Error ? cause.message : "";
  const position = /position (\d+)/.exec(message)?.[1];
  if (position === undefined) return /end of JSON input/.test(message) ? ": it ends too early" : "";
  const before = text.slice(0, Number(position)).split("\n");
  return ` at line ${before.length}, column ${(before.at(-1)?.length ?? 0) + 1}`;
}

/** Parses, never merely checks. @throws {GatewayError} ERR_CONFIG_INVALID with every problem found. */
export function parseConfig(raw: unknown): GatewayConfig {
  const result = gatewayConfig.safeParse(raw);
  const problems = result.success
    ? crossCheck(result.data)
    : result.error.issues.flatMap((issue) => inWords(issue, raw));
  if (result.success && problems.length === 0) return result.data;
  throw new GatewayError("ERR_CONFIG_INVALID", { problems }, { cause: result.error });
}

/** What a schema of single fields cannot see. */
function crossCheck(config: GatewayConfig): string[] {
  const problems: string[] = [];
  const names = config.transports.map(({ name }) => name);
  for (const [i, name] of names.entries()) {
    if (names.indexOf(name) !== i)
      problems.push(`transports.${i}.name: "${name}" is taken by another transport; give each its own`);
  }
  const ids = (path: string, table: Readonly<Record<string, string>>) => {
    for (const id of Object.keys(table)) {
      if (Number(id) < 1 || Number(id) > 65_534)
        problems.push(`${path}.${id}: a predefined topic id is a number from 1 to 65534`);
    }
  };
  ids("topics.predefined", config.topics.predefined);
  for (const [clientId, table] of Object.entries(config.topics.predefinedFor))
    ids(`topics.predefinedFor.${clientId}`, table);
  const networks = (path: string, from: readonly string[] | undefined) => {
    for (const entry of from ?? []) {
      if (!/^transport:./.test(entry) && !isBluetoothAddress(entry) && !parseNetwork(entry)) {
        problems.push(`${path}: "${entry}" is no address, network (192.0.2.0/24) or transport (transport:udp)`);
      }
    }
  };
  networks("access.site", config.access.site);
  networks("access.qosMinusOne.from", config.access.qosMinusOne.from);
  networks("access.forwarders.from", config.access.forwarders.from);
  for (const [i, rule] of config.access.rules.entries()) networks(`access.rules.${i}.from`, rule.from);
  problems.push(...checkUpstreams(config));
  if (config.tryOutBroker && config.upstream.urls)
    problems.push("tryOutBroker: serves upstream.url alone; leave upstream.urls out, or set it to false");
  if (config.tryOutBroker && !/^mqtt:\/\/(127\.0\.0\.1|localhost|\[::1\])(:|$)/.test(config.upstream.url)) {
    problems.push("tryOutBroker: is only for upstream.url mqtt://127.0.0.1:PORT; set it to false for a real broker");
  }
  if (config.tryOutBroker && config.upstream.protocol === "5") {
    problems.push(
      'upstream.protocol: the try-out broker speaks MQTT 3.1.1 only; set "3.1.1", or tryOutBroker to false',
    );
  }
  return problems;
}

function checkUpstreams(config: GatewayConfig): string[] {
  const { upstream, upstreams, transports } = config;
  const problems: string[] = [];
  const all = [{ path: "upstream", options: upstream }];
  for (const [i, options] of upstreams.entries()) {
    const path = `upstreams.${i}`;
    all.push({ path, options });
    if (upstreams.findIndex(({ name }) => name === options.name) !== i)
      problems.push(`${path}.name: "${options.name}" is taken by another upstream; give each its own`);
    if (options.clients === undefined && options.transports === undefined)
      problems.push(`${path}: say who uses it with "clients" or "transports" (or make it the general "upstream")`);
    for (const name of options.transports ?? []) {
      if (!transports.some((transport) => transport.name === name))
        problems.push(`${path}.transports: there is no transport "${name}"`);
    }
  }
  const places = new Set<string>();
  for (const { path, options } of all) {
    const { minSeconds, maxSeconds } = options.reconnect;
    const urls = urlsOf(options);
    for (const [i, url] of urls.entries()) {
      const where = options.urls ? `${path}.urls.${i}` : `${path}.url`;
      if (!parseBrokerUrl(url)) problems.push(`${where}: "${withoutSecrets(url)}" is no address of a broker`);
      else if (urls.indexOf(url) !== i) problems.push(`${where}: this broker is in the list already`);
    }
    if (options.urls && options.url !== defaultUrl && options.url !== options.urls[0])
      problems.push(`${path}.url: is not used, since there are urls; leave it out, or put it first in urls`);
    if (minSeconds > maxSeconds) problems.push(`${path}.reconnect: minSeconds is greater than maxSeconds`);
    const own = placesOf(options).flatMap((place) => ownIdsOf(options).map((id) => `${place} ${id}`));
    if (own.some((place) => places.has(place)))
      problems.push(`${path}.serviceClientId: another upstream has the same at this broker; the two would take turns`);
    for (const place of own) places.add(place);
  }
  problems.push(...checkClientIds(config));
  return problems;
}

/** Client ids that the configuration itself speaks of, and that would be refused: at the broker they are the gateway's. */
function checkClientIds({ upstream, upstreams, topics, access }: GatewayConfig): string[] {
  const own = [upstream, ...upstreams].flatMap(ownIdsOf);
  const problems: string[] = [];
  const check = (path: string, pattern: string, { mode, clientIdPrefix }: typeof upstream) => {
    if (mode !== "transparent" || /^[*?]*$/.test(pattern)) return;
    const fits = globToRegExp(pattern);
    const taken = own.find((id) => id.startsWith(clientIdPrefix) && fits.test(id.slice(clientIdPrefix.length)));
    if (taken !== undefined)
      problems.push(
        `${path}: "${pattern}" names "${taken}", which is the gateway's own client id at the broker; ` +
          "change serviceClientId or clientIdPrefix",
      );
  };
  for (const [i, options] of upstreams.entries())
    for (const pattern of [options.clients ?? []].flat()) check(`upstreams.${i}.clients`, pattern, options);
  const nameOf = (clientId: string) =>
    upstreams.find(
      ({ clients, transports }) =>
        transports === undefined && [clients ?? []].flat().some((pattern) => globToRegExp(pattern).test(clientId)),
    );
  for (const clientId of Object.keys(topics.predefinedFor))
    if (!/[*?]/.test(clientId)) check(`topics.predefinedFor.${clientId}`, clientId, nameOf(clientId) ?? upstream);
  for (const [i, rule] of access.rules.entries())
    for (const pattern of "allow" in rule ? [rule.allow].flat() : [])
      if (!/[*?]/.test(pattern)) check(`access.rules.${i}.allow`, pattern, nameOf(pattern) ?? upstream);
  return problems;
}

function inWords(issue: z.core.$ZodIssue, raw: unknown): string[] {
  const path = issue.path.join(".") || "(top level)";
  if (issue.code === "unrecognized_keys") {
    const known = knownKeys(issue.path);
    return issue.keys.map((key) => {
      const meant = nearest(key, known);
      const where = issue.path.length > 0 ? `${path}.${key}` : key;
      return `${where}: there is no such key${meant ? `; did you mean "${meant}"?` : `; known here: ${known.join(", ")}`}`;
    });
  }
  const expected = isSecretReference(issue.path)
    ? 'must be { "file": ... } or { "env": ... }; the secret itself is never in the configuration'
    : issue.message;
  return [`${path}: ${expected} (found ${shownValue(issue.path, valueAt(raw, issue.path))})`];
}

const secretKeys: ReadonlySet<PropertyKey> = new Set([
  "password",
  "passphrase",
  "passwordCommand",
  "psk",
  "key",
  "keys",
]);

function isSecretReference(path: readonly PropertyKey[]): boolean {
  const last = path.at(-1);
  return (
    last === "password" || last === "passphrase" || (last === "key" && path.at(-2) === "psk") || path.at(-2) === "keys"
  );
}

/** As it may be seen: a secret may stand where none belongs, or in a url, or deep in what has another shape. */
function shownValue(path: readonly PropertyKey[], found: unknown): string {
  if (found === undefined) return "nothing";
  if (found === null) return "null";
  if (Array.isArray(found)) return "a list";
  if (typeof found === "object") return "an object";
  if (path.some((key) => secretKeys.has(key))) return `a ${typeof found} that is not shown here`;
  return JSON.stringify(typeof found === "string" ? shownText(found) : found)?.slice(0, 80) ?? "nothing";
}

/** The configuration as people may see it: what is secret, or may be, is a word. */
export function shownConfig(value: unknown, key = ""): unknown {
  if (secretKeys.has(key) && value !== undefined) return isReference(value) ? value : "(not shown)";
  if (typeof value === "string") return shownText(value);
  if (Array.isArray(value)) return value.map((item) => shownConfig(item));
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, shownConfig(item, name)]));
}

/** Where a secret is, not the secret. */
function isReference(value: unknown): boolean {
  if (typeof value !== "object" || value === null) return false;
  const names = Object.keys(value);
  return names.length === 1 && (names[0] === "file" || names[0] === "env");
}

function shownText(text: string): string {
  if (/-----BEGIN/.test(text)) return "-----BEGIN...";
  return text.includes("://") ? withoutSecrets(text) : text;
}

function valueAt(raw: unknown, path: readonly PropertyKey[]): unknown {
  let value = raw;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

/** The keys that the schema has at this place. */
function knownKeys(path: readonly PropertyKey[]): string[] {
  let node: Schema | undefined = z.toJSONSchema(gatewayConfig, { io: "input" }) as Schema;
  for (const key of path) {
    if (!node) return [];
    const branches: Schema[] = [node, ...(node.anyOf ?? []), ...(node.oneOf ?? [])];
    node = branches
      .map((branch) => branch.properties?.[String(key)] ?? (typeof key === "number" ? branch.items : undefined))
      .find((found) => found !== undefined);
  }
  const all = [node, ...(node?.anyOf ?? []), ...(node?.oneOf ?? [])];
  return [...new Set(all.flatMap((branch) => Object.keys(branch?.properties ?? {})))];
}

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

function nearest(key: string, known: readonly string[]): string | undefined {
  const ranked = known.map((name) => ({ name, distance: editDistance(key.toLowerCase(), name.toLowerCase()) }));
  const best = ranked.sort((a, b) => a.distance - b.distance)[0];
  return best && best.distance <= Math.max(2, Math.floor(key.length / 3)) ? best.name : undefined;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitution = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next[j] = Math.min(substitution, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1);
    }
    row = next;
  }
  return row[b.length] ?? 0;
}

/** File names in the configuration are relative to it. */
function withPathsFrom(folder: string, config: GatewayConfig): GatewayConfig {
  const at = (path: string) => (isAbsolute(path) ? path : resolve(folder, path));
  const isFileKey = new Set(["file", "ca", "cert", "key", "folder", "countersFile"]);
  const walk = (value: unknown, key: string): unknown => {
    if (typeof value === "string") return isFileKey.has(key) ? at(value) : value;
    // A program with a slash in its name is a file; one without is looked for as a shell does.
    if (key === "passwordCommand" && Array.isArray(value))
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
  };
}
