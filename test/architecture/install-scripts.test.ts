/** npm 12 runs no script of a dependency that package.json does not allow: each that has one is decided there. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

interface Locked {
  readonly hasInstallScript?: boolean;
  readonly resolved?: string;
}

const read = (name: string) => JSON.parse(readFileSync(new URL(`../../${name}`, import.meta.url), "utf8"));
const { packages } = read("package-lock.json") as { packages: Record<string, Locked> };
const { allowScripts } = read("package.json") as { allowScripts: Record<string, boolean> };

test("every dependency with an install script is allowed or denied, and no other is named", () => {
  const withScripts = Object.entries(packages)
    .filter(([path, { hasInstallScript }]) => path !== "" && hasInstallScript)
    .map(([path]) => path.slice(path.lastIndexOf("node_modules/") + "node_modules/".length));
  expect(Object.keys(allowScripts).sort()).toEqual([...new Set(withScripts)].sort());
});

test("the lock file names no registry", () => {
  expect(Object.entries(packages).filter(([, { resolved }]) => resolved !== undefined)).toEqual([]);
});
