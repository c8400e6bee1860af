/**
 * What README.md, SECURITY.md and docs/guide/operations.md promise is shown by tests that are there: `path`: "name"; "name".
 * A name stands as it is written in the file, with its placeholders, and without the clauses behind it (`[6.14]`).
 */
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const read = (path: string) => readFileSync(resolve(root, path), "utf8");

/** Under these headings every row of a table names its tests; elsewhere a path is enough. */
const named = [
  ["README.md", "What is promised"],
  ["docs/guide/operations.md", "A packet for which the broker closes the connection"],
  ["SECURITY.md", "What is promised"],
] as const;

interface Shown {
  readonly path: string;
  readonly names: readonly string[];
}

/** Rows of tables whose last column is "Shown by". */
function rowsOf(text: string): { readonly row: string; readonly shown: readonly Shown[] }[] {
  const rows: { row: string; shown: Shown[] }[] = [];
  let isShown = false;
  for (const line of text.split("\n")) {
    if (!line.startsWith("|")) isShown = false;
    else if (line.endsWith("| Shown by |")) isShown = true;
    else if (isShown && !line.startsWith("| ---")) rows.push({ row: line, shown: shownIn(lastCell(line)) });
  }
  return rows;
}

function lastCell(row: string): string {
  return row.slice(0, -1).split(" | ").at(-1) ?? "";
}

function shownIn(cell: string): Shown[] {
  return [...cell.matchAll(/`(test\/[^`]+)`(?:: ((?:"[^"]+"(?:; )?)+))?/g)].map(([, path = "", names = ""]) => ({
    path,
    names: [...names.matchAll(/"([^"]+)"/g)].map(([, name = ""]) => name),
  }));
}

function sectionOf(path: string, heading: string): string {
  const [, section = ""] = read(path).split(`\n## ${heading}\n`);
  return section.split("\n## ")[0] ?? "";
}

describe.each(named)("%s: %s", (path, heading) => {
  const rows = rowsOf(sectionOf(path, heading));

  test("there are rows, and each names a test", () => {
    expect(rows.length).toBeGreaterThan(4);
    for (const { row, shown } of rows) expect(shown.flatMap(({ names }) => names).length, row).toBeGreaterThan(0);
  });

  test.each(rows.flatMap(({ shown }) => shown))("$path", ({ path: file, names }) => {
    const text = read(file);
    const bare = text.replaceAll(/( \[[^\]\s]+\])+(?=["`])/g, "");
    for (const name of names) expect(bare.includes(`"${name}"`) || bare.includes(`\`${name}\``), name).toBe(true);
  });
});

test("the promise reads the same in both", () => {
  const [, table = ""] = sectionOf("README.md", "What is promised").split(/(?=^\| What a device)/m);
  const promise = table.split("\n\n")[0] ?? "";
  expect(promise.split("\n").length).toBeGreaterThan(5);
  expect(read("docs/guide/operations.md")).toContain(promise);
});

test("every test that docs/guide/operations.md names is there", () => {
  const paths = [...read("docs/guide/operations.md").matchAll(/`(test\/[^`]+\.ts)`/g)].map(([, path = ""]) => path);
  expect(paths.length).toBeGreaterThan(20);
  for (const path of paths) expect(existsSync(resolve(root, path)), path).toBe(true);
});
