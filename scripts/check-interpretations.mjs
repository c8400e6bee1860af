/**
 * Part of `npm run lint`: compares docs/internals/spec-interpretation.md with the tests.
 *
 * A test or a group of tests has the clauses of MQTT-SN 1.2 that it checks, `[6.14]`, and the rows of that document, `[i9]`, in its name.
 * Fails if a row names a test that does not exist, if a test names a row that does not exist, or if a row has no test. Prints the clauses
 * without a test.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const document = "docs/internals/spec-interpretation.md";
/** What the standard prescribes to a gateway: the message formats of clause 5, the procedures of clause 6, the timers. */
const clauses = [
  ...["4.1", "4.2", "5.2.1", "5.3.1", "5.3.4", "5.3.7", "5.3.11"],
  ...Array.from({ length: 25 }, (_, i) => `5.4.${i + 1}`),
  ...Array.from({ length: 14 }, (_, i) => `6.${i + 1}`),
  ...["5.5", "7.2", "7.4"],
];
/** Rows without a step test: the vectors, the simulation, or nothing to hold. */
const elsewhere = /^(vectors|simulation|-)$/;

const tests = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" })
  .filter((name) => name.endsWith(".test.ts"))
  .map((name) => ({ file: name, text: readFileSync(join(root, "test", name), "utf8") }));
const all = tests.map(({ text }) => text).join("\n");
const rows = readFileSync(join(root, document), "utf8")
  .split("\n")
  .filter((line) => /^\| \d/.test(line))
  .map((line) => line.replace(/^\| | \|$/g, "").split(" | "))
  .map((cells) => ({ number: cells[0] ?? "", named: cells.at(-1) ?? "" }));

const problems = [];
for (const { number, named } of rows) {
  if (!elsewhere.test(named) && !all.includes(`[i${number}]`))
    problems.push(`row ${number}: no test carries [i${number}]`);
  for (const part of named.split(";")) {
    const [files = "", ...rest] = part.split(":");
    const phrases = [...rest.join(":").matchAll(/"([^"]+)"/g)].map(([, phrase]) => phrase ?? "");
    const where = tests.filter(({ file }) =>
      files.split(",").some((name) => basename(file) === `${name.trim()}.test.ts`),
    );
    for (const phrase of phrases)
      if (!where.some(({ text }) => text.includes(phrase)))
        problems.push(`row ${number}: no test "${phrase}" in ${files.trim()}`);
  }
}
const numbers = new Set(rows.map(({ number }) => number));
for (const { file, text } of tests)
  for (const [, number = ""] of text.matchAll(/\[i(\d+a?)\]/g))
    if (!numbers.has(number)) problems.push(`test/${file}: there is no row ${number} in ${document}`);

for (const problem of problems) console.error(problem);
const untested = clauses.filter((clause) => !new RegExp(`\\[§?${clause.replaceAll(".", "\\.")}\\]`).test(all));
console.log(
  `${rows.length} interpretations, ${clauses.length - untested.length} of ${clauses.length} clauses in the name of a test; not: ${untested.join(" ")}`,
);
process.exit(problems.length === 0 ? 0 : 1);
