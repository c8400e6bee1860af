/**
 * Topic filters in a tree of levels: which of many filters match a name costs by the levels of the name and not by the
 * number of filters. [MQTT-3.1.1 4.7] A shared subscription (`$share/group/filter`) stands where its filter would.
 */

import type { Found } from "../assert.ts";

export interface Filtered {
  /** As the client named it. */
  readonly filter: string;
}

interface Node<T> {
  children: Map<string, Node<T>> | undefined;
  /** Filters that end with this level. */
  here: T[] | undefined;
  /** Filters that end with `#` behind this level: they match it and all below. */
  below: T[] | undefined;
}

export class FilterTrie<T extends Filtered> {
  readonly #byFilter = new Map<string, T>();
  readonly #root: Node<T> = { children: undefined, here: undefined, below: undefined };

  get size(): number {
    return this.#byFilter.size;
  }

  all(): IterableIterator<T> {
    return this.#byFilter.values();
  }

  get(filter: string): T | undefined {
    return this.#byFilter.get(filter);
  }

  /** The filter must not be there yet. */
  add(entry: T): void {
    this.#byFilter.set(entry.filter, entry);
    let node = this.#root;
    for (const level of levelsOf(entry.filter)) {
      if (level === "#") {
        node.below = [...(node.below ?? []), entry];
        return;
      }
      node.children ??= new Map();
      let next = node.children.get(level);
      if (!next) {
        next = { children: undefined, here: undefined, below: undefined };
        node.children.set(level, next);
      }
      node = next;
    }
    node.here = [...(node.here ?? []), entry];
  }

  remove(entry: T): void {
    if (this.#byFilter.get(entry.filter) !== entry) return;
    this.#byFilter.delete(entry.filter);
    const levels = levelsOf(entry.filter);
    const path: Node<T>[] = [this.#root];
    for (const level of levels) {
      const next = level === "#" ? undefined : path.at(-1)?.children?.get(level);
      if (next) path.push(next);
    }
    const last = path.at(-1);
    if (!last) return;
    if (levels.at(-1) === "#") last.below = without(last.below, entry);
    else last.here = without(last.here, entry);
    for (let depth = path.length - 1; depth > 0; depth--) {
      const node = path[depth];
      const parent = path[depth - 1];
      const level = levels[depth - 1];
      if (!node || !parent || level === undefined || node.children || node.here || node.below) return;
      parent.children?.delete(level);
      if (parent.children?.size === 0) parent.children = undefined;
    }
  }

  /** Calls `found` for each filter that matches the name, once. */
  match(topicName: string, found: (entry: T) => void): void {
    const isInternal = topicName.startsWith("$"); // not for wildcards at the first level [MQTT-4.7.2-1]
    const root = this.#root;
    if (!isInternal && root.below) root.below.forEach(found);
    visit(root, topicName, 0, isInternal, found);
  }

  /** Is there another filter that some name matches together with this one? Costs by the levels, unless it has wildcards. */
  overlaps(filter: string): boolean {
    const levels = levelsOf(filter);
    return meets(this.#root, levels, 0, (entry) => entry.filter !== filter);
  }

  /** Does the tree hold what the table does, and no empty branch? For tests. */
  check(found: Found): void {
    let places = 0;
    const enter = (node: Node<T>, depth: number): void => {
      if (depth > 0 && !node.children && !node.here && !node.below) found("the tree has an empty branch");
      for (const entry of [...(node.here ?? []), ...(node.below ?? [])]) {
        places++;
        if (this.#byFilter.get(entry.filter) !== entry) found(`${entry.filter} is in the tree alone`);
      }
      for (const child of node.children?.values() ?? []) enter(child, depth + 1);
    };
    enter(this.#root, 0);
    if (places !== this.#byFilter.size) found(`${this.#byFilter.size} filters are in the table, ${places} in the tree`);
  }
}

function visit<T>(node: Node<T>, name: string, from: number, isInternal: boolean, found: (entry: T) => void): void {
  const { children } = node;
  if (!children) return;
  const slash = name.indexOf("/", from);
  const level = slash < 0 ? name.slice(from) : name.slice(from, slash);
  const exact = children.get(level);
  if (exact) enter(exact, name, slash, found);
  const any = isInternal ? undefined : children.get("+");
  if (any) enter(any, name, slash, found);
}

function enter<T>(node: Node<T>, name: string, slash: number, found: (entry: T) => void): void {
  if (node.below) node.below.forEach(found);
  if (slash >= 0) visit(node, name, slash + 1, false, found);
  else if (node.here) node.here.forEach(found);
}

/** Wildcards at the first level and names that begin with `$` are not told apart: what only might overlap counts. */
function meets<T>(node: Node<T>, levels: readonly string[], depth: number, isOther: (entry: T) => boolean): boolean {
  if (node.below?.some(isOther)) return true;
  const level = levels[depth];
  if (level === undefined) return node.here?.some(isOther) === true;
  if (level === "#") return anyBelow(node, isOther);
  if (level === "+") {
    for (const child of node.children?.values() ?? []) if (meets(child, levels, depth + 1, isOther)) return true;
    return false;
  }
  for (const key of [level, "+"]) {
    const child = node.children?.get(key);
    if (child && meets(child, levels, depth + 1, isOther)) return true;
  }
  return false;
}

function anyBelow<T>(node: Node<T>, isOther: (entry: T) => boolean): boolean {
  if (node.below?.some(isOther) || node.here?.some(isOther)) return true;
  for (const child of node.children?.values() ?? []) if (anyBelow(child, isOther)) return true;
  return false;
}

function levelsOf(filter: string): string[] {
  const levels = filter.split("/");
  return isShared(filter) ? levels.slice(2) : levels;
}

export function isShared(filter: string): boolean {
  return filter.startsWith("$share/");
}

function without<T>(list: T[] | undefined, entry: T): T[] | undefined {
  const rest = list?.filter((each) => each !== entry);
  return rest && rest.length > 0 ? rest : undefined;
}
