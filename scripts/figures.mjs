/**
 * Figures are data: writes the tables of docs/measurements from the JSON files beside them. Part of `npm run docs`; with --check
 * (part of `npm run lint`) it changes nothing and fails where a table is not what its data says.
 *
 * A file has `machine`, `date`, `commit`, `command` and perhaps `seed` and `note` (what is not known is `null` and said so), and a
 * table: `columns` and `rows`. Its place in a document:
 *
 *     <!-- figures data/up.json -->
 *     ...
 *     <!-- /figures -->
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const folder = resolve(dirname(fileURLToPath(import.meta.url)), "../docs/measurements");
const place = /<!-- figures (\S+) -->\n[\s\S]*?<!-- \/figures -->/g;
const isCheck = process.argv.includes("--check");

function table(file) {
  const { machine, date, commit, command, seed, note, columns, rows } = JSON.parse(
    readFileSync(join(folder, file), "utf8"),
  );
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
  const bare = after
    .replace(place, "")
    .split("\n")
    .filter((line) => /^\| ?---/.test(line));
  if (bare.length > 0) stale.push(`${name}: ${bare.length} tables without data`);
  if (after === before) continue;
  if (isCheck) stale.push(`${name}: not what its data says; npm run docs`);
  else writeFileSync(join(folder, name), after);
}
for (const file of readdirSync(join(folder, "data")))
  if (!used.has(`data/${file}`)) stale.push(`data/${file}: in no document`);
for (const each of stale) console.error(`docs/measurements/${each}`);
process.exit(stale.length === 0 ? 0 : 1);
