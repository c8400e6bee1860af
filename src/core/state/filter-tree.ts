/**
 * Topic filters in a tree of levels. The time to find the filters that match a name depends on the number of levels,
 * not on the number of filters. [MQTT-3.1.1 4.7] A shared subscription (`$share/group/filter`) has the place of its
 * filter.
 *
 * Most filters belong to one client (`devices/17/commands`). Below a level that leads to only one filter, there are no
 * further levels: the filter itself is there as a leaf, which is compared as a whole.
 *
 * The tree has only the texts. filter-index.ts has the data of each filter, and uses the tree for filters that it
 * cannot find by a hash.
 */

import type { Found } from "../assert.ts";

class Node {
  /** For each level: the next node, or the only filter that continues there. */
  children: Map<string, Node | string> | undefined = undefined;
  /** Filters that end with this level. */
  here: string[] | undefined = undefined;
  /** Filters that end with `#` after this level: they match it and all levels below. */
  below: string[] | undefined = undefined;
}

export class FilterTree {
  readonly #root = new Node();
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds a filter, which must not exist yet. */
  add(filter: string): void {
    insert(this.#root, filter, levelsOf(filter), 0);
    this.#size++;
  }

  /** Removes a filter, which must exist. */
  remove(filter: string): void {
    this.#size--;
    const levels = levelsOf(filter);
    const path: Node[] = [this.#root];
    for (const level of levels) {
      const last = path.at(-1);
      const next = level === "#" ? undefined : last?.children?.get(level);
      if (next === filter) last?.children?.delete(level);
      if (!(next instanceof Node)) break;
      path.push(next);
    }
    const last = path.at(-1);
    if (!last) return;
    last.here = without(last.here, filter);
    last.below = without(last.below, filter);
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
  match(topicName: string, found: (filter: string) => void): void {
    const isInternal = topicName.startsWith("$"); // not for wildcards at the first level [MQTT-4.7.2-1]
    const root = this.#root;
    if (!isInternal && root.below) root.below.forEach(found);
    visit(root, topicName, 0, isInternal, found);
  }

  /**
   * Whether a name exists that matches both this filter and another one. The cost depends on the number of levels,
   * unless the filter has wildcards.
   */
  overlaps(filter: string): boolean {
    const levels = levelsOf(filter);
    return meets(this.#root, levels, 0, (each) => each !== filter);
  }

  /** Checks that each filter is in its place, and that no branch is empty. For tests. */
  check(each: (filter: string) => void, found: Found): void {
    let places = 0;
    const see = (filter: string): void => {
      places++;
      each(filter);
    };
    const enter = (node: Node, depth: number): void => {
      if (depth > 0 && !node.children && !node.here && !node.below) found("the tree has an empty branch");
      for (const filter of [...(node.here ?? []), ...(node.below ?? [])]) see(filter);
      for (const [level, child] of node.children ?? []) {
        if (child instanceof Node) enter(child, depth + 1);
        else if (levelsOf(child)[depth] !== level) found(`${child} stands under ${level}`);
        else see(child);
      }
    };
    enter(this.#root, 0);
    if (places !== this.#size) found(`${this.#size} filters are counted, ${places} are in the tree`);
  }
}

/** Adds a filter below `node`, which stands for the levels before `depth`. A leaf in its place moves one level down. */
function insert(node: Node, filter: string, levels: readonly string[], depth: number): void {
  const level = levels[depth];
  if (level === "#") {
    node.below = [...(node.below ?? []), filter];
    return;
  }
  if (level === undefined) {
    node.here = [...(node.here ?? []), filter];
    return;
  }
  node.children ??= new Map();
  const child = node.children.get(level);
  if (child === undefined) {
    node.children.set(level, filter);
    return;
  }
  if (child instanceof Node) return insert(child, filter, levels, depth + 1);
  const branch = new Node();
  node.children.set(level, branch);
  insert(branch, child, levelsOf(child), depth + 1);
  insert(branch, filter, levels, depth + 1);
}

function visit(node: Node, name: string, from: number, isInternal: boolean, found: (filter: string) => void): void {
  const { children } = node;
  if (!children) return;
  const slash = name.indexOf("/", from);
  const level = slash < 0 ? name.slice(from) : name.slice(from, slash);
  const exact = children.get(level);
  if (exact) enter(exact, name, slash, found);
  const any = isInternal ? undefined : children.get("+");
  if (any) enter(any, name, slash, found);
}

function enter(child: Node | string, name: string, slash: number, found: (filter: string) => void): void {
  if (!(child instanceof Node)) {
    if (fits(child, name)) found(child);
    return;
  }
  if (child.below) child.below.forEach(found);
  if (slash >= 0) visit(child, name, slash + 1, false, found);
  else if (child.here) child.here.forEach(found);
}

/**
 * Whether the whole filter matches the name. If the name begins with `$`, the caller knows that the first level is not
 * a wildcard.
 */
export function fits(filter: string, name: string): boolean {
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

export function endOfLevel(text: string, from: number): number {
  const slash = text.indexOf("/", from);
  return slash < 0 ? text.length : slash;
}

const hash = "#".charCodeAt(0);
const plus = "+".charCodeAt(0);

/**
 * Whether another filter may overlap. Names that begin with `$` are not treated specially here, so the result may be
 * true although no name matches both.
 */
function meets(node: Node, levels: readonly string[], depth: number, isOther: (filter: string) => boolean): boolean {
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

function meetsChild(
  child: Node | string,
  levels: readonly string[],
  depth: number,
  isOther: (filter: string) => boolean,
): boolean {
  if (child instanceof Node) return meets(child, levels, depth, isOther);
  return isOther(child) && goOnTogether(levels, levelsOf(child), depth);
}

/** Whether a name exists that matches both filters, if they agree before `depth`. */
function goOnTogether(a: readonly string[], b: readonly string[], depth: number): boolean {
  for (let at = depth; ; at++) {
    const [one, other] = [a[at], b[at]];
    if (one === "#" || other === "#" || (one === undefined && other === undefined)) return true;
    if (one === undefined || other === undefined) return false;
    if (one !== other && one !== "+" && other !== "+") return false;
  }
}

function anyBelow(node: Node, isOther: (filter: string) => boolean): boolean {
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

function without(list: string[] | undefined, filter: string): string[] | undefined {
  const rest = list?.filter((each) => each !== filter);
  return rest && rest.length > 0 ? rest : undefined;
}
