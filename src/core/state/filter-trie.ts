/**
 * Topic filters in a tree of levels. To find the filters that match a name costs a time that depends on the number of
 * levels, not on the number of filters. [MQTT-3.1.1 4.7] A shared subscription (`$share/group/filter`) is at the place
 * of its filter.
 *
 * Most filters belong to one client (`devices/17/commands`). Below a level that leads to one filter only, there are no
 * further levels but that filter itself (a leaf), which is compared as a whole. So such a filter needs a place in two
 * tables.
 */

import type { Found } from "../assert.ts";

export interface Filtered {
  /** As the client named it. */
  readonly filter: string;
}

class Node<T> {
  /** By level: the next level, or the only filter that continues there. */
  children: Map<string, Node<T> | T> | undefined = undefined;
  /** Filters that end with this level. */
  here: T[] | undefined = undefined;
  /** Filters that end with `#` behind this level: they match it and all below. */
  below: T[] | undefined = undefined;
}

export class FilterTrie<T extends Filtered> {
  readonly #byFilter = new Map<string, T>();
  readonly #root = new Node<T>();

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
    insert(this.#root, entry, levelsOf(entry.filter), 0);
  }

  remove(entry: T): void {
    if (this.#byFilter.get(entry.filter) !== entry) return;
    this.#byFilter.delete(entry.filter);
    const levels = levelsOf(entry.filter);
    const path: Node<T>[] = [this.#root];
    for (const level of levels) {
      const last = path.at(-1);
      const next = level === "#" ? undefined : last?.children?.get(level);
      if (next === entry) last?.children?.delete(level);
      if (!(next instanceof Node)) break;
      path.push(next);
    }
    const last = path.at(-1);
    if (!last) return;
    last.here = without(last.here, entry);
    last.below = without(last.below, entry);
    for (let depth = path.length - 1; depth >= 0; depth--) {
      const node = path[depth];
      if (node?.children?.size === 0) node.children = undefined;
      const parent = path[depth - 1];
      const level = levels[depth - 1];
      if (!node || !parent || level === undefined || node.children || node.here || node.below) return;
      parent.children?.delete(level);
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
    const see = (entry: T): void => {
      places++;
      if (this.#byFilter.get(entry.filter) !== entry) found(`${entry.filter} is in the tree alone`);
    };
    const enter = (node: Node<T>, depth: number): void => {
      if (depth > 0 && !node.children && !node.here && !node.below) found("the tree has an empty branch");
      for (const entry of [...(node.here ?? []), ...(node.below ?? [])]) see(entry);
      for (const [level, child] of node.children ?? []) {
        if (child instanceof Node) enter(child, depth + 1);
        else if (levelsOf(child.filter)[depth] !== level) found(`${child.filter} stands under ${level}`);
        else see(child);
      }
    };
    enter(this.#root, 0);
    if (places !== this.#byFilter.size) found(`${this.#byFilter.size} filters are in the table, ${places} in the tree`);
  }
}

/** Below `node`, which stands for the levels before `depth`. A leaf at this place moves one level down. */
function insert<T extends Filtered>(node: Node<T>, entry: T, levels: readonly string[], depth: number): void {
  const level = levels[depth];
  if (level === "#") {
    node.below = [...(node.below ?? []), entry];
    return;
  }
  if (level === undefined) {
    node.here = [...(node.here ?? []), entry];
    return;
  }
  node.children ??= new Map();
  const child = node.children.get(level);
  if (child === undefined) {
    node.children.set(level, entry);
    return;
  }
  if (child instanceof Node) return insert(child, entry, levels, depth + 1);
  const branch = new Node<T>();
  node.children.set(level, branch);
  insert(branch, child, levelsOf(child.filter), depth + 1);
  insert(branch, entry, levels, depth + 1);
}

function visit<T extends Filtered>(
  node: Node<T>,
  name: string,
  from: number,
  isInternal: boolean,
  found: (entry: T) => void,
): void {
  const { children } = node;
  if (!children) return;
  const slash = name.indexOf("/", from);
  const level = slash < 0 ? name.slice(from) : name.slice(from, slash);
  const exact = children.get(level);
  if (exact) enter(exact, name, slash, found);
  const any = isInternal ? undefined : children.get("+");
  if (any) enter(any, name, slash, found);
}

function enter<T extends Filtered>(child: Node<T> | T, name: string, slash: number, found: (entry: T) => void): void {
  if (!(child instanceof Node)) {
    if (fits(child.filter, name)) found(child);
    return;
  }
  if (child.below) child.below.forEach(found);
  if (slash >= 0) visit(child, name, slash + 1, false, found);
  else if (child.here) child.here.forEach(found);
}

/** Whether the whole filter matches the name. For names that begin with `$` the caller knows that the first level is no wildcard. */
function fits(filter: string, name: string): boolean {
  let at = isShared(filter) ? filter.indexOf("/", "$share/".length) + 1 : 0;
  let from = 0;
  for (;;) {
    const end = endOfLevel(filter, at);
    if (filter.charCodeAt(at) === hash && end === at + 1) return true;
    const slash = endOfLevel(name, from);
    const isAny = filter.charCodeAt(at) === plus && end === at + 1;
    if (!isAny && (end - at !== slash - from || !name.startsWith(filter.slice(at, end), from))) return false;
    const isLast = end === filter.length;
    // The filter "a/#" matches "a" too.
    if (slash === name.length) return isLast || (filter.charCodeAt(end + 1) === hash && end + 2 === filter.length);
    if (isLast) return false;
    at = end + 1;
    from = slash + 1;
  }
}

function endOfLevel(text: string, from: number): number {
  const slash = text.indexOf("/", from);
  return slash < 0 ? text.length : slash;
}

const hash = "#".charCodeAt(0);
const plus = "+".charCodeAt(0);

/** Wildcards at the first level and names that begin with `$` are not told apart: what only might overlap counts. */
function meets<T extends Filtered>(
  node: Node<T>,
  levels: readonly string[],
  depth: number,
  isOther: (entry: T) => boolean,
): boolean {
  if (node.below?.some(isOther)) return true;
  const level = levels[depth];
  if (level === undefined) return node.here?.some(isOther) === true;
  if (level === "#") return anyBelow(node, isOther);
  if (level === "+") {
    for (const child of node.children?.values() ?? []) if (meetsChild(child, levels, depth + 1, isOther)) return true;
    return false;
  }
  for (const key of [level, "+"]) {
    const child = node.children?.get(key);
    if (child && meetsChild(child, levels, depth + 1, isOther)) return true;
  }
  return false;
}

function meetsChild<T extends Filtered>(
  child: Node<T> | T,
  levels: readonly string[],
  depth: number,
  isOther: (entry: T) => boolean,
): boolean {
  if (child instanceof Node) return meets(child, levels, depth, isOther);
  return isOther(child) && goOnTogether(levels, levelsOf(child.filter), depth);
}

/** Is there a name that both match, if they agree before `depth`? */
function goOnTogether(a: readonly string[], b: readonly string[], depth: number): boolean {
  for (let at = depth; ; at++) {
    const [one, other] = [a[at], b[at]];
    if (one === "#" || other === "#" || (one === undefined && other === undefined)) return true;
    if (one === undefined || other === undefined) return false;
    if (one !== other && one !== "+" && other !== "+") return false;
  }
}

function anyBelow<T>(node: Node<T>, isOther: (entry: T) => boolean): boolean {
  if (node.below?.some(isOther) || node.here?.some(isOther)) return true;
  for (const child of node.children?.values() ?? [])
    if (child instanceof Node ? anyBelow(child, isOther) : isOther(child)) return true;
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
