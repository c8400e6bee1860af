/** Imports point inwards: see ARCHITECTURE.md, "Who may import whom". */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const src = resolve(dirname(fileURLToPath(import.meta.url)), "../../src");

/** Folder (or file) of src -> what it may import. `types:x` = only `import type`. `pkg` = packages and node built-ins. */
const rules: Record<string, readonly string[]> = {
  wire: [],
  core: ["wire", "node:assert"],
  device: ["wire", "types:core"],
  transports: ["errors.ts", "types:core", "pkg"],
  upstream: ["errors.ts", "types:core", "pkg"],
  storage: ["errors.ts", "types:core", "pkg"],
  observe: ["errors.ts", "types:core", "types:transports", "pkg"],
  config: ["errors.ts", "wire", "transports", "upstream", "storage", "observe", "types:core", "pkg"],
  runtime: ["core", "wire", "types:transports", "types:upstream", "types:storage", "pkg"],
  api: ["errors.ts", "types:runtime", "types:core", "types:observe", "pkg"],
  cli: ["gateway.ts", "config", "storage", "transports", "upstream", "wire", "device", "errors.ts", "observe", "pkg"],
  "gateway.ts": ["*"],
  "tryout-broker.ts": ["errors.ts", "pkg"],
  "main.ts": ["cli", "errors.ts", "pkg"],
  "errors.ts": [],
};

const importPattern = /^\s*(?:import|export)\s+(type\s+)?(?:[^"';]*?\sfrom\s+)?"([^"]+)"|\bimport\("([^"]+)"\)/gm;

function sourceFiles(): string[] {
  return readdirSync(src, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
}

function area(path: string): string {
  return path.split(sep)[0] ?? path;
}

test("imports point inwards", () => {
  const wrong: string[] = [];
  for (const file of sourceFiles()) {
    const from = area(file);
    const allowed = rules[from];
    if (!allowed) {
      wrong.push(`${file}: no rule for ${from}`);
      continue;
    }
    if (allowed.includes("*")) continue;
    for (const [, typeOnly, fixed, dynamic] of readFileSync(join(src, file), "utf8").matchAll(importPattern)) {
      const target = fixed ?? dynamic ?? "";
      if (!target.startsWith(".")) {
        if (!allowed.includes("pkg") && !allowed.includes(target)) wrong.push(`${file}: package ${target}`);
        continue;
      }
      const to = area(relative(src, resolve(join(src, dirname(file)), target)));
      if (to === from || allowed.includes(to)) continue;
      if (typeOnly && allowed.includes(`types:${to}`)) continue;
      wrong.push(`${file}: ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("wire and core take no time, dice or timers from the machine", () => {
  const impure =
    /\b(Date\.now|new Date\(|performance\.now|setTimeout|setInterval|setImmediate|queueMicrotask|Math\.random|process\.|console\.|async\s|await\s|new Promise)/;
  const wrong = sourceFiles()
    .filter((file) => ["wire", "core", "device"].includes(area(file)))
    .flatMap((file) =>
      readFileSync(join(src, file), "utf8")
        .split("\n")
        .filter((line) => !/^\s*(\*|\/\/|\/\*)/.test(line) && impure.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
  expect(wrong).toEqual([]);
});
