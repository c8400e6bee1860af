/**
 * Makes a sentence of a problem that the schema found: the key, the expected value, what to type. No secret is
 * repeated.
 */
import { z } from "zod";
import { gatewayConfig } from "./schema.ts";
import { isOpen, isSecretReference, shownText, shownValue } from "./shown.ts";

type Issue = z.core.$ZodIssue;
type Path = readonly PropertyKey[];

export function problemsInWords(issues: readonly Issue[], raw: unknown): string[] {
  // An empty text is reported as empty only, and not also as a text of a wrong form.
  const empty = new Set(issues.filter(isAboutEmptyText).map(({ path }) => path.join(".")));
  const told = issues.filter((issue) => issue.code !== "invalid_format" || !empty.has(issue.path.join(".")));
  return [...new Set(told.flatMap((issue) => inWords(issue, raw)))];
}

function isAboutEmptyText(issue: Issue): boolean {
  return issue.code === "too_small" && issue.origin === "string";
}

export function valueAt(raw: unknown, path: Path): unknown {
  let value = raw;
  for (const key of path) {
    if (typeof value !== "object" || value === null) return undefined;
    value = (value as Record<PropertyKey, unknown>)[key];
  }
  return value;
}

function inWords(issue: Issue, raw: unknown): string[] {
  const path = issue.path.join(".") || "(top level)";
  if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey(issue.path, key, raw));
  const found = valueAt(raw, issue.path);
  const expected =
    isSecretReference(issue.path) && issue.code !== "invalid_key"
      ? 'must be { "file": "..." } or { "env": "..." }; the secret itself is never in the configuration'
      : expectation(issue, found);
  return [`${path}: ${expected} (found ${shownValue(issue.path, found)})`];
}

function unknownKey(path: Path, key: string, raw: unknown): string {
  const where = [...path, key].join(".");
  const known = knownKeys(path, raw);
  const meant = nearest(key, known);
  if (meant !== undefined) return `${where}: there is no such key; did you mean "${meant}"?`;
  const type = valueAt(raw, [...path, "type"]);
  const elsewhere = typeof type === "string" ? typesWith(path, key) : [];
  if (elsewhere.length > 0)
    return `${where}: a transport of type ${JSON.stringify(type)} has no such key (type ${elsewhere.join(", ")} has); delete it`;
  return `${where}: there is no such key; known here: ${known.join(", ")}`;
}

function expectation(issue: Issue, found: unknown): string {
  const last = String(issue.path.at(-1) ?? "");
  switch (issue.code) {
    case "invalid_type":
      return wrongType(issue.expected, issue.path, found);
    case "too_big":
      if (issue.origin === "string") return `must have at most ${issue.maximum} characters`;
      if (issue.origin === "array") return `must have at most ${issue.maximum} entries`;
      return `must be at most ${issue.maximum}${thousandth(last, found, Number(issue.maximum))}`;
    case "too_small":
      if (issue.origin === "string") return "must not be empty; for the default, leave the key out";
      if (issue.origin === "array") return "must have at least one entry; for the default, leave the key out";
      return `must be at least ${issue.minimum}`;
    case "invalid_value":
      return oneOf(issue.values.map(String), last, found);
    case "invalid_key":
      return wrongKey(issue, last, found);
    case "invalid_union":
      return wrongUnion(issue, last, found);
    case "invalid_format":
      return last === "url" || issue.path.at(-2) === "urls" ? aboutUrl(issue.message, found) : issue.message;
    default:
      return issue.message;
  }
}

