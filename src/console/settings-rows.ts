/** Makes rows that can be shown and changed from the schema and the values: a row for each key that is not a section. */

export interface Node {
  readonly type?: string;
  readonly const?: unknown;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly Node[];
  readonly description?: string;
  readonly default?: unknown;
  readonly properties?: Readonly<Record<string, Node>>;
}

export interface Setting {
  /** `upstream.tls.ca` */
  readonly key: string;
  readonly path: readonly string[];
  readonly node: Node;
  /** The effective value. */
  readonly shown: string;
  /** The value in the file; if there is none, the effective value. */
  readonly written: unknown;
  readonly isWritten: boolean;
  readonly meaning: string;
  readonly isDefault: boolean;
}

export type Kind =
  | { readonly kind: "choice"; readonly values: readonly unknown[] }
  | { readonly kind: "number" | "text" | "json" | "secret" };

export function rowsOf(path: readonly string[], value: unknown, written: unknown, node: Node | undefined): Setting[] {
  const inner = node?.properties;
  const isSection = value === undefined || (typeof value === "object" && value !== null && !Array.isArray(value));
  if (inner && isSection) {
    return Object.keys(inner).flatMap((name) => {
      if (name === "$schema") return [];
      return rowsOf([...path, name], partOf(value, name), partOf(written, name), inner[name]);
    });
  }
  const isDefault = value === undefined || JSON.stringify(value) === JSON.stringify(node?.default);
  return [
    {
      key: path.join("."),
      path,
      node: node ?? {},
      shown: value === undefined ? "-" : JSON.stringify(value),
      written: written ?? value,
      isWritten: written !== undefined,
      meaning: node?.description ?? "",
      isDefault,
    },
  ];
}

export function kindOf(node: Node): Kind {
  if (node.enum) return { kind: "choice", values: node.enum };
  if (node.type === "boolean") return { kind: "choice", values: [true, false] };
  if (node.anyOf?.every((each) => each.const !== undefined))
    return { kind: "choice", values: node.anyOf.map((each) => each.const) };
  if (node.anyOf?.some(({ properties }) => Object.keys(properties ?? {}).join() === "env")) return { kind: "secret" };
  if (node.type === "integer" || node.type === "number") return { kind: "number" };
  if (node.type === "string") return { kind: "text" };
  return { kind: "json" };
}

export function shownForEdit(value: unknown, { kind }: Kind): string {
  if (value === undefined) return "";
  if (kind === "json" || kind === "secret") return JSON.stringify(value, undefined, 2);
  return String(value);
}

export function parsed(text: string, kind: Kind): { readonly value: unknown } | { readonly problem: string } {
  switch (kind.kind) {
    case "choice":
      return { value: kind.values.find((value) => String(value) === text) };
    case "text":
      return { value: text };
    case "number":
      // A text that is no number is passed on: the check of the gateway tells what to type.
      return { value: /^-?\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text };
    default:
      try {
        return { value: JSON.parse(text) };
      } catch (error) {
        return { problem: error instanceof Error ? error.message : String(error) };
      }
  }
}

function partOf(value: unknown, name: string): unknown {
  if (typeof value !== "object" || value === null || !Object.hasOwn(value, name)) return undefined;
  return Reflect.get(value, name);
}
