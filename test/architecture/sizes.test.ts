/** A file has one subject, and a reader sees it whole. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative, resolve } from "node:path";
import { expect, test } from "vitest";

const root = resolve(import.meta.dirname, "../..");
const linesMax = 500;
const ours = /\.(ts|tsx|mts|mjs|c|h|css)$/;

const linesOf = (path: string): number => readFileSync(path, "utf8").trimEnd().split("\n").length;

function filesIn(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && ours.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !/\/(node_modules|build|dist|fixtures)\//.test(path));
}

test.each(["src", "test", "scripts", "native", "hardware"])(
  `no file of %s has more than ${linesMax} lines`,
  (folder) => {
    const files = filesIn(folder);
    expect(files.length).toBeGreaterThan(0);
    const long = files
      .map((path) => ({ path: relative(root, path), lines: linesOf(path) }))
      .filter(({ lines }) => lines > linesMax);
    expect(long).toEqual([]);
  },
);