function wrongType(expected: string, path: Path, found: unknown): string {
  const last = String(path.at(-1) ?? "");
  const what: Readonly<Record<string, string>> = {
    number: "a number",
    int: "a whole number",
    string: "a text in double quotes",
    boolean: "true or false",
    array: "a list in [ ]",
    object: "an object in { }",
    record: "an object in { }",
  };
  const must = `must be ${what[expected] ?? expected}`;
  if (found === undefined) {
    const meaning = descriptionAt(path);
    return `is missing: ${must.replace("must be ", "it is ")}${meaning ? ` (${meaning.replace(/\.$/, "")})` : ""}`;
  }
  if (found === null) return `${must}; for the default, leave the key out`;
  if (typeof found === "string" && (expected === "number" || expected === "int")) {
    const meant = numberMeant(last, found);
    return meant === undefined ? `${must}, without quotes and unit` : `${must}: type ${meant}, without quotes`;
  }
  if (expected === "boolean" && (found === "true" || found === "false"))
    return `${must}: type ${found}, without quotes`;
  if (expected === "string" && typeof found === "number") return `${must}: type "${found}"`;
  if (expected === "array" && typeof found === "string" && isOpen(path))
    return `${must}: type [${JSON.stringify(shownText(found))}]`;
  if (expected === "array" && typeof found === "object") return `${must}: put it in [ ]`;
  if (expected === "record" && path.at(-1) === "predefined") return `${must}: type { "1": "a/topic" }`;
  return must;
}

const unitSeconds: ReadonlyMap<string, number> = new Map(
  Object.entries({ ms: 0.001, s: 1, sec: 1, m: 60, min: 60, h: 3_600, d: 86_400 }),
);
const unitOctets: ReadonlyMap<string, number> = new Map(
  Object.entries({ "": 1, k: 1_024, m: 1_048_576, g: 1_073_741_824 }),
);

/** The number in the key's own unit, for texts such as "60s" or "64MB". */
function numberMeant(key: string, text: string): number | undefined {
  const [, digits = "", unit = ""] = /^\s*(-?\d+(?:\.\d+)?)\s*([a-z]*)\s*$/i.exec(text) ?? [];
  const value = Number(digits);
  if (digits === "") return undefined;
  if (unit === "") return value;
  if (/seconds/i.test(key)) {
    const seconds = unitSeconds.get(unit.toLowerCase());
    if (seconds === undefined) return undefined;
    return value * seconds * (/milliseconds/i.test(key) ? 1_000 : 1);
  }
  if (!/bytes/i.test(key)) return undefined;
  const factor = unitOctets.get(unit.toLowerCase().replace(/i?b$/, ""));
  return factor === undefined ? undefined : Math.round(value * factor);
}

/** Reports a value in milliseconds where seconds are expected. */
function thousandth(key: string, found: unknown, maximum: number): string {
  if (!/seconds/i.test(key) || /milliseconds/i.test(key) || typeof found !== "number") return "";
  return found / 1_000 <= maximum ? ` seconds; if milliseconds were meant, type ${found / 1_000}` : " seconds";
}

/** Names of values in other programs, and the value that is meant here. */
const otherNames: ReadonlyMap<string, string> = new Map(
  Object.entries({
    "3": "3.1.1",
    "3.1": "3.1.1",
    "4": "3.1.1",
    "5.0": "5",
    false: "off-which-is-insecure",
    true: "on",
    verbose: "debug",
    warning: "warn",
    none: "silent",
    off: "silent",
    file: "disk",
    ram: "memory",
    tcp: "udp",
  }),
);

function oneOf(values: readonly string[], key: string, found: unknown): string {
  const list = values.map((value) => JSON.stringify(value)).join(", ");
  const text = typeof found === "object" ? undefined : String(found);
  const other = text === undefined ? undefined : otherNames.get(text);
  const meant =
    text === undefined || text === ""
      ? undefined
      : other !== undefined && values.includes(other)
        ? other
        : (values.find((value) => value === text || value === text.toLowerCase()) ?? nearest(text, values));
  const must = `must be one of ${list}`;
  if (meant === undefined) return must;
  if (key === "verify" && found === false)
    return `${must}; true is "on"; without a check of the certificate any machine can claim to be the broker`;
  return `${must}; type "${meant}"`;
}

function wrongKey(issue: Extract<Issue, { code: "invalid_key" }>, key: string, found: unknown): string {
  if (issue.path.includes("predefined") || issue.path.includes("predefinedFor")) {
    const isSwapped = typeof found === "number";
    const example = JSON.stringify({ [isSwapped ? String(found) : "1"]: isSwapped ? key : String(found ?? key) });
    return `the key is the topic id, a number from 1 to 65534, and the name follows: type ${example}`;
  }
  return issue.issues.map(({ message }) => message).join(", ");
}

