/** Links between the documents lead somewhere. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { expect, test } from "vitest";

const root = join(import.meta.dirname, "../..");
const below = (folder: string) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => join(folder, name));
const documents = [...readdirSync(root), ...["docs", "hardware", "test"].flatMap(below)].filter((name) =>
  name.endsWith(".md"),
);

/** Targets of relative links, without the part behind `#`. */
function targets(text: string): string[] {
  return [...text.matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, target = ""]) =>
    /^[a-z]+:|^#/.test(target) ? [] : [target.split("#")[0] ?? ""],
  );
}

test("each relative link in a document names a file or folder that is there", () => {
  expect(documents.length).toBeGreaterThan(20);
  const broken = documents.flatMap((document) =>
    targets(readFileSync(join(root, document), "utf8"))
      .filter((target) => !existsSync(normalize(join(root, dirname(document), target))))
      .map((target) => `${document}: ${target}`),
  );
  expect(broken).toEqual([]);
});
