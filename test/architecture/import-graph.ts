/** Which file imports which, read from the text of the sources; and the circles in such a graph. */

export interface Import {
  readonly target: string;
  /** It names types only, so nothing of it is left when the program runs. */
  readonly typeOnly: boolean;
}

/** Files by name -> the names of the files that each imports. */
export type ImportGraph = ReadonlyMap<string, ReadonlySet<string>>;

const importPattern = /^\s*(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/gm;

/** Every import of a source text: of values and of types, static, dynamic, and `export … from`. */
export function importsOf(text: string): readonly Import[] {
  return [...text.matchAll(importPattern)].map(([, typeOnly, fixed, dynamic]) => ({
    target: fixed ?? dynamic ?? "",
    typeOnly: typeOnly !== undefined,
  }));
}

/** The graph of files that import each other by a relative path. Names are paths with "/", as the keys of `files`. */
export function graphOf(files: ReadonlyMap<string, string>): ImportGraph {
  const graph = new Map<string, ReadonlySet<string>>();
  for (const [name, text] of files) {
    const targets = importsOf(text)
      .filter(({ target }) => target.startsWith("."))
      .map(({ target }) => joined(name, target))
      .filter((target) => files.has(target));
    graph.set(name, new Set(targets));
  }
  return graph;
}

/**
 * A shortest circle for each knot of files that reach each other, as "a -> b -> a": what has to be opened next. A file that
 * imports itself is a circle too. An empty list: there is none.
 */
export function circlesIn(graph: ImportGraph): readonly string[] {
  const seen = new Set<string>();
  const circles: string[] = [];
  for (const start of [...graph.keys()].sort()) {
    if (seen.has(start)) continue;
    const way = shortestWayBack(graph, start);
    if (!way) continue;
    for (const name of way) seen.add(name);
    circles.push(way.join(" -> "));
  }
  return circles;
}

/** `target` as it is written in the file `name`, from the root of the graph. */
export function joined(name: string, target: string): string {
  const parts = name.split("/").slice(0, -1);
  for (const part of target.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}

function shortestWayBack(graph: ImportGraph, start: string): readonly string[] | undefined {
  const cameFrom = new Map<string, string>();
  let border = [start];
  while (border.length > 0) {
    const next: string[] = [];
    for (const name of border) {
      for (const target of graph.get(name) ?? []) {
        if (target === start) return wayTo(cameFrom, start, name, start);
        if (cameFrom.has(target)) continue;
        cameFrom.set(target, name);
        next.push(target);
      }
    }
    border = next;
  }
  return undefined;
}

function wayTo(cameFrom: ReadonlyMap<string, string>, start: string, last: string, end: string): readonly string[] {
  const way = [end];
  for (let name: string | undefined = last; name !== undefined && name !== start; name = cameFrom.get(name)) {
    way.unshift(name);
  }
  return [start, ...way];
}
