/**
 * Figures are data: writes the tables of docs/measurements from the JSON files beside them. Part of `npm run docs`; with --check
 * (part of `npm run lint`) it changes nothing and fails where a table is not what its data says.
 *
 * A file has `machine`, `date`, `commit`, `command` and perhaps `seed` and `note` (what is not known is `null` and said so), perhaps
 * `facts` (results of the run that are not in a table, a sentence each), and a table: `columns` and `rows`. Its place in a document:
 *
 *     <!-- figures figures/up.json -->
 *     ...
 *     <!-- /figures -->
 *
 * A figure in the text is a link to its file, `[131,946](figures/crash-225.json)`. It must be a number in a cell, a fact or the note of that
 * file, or the sum of a column (of the first number in each cell).
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = resolve(dirname(fileURLToPath(import.meta.url)), "../docs/measurements");
const place = /<!-- figures (\S+) -->\n[\s\S]*?<!-- \/figures -->/g;
const isCheck = process.argv.includes("--check");

const read = (file) => JSON.parse(readFileSync(join(folder, file), "utf8"));
const numbersIn = (text) => text.match(/\d[\d,.]*\d|\d/g) ?? [];

/** The figures of a file that a text may quote. */
function quotable(file) {
  const { note = "", facts: results = [], columns, rows } = read(file);
  const sums = columns.map((_, i) =>
    rows.reduce((sum, row) => sum + Number((numbersIn(row[i])[0] ?? "0").replaceAll(",", "")), 0).toLocaleString("en"),
  );
  return new Set([...rows.flat(), ...results, note].flatMap(numbersIn).concat(sums));
}

function table(file) {
  const { machine, date, commit, command, seed, note, facts: results = [], columns, rows } = read(file);
  const wrong = rows.find((row) => row.length !== columns.length);
  if (wrong) throw new Error(`${file}: a row has ${wrong.length} cells, not ${columns.length}: ${wrong[0]}`);
  const line = (cells) => `| ${cells.join(" | ")} |`;
  const facts = [
    ["Machine", machine],
    ["date", date],
    ["commit", commit],
    ["seed", seed],
  ].flatMap(([name, value]) => (value === undefined ? [] : `${name}: ${value ?? "not recorded"}`));
  return [
    `<!-- figures ${file} -->`,
    ...results.map((result) => `- ${result}`),
    ...(results.length > 0 ? [""] : []),
    line(columns),
    line(columns.map(() => "---")),
    ...rows.map(line),
    "",
    `<sub>${facts.join("; ")}. ${command === null ? "Command: not recorded." : `\`${command}\``}${note ? ` ${note}` : ""}</sub>`,
    "<!-- /figures -->",
  ].join("\n");
}

const stale = [];
const used = new Set();
for (const name of readdirSync(folder).filter((each) => each.endsWith(".md"))) {
  const before = readFileSync(join(folder, name), "utf8");
  const after = before.replace(place, (_, file) => {
    used.add(file);
    return table(file);
  });
  for (const [, text = "", file = ""] of after
    .replace(place, "")
    .matchAll(/\[([^\]]*\d[^\]]*)\]\((figures\/\S+\.json)\)/g))
    for (const number of numbersIn(text))
      if (!quotable(file).has(number)) stale.push(`${name}: ${number} is not a figure of ${file}`);
  const bare = after
    .replace(place, "")
    .split("\n")
    .filter((line) => /^\| ?---/.test(line));
  if (bare.length > 0) stale.push(`${name}: ${bare.length} tables without data`);
  if (after === before) continue;
  if (isCheck) stale.push(`${name}: not what its data says; npm run docs`);
  else writeFileSync(join(folder, name), after);
}
for (const file of readdirSync(join(folder, "figures")))
  if (!used.has(`figures/${file}`)) stale.push(`figures/${file}: in no document`);
for (const each of stale) console.error(`docs/measurements/${each}`);
process.exit(stale.length === 0 ? 0 : 1);
