/**
 * Changes the configuration's file: one key at a time; comments and order stay. The text is changed, and not written again from the values.
 * checked.ts, which `check` uses too, decides whether the result is valid.
 */
import { createHash } from "node:crypto";
import { accessSync, constants, readFileSync, realpathSync, statSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { dirname } from "node:path";
import { applyEdits, modify, type ParseError, parse } from "jsonc-parser";
import { GatewayError } from "../errors.ts";

export interface Change {
  /** The keys that lead to the value; numbers are positions in lists. */
  readonly path: readonly (string | number)[];
  /** Undefined: the key is removed, and its default is used. */
  readonly value?: unknown;
}

/** The text with the changes. @throws {GatewayError} ERR_CONFIG_INVALID if the text is no JSON */
export function edited(text: string, changes: readonly Change[]): string {
  const formattingOptions = { insertSpaces: !/^\t/m.test(text), tabSize: indentIn(text), eol: eolIn(text) };
  let now = text.trim() === "" ? "{}\n" : text;
  for (const { path, value } of changes) {
    const errors: ParseError[] = [];
    parse(now, errors);
    if (errors.length > 0)
      throw new GatewayError("ERR_CONFIG_INVALID", { problems: ["the file is not valid JSON at present"] });
    // If a key to remove does not exist, the library would insert its parent object.
    if (value === undefined && !isThere(parse(now), path)) continue;
    now = applyEdits(now, modify(now, [...path], value, { formattingOptions }));
  }
  return now;
}

/** Identifies a text. A user who saves names the version that was changed. */
export function versionOf(text: string): string {
  return createHash("sha256").update(text).digest("base64url").slice(0, 22);
}

export interface Line {
  readonly kind: "same" | "out" | "in";
  readonly text: string;
}

const aroundLines = 2;

/**
 * Compares two texts line by line, and shows two lines around each change; "" stands for a gap. Equal lines at the
 * beginning and the end are not compared.
 */
export function difference(before: string, after: string): readonly Line[] {
  const [old, now] = [before.split(/\r?\n/), after.split(/\r?\n/)];
  const rows = common(old, now);
  const lines: Line[] = [];
  let [i, j] = [0, 0];
  for (const [oldAt, nowAt] of [...rows, [old.length, now.length] as const]) {
    for (; i < oldAt; i++) lines.push({ kind: "out", text: old[i] ?? "" });
    for (; j < nowAt; j++) lines.push({ kind: "in", text: now[j] ?? "" });
    if (oldAt < old.length) lines.push({ kind: "same", text: old[oldAt] ?? "" });
    [i, j] = [oldAt + 1, nowAt + 1];
  }
  const isNear = (at: number) =>
    lines.slice(Math.max(0, at - aroundLines), at + aroundLines + 1).some(({ kind }) => kind !== "same");
  return lines.filter((_line, at) => isNear(at));
}

/** Why the file cannot be written; undefined: it can. */
export function whyNotWritable(path: string): string | undefined {
  try {
    const file = realpathSync(path);
    accessSync(file, constants.W_OK);
    accessSync(dirname(file), constants.W_OK); // the file is replaced completely or not at all
    return undefined;
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : String(error);
    if (code === "EROFS") return `${path} is on a disk that is read-only for the gateway (its unit may say so)`;
    if (code === "EACCES" || code === "EPERM") return `the gateway has no right to write ${path} or its folder`;
    return `${path} cannot be written (${code})`;
  }
}

/**
 * Replaces the file completely or not at all, also in a power cut; the earlier text is kept as `.bak`.
 * @throws {GatewayError} ERR_CONFIG_READ when it cannot be written, or is not the version that was changed
 */
export async function replaceFile(path: string, text: string, version: string): Promise<void> {
  try {
    const file = realpathSync(path);
    const before = readFileSync(file, "utf8");
    if (versionOf(before) !== version) throw refusal(path, "it was changed elsewhere meanwhile: load it again");
    const { mode, uid, gid } = statSync(file);
    await writeWhole(`${file}.bak`, before, { mode, uid, gid });
    await writeWhole(file, text, { mode, uid, gid });
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause;
    throw refusal(path, cause instanceof Error ? cause.message : String(cause));
  }
}

async function writeWhole(
  path: string,
  text: string,
  { mode, uid, gid }: { readonly mode: number; readonly uid: number; readonly gid: number },
): Promise<void> {
  const beside = `${path}.new`;
  const file = await open(beside, "w", mode);
  try {
    await file.chmod(mode & 0o777);
    if (process.getuid?.() !== uid || process.getgid?.() !== gid) await file.chown(uid, gid).catch(() => {});
    await file.writeFile(text);
    await file.sync();
  } catch (error) {
    await file.close();
    await rm(beside, { force: true });
    throw error;
  }
  await file.close();
  await rename(beside, path);
}

/**
 * Pairs of equal lines, in order. Equal lines at the beginning and end are paired directly, the rest by the longest
 * common subsequence.
 */
function common(old: readonly string[], now: readonly string[]): readonly (readonly [number, number])[] {
  let start = 0;
  while (start < old.length && start < now.length && old[start] === now[start]) start++;
  let [oldEnd, nowEnd] = [old.length, now.length];
  while (oldEnd > start && nowEnd > start && old[oldEnd - 1] === now[nowEnd - 1]) {
    oldEnd--;
    nowEnd--;
  }
  const [a, b] = [old.slice(start, oldEnd), now.slice(start, nowEnd)];
  const pairs: [number, number][] = [];
  for (let i = 0; i < start; i++) pairs.push([i, i]);
  if (a.length * b.length <= compareMax)
    pairs.push(...longest(a, b).map(([i, j]): [number, number] => [i + start, j + start]));
  for (let i = 0; i < old.length - oldEnd; i++) pairs.push([oldEnd + i, nowEnd + i]);
  return pairs;
}

/** With more pairs of lines than this, the whole middle is shown as changed. */
const compareMax = 4_000_000;

function longest(a: readonly string[], b: readonly string[]): [number, number][] {
  const width = b.length + 1;
  const best = new Uint32Array((a.length + 1) * width);
  const at = (i: number, j: number) => best[i * width + j] ?? 0;
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--)
      best[i * width + j] = a[i] === b[j] ? at(i + 1, j + 1) + 1 : Math.max(at(i + 1, j), at(i, j + 1));
  }
  const pairs: [number, number][] = [];
  let [i, j] = [0, 0];
  while (i < a.length && j < b.length) {
    if (a[i] === b[j]) pairs.push([i++, j++]);
    else if (at(i + 1, j) >= at(i, j + 1)) i++;
    else j++;
  }
  return pairs;
}

function isThere(value: unknown, path: readonly (string | number)[]): boolean {
  let at = value;
  for (const key of path) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, key)) return false;
    at = Reflect.get(at, key);
  }
  return true;
}

function indentIn(text: string): number {
  return /^( +)"/m.exec(text)?.[1]?.length ?? 2;
}

function eolIn(text: string): string {
  return text.includes("\r\n") ? "\r\n" : "\n";
}

function refusal(path: string, why: string): GatewayError {
  return new GatewayError("ERR_CONFIG_READ", { path }, { say: `${path} cannot be written: ${why}` });
}