function wrongUnion(issue: Extract<Issue, { code: "invalid_union" }>, key: string, found: unknown): string {
  if (key === "type") return typeOf(found);
  if (issue.path.at(-2) === "rules" && issue.path.at(-3) === "access") {
    const isRule = typeof found === "object" && found !== null;
    if (isRule && "allow" in found && "deny" in found) return "a rule has allow or deny, not both; make two of it";
    if (isRule && !("allow" in found) && !("deny" in found))
      return 'a rule says whom: type { "allow": "*" } or { "deny": "..." }, and "from" if you like';
    return 'must be { "allow": "pattern", "from": ["192.0.2.0/24"] } or the same with "deny"; from may be left out';
  }
  const literals = [
    ...new Set(issue.errors.flat().flatMap((each) => (each.code === "invalid_value" ? each.values : []))),
  ];
  if (literals.length > 0)
    return `must be one of ${literals.join(", ")}${typeof found === "string" ? ", without quotes" : ""}`;
  const says = [...new Set(issue.errors.flat().map((each) => expectation(each, found)))];
  return says.join(", or ") || issue.message;
}

function typeOf(found: unknown): string {
  const types = ["udp", "dtls", "ble", "serial"];
  if (found === undefined) return 'is missing: type "type": "udp" (or "dtls", "ble", "serial")';
  return oneOf(types, "type", found);
}

/** Schemes of other programs. */
const schemes: ReadonlyMap<string, string> = new Map(
  Object.entries({
    tcp: "mqtt",
    ssl: "mqtts",
    tls: "mqtts",
    "mqtt+ssl": "mqtts",
    "mqtt+tls": "mqtts",
    "mqtt+ws": "ws",
    http: "ws",
    https: "wss",
  }),
);

function aboutUrl(message: string, found: unknown): string {
  if (typeof found !== "string") return message;
  const shown = shownText(found);
  const [, scheme = "", rest = ""] = /^([a-z0-9+.-]+):\/\/(.*)$/is.exec(shown) ?? [];
  const known =
    schemes.get(scheme.toLowerCase()) ?? (/^(mqtts?|wss?)$/i.test(scheme) ? scheme.toLowerCase() : undefined);
  if (known !== undefined && rest !== "") return `${message}; type "${known}://${rest}"`;
  if (scheme === "" && /^[^\s/]+$/.test(shown))
    return `${message}; type "${/:8883$/.test(shown) ? "mqtts" : "mqtt"}://${shown}"`;
  return message;
}

interface Schema {
  readonly description?: string;
  readonly const?: unknown;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly anyOf?: readonly Schema[];
  readonly oneOf?: readonly Schema[];
}

const branchesOf = (node: Schema | undefined): Schema[] =>
  node ? [node, ...(node.anyOf ?? []), ...(node.oneOf ?? [])] : [];

/** The schema at this path. If there are several kinds, the one that the value itself names. */
function schemasAt(path: Path, raw: unknown): Schema[] {
  let nodes = branchesOf(z.toJSONSchema(gatewayConfig, { io: "input" }) as Schema);
  for (const [i, key] of path.entries()) {
    const next = nodes.flatMap((node) =>
      branchesOf(node.properties?.[String(key)] ?? (typeof key === "number" ? node.items : undefined)),
    );
    const type = valueAt(raw, [...path.slice(0, i + 1), "type"]);
    const ofType = next.filter((node) => type !== undefined && node.properties?.["type"]?.const === type);
    nodes = ofType.length > 0 ? ofType : next;
  }
  return nodes;
}

function knownKeys(path: Path, raw: unknown): string[] {
  return [...new Set(schemasAt(path, raw).flatMap((node) => Object.keys(node.properties ?? {})))];
}

/** Kinds of transport that have this key. */
function typesWith(path: Path, key: string): string[] {
  return schemasAt(path, undefined)
    .filter((node) => node.properties?.[key])
    .map((node) => JSON.stringify(node.properties?.["type"]?.const));
}

function descriptionAt(path: Path): string | undefined {
  return schemasAt(path, undefined).find(({ description }) => description !== undefined)?.description;
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
