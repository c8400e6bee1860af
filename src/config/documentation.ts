/** Makes the JSON schema for editors and docs/guide/configuration.md from the schema of the configuration. */
import { z } from "zod";
import { presets } from "../upstream/presets.ts";
import { gatewayConfig } from "./schema.ts";

interface Node {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly properties?: Readonly<Record<string, Node>>;
  readonly items?: Node;
  readonly additionalProperties?: Node | boolean;
  readonly anyOf?: readonly Node[];
  readonly oneOf?: readonly Node[];
  readonly required?: readonly string[];
}

export function configurationSchema(): object {
  return z.toJSONSchema(gatewayConfig, { io: "input" });
}

export function configurationMarkdown(): string {
  const root = configurationSchema() as Node;
  const lines = [
    "# Configuration",
    "",
    "The configuration is `gateway.config.json`, or the file that `--config` names. `npm run docs` makes this page from the schema; a test compares them.",
    "Everything has a default: `{}` is a valid configuration. Unknown keys are errors. File names are relative to the",
    'configuration. Passwords and keys are never in it: `{ "file": "..." }` or `{ "env": "..." }` says where they are.',
    "It may contain comments: `// ...` to the end of the line, or between `/*` and `*/`.",
    "`mqtt-sn-gateway check` lists every problem at once. SIGHUP reads predefined topics, `access`, credentials, certificates",
    "and the log level again; everything else takes effect after a restart. Files with secrets and certificates are also read again when they change:",
    "existing connections keep the old content, new ones use the new content.",
    "",
  ];
  for (const [name, node] of Object.entries(root.properties ?? {})) {
    if (name === "$schema") continue;
    const rows = name === "upstreams" ? rowsOfUpstreams(node, root.properties?.["upstream"]) : [...rowsOf(name, node)];
    lines.push(`## ${name}`, "", sentence(node.description), "");
    lines.push("| Key | Type | Default | Meaning |", "| --- | --- | --- | --- |", ...rows, "");
    if (name === "upstream") lines.push(...presetLines());
  }
  return lines.join("\n");
}

function presetLines(): string[] {
  const rows = Object.entries(presets).map(([name, { sets, why }]) => {
    const values = Object.entries(sets).map(([key, value]) => `\`${key}\` ${JSON.stringify(value)}`);
    return `| \`${name}\` | ${values.join(", ")} | ${escaped(why)} |`;
  });
  return [
    "Presets set what a broker of MQTT 3.1.1 does not accept and cannot announce (with MQTT 5, the lower of both limits applies):",
    "",
    "| `upstream.preset` | Sets | Because |",
    "| --- | --- | --- |",
    ...rows,
    "",
  ];
}

/** Options that `upstreams` shares with `upstream` are not listed again. */
function rowsOfUpstreams(node: Node, upstream: Node | undefined): string[] {
  const known = new Set(Object.keys(upstream?.properties ?? {}));
  const own = Object.entries(node.items?.properties ?? {}).filter(([name]) => !known.has(name));
  return [
    ...own.flatMap(([name, property]) => [...rowsOf(`upstreams[].${name}`, property)]),
    "| `upstreams[]...` | | | Everything that `upstream` has, with the same defaults. |",
  ];
}

function* rowsOf(path: string, node: Node): Generator<string> {
  const children = objectsIn(node);
  if (children.length === 0) {
    yield `| \`${path}\` | ${typeOf(node)} | ${defaultOf(node)} | ${escaped(node.description ?? "")} |`;
    return;
  }
  const seen = new Set<string>();
  for (const child of children) {
    for (const [name, property] of Object.entries(child.properties ?? {})) {
      const at = node.type === "array" ? `${path}[].${name}` : `${path}.${name}`;
      if (seen.has(at)) continue;
      seen.add(at);
      yield* rowsOf(at, property);
    }
  }
}

/** Objects whose keys get a row each. A secret reference is a type, not a section. */
function objectsIn(node: Node): readonly Node[] {
  if (isSecret(node)) return [];
  const inner = node.type === "array" && node.items ? node.items : node;
  return [inner, ...(inner.anyOf ?? []), ...(inner.oneOf ?? [])].filter(({ properties }) => properties !== undefined);
}

function isSecret(node: Node): boolean {
  return (
    node.anyOf?.length === 2 &&
    node.anyOf.every(
      ({ properties }) =>
        Object.keys(properties ?? {}).join() === "file" || Object.keys(properties ?? {}).join() === "env",
    )
  );
}

function typeOf(node: Node): string {
  if (isSecret(node)) return 'secret: `{ "file" }` or `{ "env" }`';
  if (node.const !== undefined) return `\`${JSON.stringify(node.const)}\``;
  if (node.enum) return node.enum.map((value) => `\`${JSON.stringify(value)}\``).join(", ");
  if (node.anyOf) return node.anyOf.map(typeOf).join(" or ");
  if (node.type === "array" && node.items) return `list of ${typeOf(node.items)}`;
  if (node.type === "object" && typeof node.additionalProperties === "object")
    return `object of ${typeOf(node.additionalProperties)}`;
  const range = node.maximum === undefined || node.maximum > 2 ** 50 ? "" : ` ${node.minimum ?? ""}..${node.maximum}`;
  return `${node.type ?? "any"}${range}`;
}

function defaultOf(node: Node): string {
  return node.default === undefined ? "-" : `\`${JSON.stringify(node.default)}\``;
}

function sentence(text: string | undefined): string {
  return text ?? "";
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("<", "&lt;");
}
