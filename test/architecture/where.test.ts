/** docs/internals/where.md answers with files and names that are there. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");

const answers = [
  ...readFileSync(resolve(root, "docs/internals/where.md"), "utf8").matchAll(/^\| (.+\?) \| `(.+?)` \| `(.+?)` \|$/gm),
].map(([, question = "", file = "", name = ""]) => ({ question, file, name }));

test("there are at least 25 questions, each asked once", () => {
  expect(answers.length).toBeGreaterThanOrEqual(25);
  expect(new Set(answers.map(({ question }) => question)).size).toBe(answers.length);
});

test.each(answers)("$question", ({ file, name }) => {
  expect(existsSync(resolve(root, file)), file).toBe(true);
  const exported = new RegExp(
    `^export (?:async )?(?:abstract )?(?:function\\*?|class|const|interface|type) ${name}\\b`,
    "m",
  );
  expect(readFileSync(resolve(root, file), "utf8"), `${file} exports ${name}`).toMatch(exported);
});
