/**
 * The *shape* of a topic filter tells the positions of its wildcards. Hashes of names and filters are made from the hashes of their levels, so a
 * name is looked up with wildcards in its place without making a text. See filter-index.ts.
 */
import { mixed } from "../hash-rows.ts";
import { endOfLevel, isShared } from "./filter-tree.ts";

/** Limit of levels in a shape. Each level has a bit. */
const shapeLevelsMax = 30;

export interface Shape {
  /** The number of levels before `#`. */
  readonly levels: number;
  /** One bit for each level that is `+`. */
  readonly pluses: number;
  readonly isOpen: boolean;
}

/** The hash of each level of the name or filter that is looked up. One look-up at a time uses it. */
let levelHashes = new Int32Array(128);

/** The positions of the wildcards; undefined: the filter has none, is a shared subscription, or has too many levels. */
export function shapeOf(filter: string): Shape | undefined {
  if (isShared(filter) || !hasPlace(filter)) return undefined;
  let levels = 0;
  let pluses = 0;
  let isOpen = false;
  for (let at = 0; at <= filter.length; ) {
    const end = endOfLevel(filter, at);
    if (end === at + 1 && filter.charCodeAt(at) === hashSign) isOpen = true;
    else {
      if (levels === shapeLevelsMax) return undefined;
      if (end === at + 1 && filter.charCodeAt(at) === plusSign) pluses |= 1 << levels;
      levels++;
    }
    at = end + 1;
  }
  return { levels, pluses, isOpen };
}

const hashSign = "#".charCodeAt(0);
const plusSign = "+".charCodeAt(0);
const slashSign = "/".charCodeAt(0);

/** Whether the filter has wildcards. */
export function hasPlace(filter: string): boolean {
  return filter.includes("+") || filter.includes("#");
}

/** The filter without `$share/group/`. */
export function plainOf(filter: string): string {
  return isShared(filter) ? filter.slice(filter.indexOf("/", "$share/".length) + 1) : filter;
}

/** Writes the hash of each level into `levelHashes`, and returns their number. FNV-1a, starting with the seed. */
export function hashLevels(text: string, seed: number): number {
  let levels = 0;
  let hash = seed;
  for (let i = 0; i < text.length; i++) {
    const unit = text.charCodeAt(i);
    if (unit !== slashSign) {
      hash = Math.imul(hash ^ unit, 0x01000193);
      continue;
    }
    if (levels === levelHashes.length - 1) {
      const more = new Int32Array(2 * levelHashes.length);
      more.set(levelHashes);
      levelHashes = more;
    }
    levelHashes[levels++] = hash;
    hash = seed;
  }
  levelHashes[levels++] = hash;
  return levels;
}

/** The hash of the first `levels` levels, with wildcards at the positions in `pluses`. */
export function folded(levels: number, pluses: number): number {
  let hash = levels;
  for (let level = 0; level < levels; level++) {
    const isAny = level < shapeLevelsMax && ((pluses >>> level) & 1) === 1;
    hash = Math.imul(hash, 0x9e3779b1) ^ (isAny ? 0x2b : (levelHashes[level] ?? 0));
  }
  return mixed(hash);
}

/** The hash of a filter with this shape that matches the name in `levelHashes`. */
export function hashOfShape({ levels, pluses, isOpen }: Shape): number {
  const hash = folded(levels, pluses);
  return isOpen ? ~hash : hash;
}

export function isSameShape(a: Shape | undefined, b: Shape | undefined): boolean {
  return a?.levels === b?.levels && a?.pluses === b?.pluses && a?.isOpen === b?.isOpen;
}
