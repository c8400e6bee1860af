/** The journeys of ARCHITECTURE.md: each step is in the code where it is said to be, and each arrow is an import. */
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { importsOf, joined } from "./import-graph.ts";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "../..");
const core = resolve(root, "src/core");

interface Step {
  readonly file: string;
  readonly name: string;
}

/** Lines such as "PUBLISH  gateway-core.ts onDatagram -> session/publish-up.ts onPublish". */
const journeys: readonly (readonly Step[])[] = readFileSync(resolve(root, "ARCHITECTURE.md"), "utf8")
  .split("\n")
  .filter((line) => line.includes(".ts") && line.includes(" -> ") && !line.includes("`"))
  .map((line) =>
    [...line.matchAll(/([\w/-]+\.ts) (\w+)/g)].map(([, file = "", name = ""]) => ({
      file,
      name,
    })),
  );

test("there are four journeys of several lines", () => {
  expect(journeys.length).toBeGreaterThanOrEqual(10);
  for (const steps of journeys) expect(steps.length).toBeGreaterThanOrEqual(3);
});

test.each(journeys.map((steps) => [steps.map(({ name }) => name).join(" -> "), steps] as const))("%s", (_, steps) => {
  expect(new Set(steps.map(({ file }) => file)).size, "a file stands once in a line").toBe(steps.length);
  for (const [at, { file, name }] of steps.entries()) {
    const text = readFileSync(resolve(core, file), "utf8");
    expect(new RegExp(`\\b${name}\\b`).test(text), `${file} has ${name}`).toBe(true);
    const next = steps[at + 1];
    if (!next) continue;
    const targets = importsOf(text).map(({ target }) => joined(file, target));
    expect(targets, `${file} -> ${next.file}`).toContain(next.file);
    expect(new RegExp(`\\b${next.name}\\b`).test(text), `${file} uses ${next.name}`).toBe(true);
  }
});
