/**
 * Which file of a C library uses which: by a function that the other one defines, or by an include. A header counts as the
 * .c file that defines its functions; one without functions, or a public one that several files fill, is a file of its own.
 *
 * It reads C99 as this project writes it: no code behind `extern "C" {`, no function whose name a macro makes. What a
 * comment or a string says is no use; what a macro's text names is one, and so is a function whose address is taken.
 */
import { posix } from "node:path";

export interface Use {
  readonly from: string;
  readonly to: string;
  /** A function, or `#include "..."`. */
  readonly by: string;
}

export interface Library {
  readonly uses: readonly Use[];
  /** Headers outside `publicFolder` that declare functions of several files: they belong to no layer. */
  readonly mixedHeaders: readonly string[];
}

/** `sources`: path -> text, all .c and .h files. The result names .c files, and headers that are files of their own. */
export function readLibrary(sources: ReadonlyMap<string, string>, publicFolder = "include"): Library {
  const files = new Map([...sources].map(([path, text]) => [path, parse(text)]));
  const definedIn = new Map<string, string>();
  for (const [path, { defines }] of files) {
    if (path.endsWith(".c")) for (const name of defines) definedIn.set(name, path);
  }

  const mixedHeaders: string[] = [];
  const owners = new Map<string, string>();
  for (const [path, { declares }] of files) {
    const definers = new Set([...declares].flatMap((name) => definedIn.get(name) ?? []));
    const [only = path] = definers;
    owners.set(path, path.endsWith(".h") && definers.size === 1 ? only : path);
    if (path.endsWith(".h") && definers.size > 1 && posix.dirname(path) !== publicFolder) {
      mixedHeaders.push(`${path} declares functions of ${[...definers].sort().join(", ")}`);
    }
  }

  const uses: Use[] = [];
  const add = (path: string, target: string, by: string) => {
    const [from, to] = [owners.get(path) ?? path, owners.get(target) ?? target];
    if (from !== to) uses.push({ from, to, by });
  };
  for (const [path, file] of files) {
    for (const name of file.includes) {
      const target = included(path, name, files.keys());
      if (target !== undefined) add(path, target, `#include "${name}"`);
    }
    for (const name of file.names) {
      const target = definedIn.get(name);
      const isOwnMatter =
        file.defines.has(name) || file.hidden.has(name) || (path.endsWith(".h") && file.declares.has(name));
      if (target !== undefined && !isOwnMatter) add(path, target, name);
    }
  }
  return { uses, mixedHeaders };
}

/** Uses that `mayUse` does not allow, and files that it does not know. `*` allows everything. */
export function forbiddenUses(uses: readonly Use[], mayUse: Readonly<Record<string, readonly string[]>>): string[] {
  const wrong = uses.flatMap(({ from, to, by }) => {
    const allowed = mayUse[from];
    if (allowed === undefined) return [`no rule for ${from}`];
    return allowed.includes("*") || allowed.includes(to) ? [] : [`${from} -> ${to}: ${by}`];
  });
  return [...new Set(wrong)];
}

/** Each circle once, by one of its ways round: `a.c -> b.c (by what) -> a.c (by what)`. */
export function circles(uses: readonly Use[]): string[] {
  const targets = new Map<string, Map<string, string>>();
  for (const { from, to, by } of uses) {
    const known = targets.get(from) ?? new Map<string, string>();
    targets.set(from, known.set(to, known.get(to) ?? by));
  }
  const found: string[] = [];
  const finished = new Set<string>();
  const walk = (file: string, way: readonly string[]) => {
    if (finished.has(file)) return;
    for (const to of targets.get(file)?.keys() ?? []) {
      const start = [...way, file].indexOf(to);
      if (start < 0) walk(to, [...way, file]);
      else found.push(wayRound([...way, file].slice(start)));
    }
    finished.add(file);
  };
  const wayRound = (files: readonly string[]) =>
    files.reduce((text, file, i) => {
      const next = files[(i + 1) % files.length] ?? file;
      return `${text} -> ${next} (${targets.get(file)?.get(next)})`;
    }, files[0] ?? "");
  for (const file of targets.keys()) walk(file, []);
  return found;
}

interface CFile {
  readonly includes: readonly string[];
  /** Functions that other files can call. */
  readonly defines: ReadonlySet<string>;
  /** Static functions: a name of another file's means this one here. */
  readonly hidden: ReadonlySet<string>;
  readonly declares: ReadonlySet<string>;
  /** All identifiers outside comments and strings. */
  readonly names: ReadonlySet<string>;
}

const commentOrLiteral = /\/\*[\s\S]*?\*\/|\/\/[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'/g;
const includeLine = /^[ \t]*#[ \t]*include[ \t]+"([^"]+)".*$/gm;
const directive = /^[ \t]*#(?:.*\\\n)*.*$/gm;
const identifier = /[A-Za-z_]\w*/g;

function parse(text: string): CFile {
  const code = text.replace(commentOrLiteral, (part) => (part.startsWith("/") ? " " : part));
  const includes = [...code.matchAll(includeLine)].map(([, name = ""]) => name);
  const bare = code.replace(includeLine, "").replace(commentOrLiteral, '""');
  const [defines, hidden, declares] = [new Set<string>(), new Set<string>(), new Set<string>()];
  for (const { head, hasBody } of outermost(bare.replace(directive, ""))) {
    const name = /^[^=(]*?([A-Za-z_]\w*)\s*\(/.exec(head)?.[1];
    if (name === undefined || /^\s*typedef\b/.test(head)) continue;
    if (!hasBody) declares.add(name);
    else if (/\bstatic\b/.test(head)) hidden.add(name);
    else defines.add(name);
  }
  return { includes, defines, hidden, declares, names: new Set(bare.match(identifier)) };
}

/** What stands outside all braces, each up to its semicolon or its body. */
function outermost(code: string): { head: string; hasBody: boolean }[] {
  const parts: { head: string; hasBody: boolean }[] = [];
  let depth = 0;
  let head = "";
  for (const character of code) {
    if (depth === 0 && (character === ";" || character === "{")) {
      parts.push({ head, hasBody: character === "{" });
      head = "";
    } else if (depth === 0 && character !== "}") head += character;
    if (character === "{") depth++;
    if (character === "}") depth--;
  }
  return parts;
}

/** As the compiler looks for it: beside the file, else on the search path, where each name is there once. */
function included(path: string, name: string, paths: Iterable<string>): string | undefined {
  const all = [...paths];
  const beside = posix.join(posix.dirname(path), name);
  return all.find((each) => each === beside) ?? all.find((each) => posix.basename(each) === posix.basename(name));
}
