/** Imports point inwards: see ARCHITECTURE.md, "Who may import whom". */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { circlesIn, graphOf, importsOf, joined } from "./import-graph.ts";

const src = resolve(dirname(fileURLToPath(import.meta.url)), "../../src");

/** Folder (or file) of src -> what it may import. `types:x` = only `import type`. `pkg` = packages and node built-ins. */
const rules: Record<string, readonly string[]> = {
  wire: [],
  core: ["wire", "node:assert"],
  device: ["wire", "types:core"],
  transports: ["errors.ts", "types:core", "pkg"],
  upstream: ["errors.ts", "types:core", "pkg"],
  storage: ["errors.ts", "wire", "types:core", "pkg"],
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

/** Files that reach each other today. This list only ever becomes shorter. */
const knownCircles: readonly string[] = [
  "core/state/broker-session.ts -> core/state/outbox.ts -> core/state/broker-session.ts",
  "core/state/session.ts -> core/state/broker-session.ts -> core/state/session.ts",
  "core/state/setup.ts -> core/state/session.ts -> core/state/setup.ts",
  "core/state/trunk.ts -> core/state/broker-session.ts -> core/state/trunk.ts",
  "core/state/upstream.ts -> core/state/broker-session.ts -> core/state/upstream.ts",
  "transports/udp-addresses.ts -> transports/udp-batch.ts -> transports/udp-addresses.ts",
];

const files: ReadonlyMap<string, string> = new Map(
  readdirSync(src, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts"))
    .map((name) => [name.split(sep).join("/"), readFileSync(join(src, name), "utf8")]),
);

test("imports point inwards", () => {
  const wrong: string[] = [];
  for (const [file, text] of files) {
    const from = area(file);
    const allowed = rules[from];
    if (!allowed) {
      wrong.push(`${file}: no rule for ${from}`);
      continue;
    }
    if (allowed.includes("*")) continue;
    for (const { target, typeOnly } of importsOf(text)) {
      if (!target.startsWith(".")) {
        if (!allowed.includes("pkg") && !allowed.includes(target)) wrong.push(`${file}: package ${target}`);
        continue;
      }
      const to = area(joined(file, target));
      if (to === from || allowed.includes(to)) continue;
      if (typeOnly && allowed.includes(`types:${to}`)) continue;
      wrong.push(`${file}: ${target}`);
    }
  }
  expect(wrong).toEqual([]);
});

test("no file of src reaches itself by its imports, types included", () => {
  expect(circlesIn(graphOf(files)).filter((circle) => !knownCircles.includes(circle))).toEqual([]);
});

test("wire and core take no time, dice or timers from the machine", () => {
  const impure =
    /\b(Date\.now|new Date\(|performance\.now|setTimeout|setInterval|setImmediate|queueMicrotask|Math\.random|process\.|console\.|async\s|await\s|new Promise)/;
  const wrong = [...files]
    .filter(([file]) => ["wire", "core", "device"].includes(area(file)))
    .flatMap(([file, text]) =>
      text
        .split("\n")
        .filter((line) => !/^\s*(\*|\/\/|\/\*)/.test(line) && impure.test(line))
        .map((line) => `${file}: ${line.trim()}`),
    );
  expect(wrong).toEqual([]);
});

describe("the check itself", () => {
  const planted = (lines: Record<string, string>) => circlesIn(graphOf(new Map(Object.entries(lines))));

  test("names the files of a circle, over folders and with types only", () => {
    expect(
      planted({
        "a/one.ts": 'import { two } from "../b/two.ts";',
        "b/two.ts": 'import type { Three } from "./three.ts";',
        "b/three.ts": 'export { one } from "../a/one.ts";',
        "b/four.ts": 'import { one } from "../a/one.ts";',
      }),
    ).toEqual(["a/one.ts -> b/two.ts -> b/three.ts -> a/one.ts"]);
  });

  test("finds a circle that goes over a dynamic import, and a file that imports itself", () => {
    expect(planted({ "one.ts": 'const two = await import("./two.ts");', "two.ts": 'import "./one.ts";' })).toEqual([
      "one.ts -> two.ts -> one.ts",
    ]);
    expect(planted({ "one.ts": 'import type { One } from "./one.ts";' })).toEqual(["one.ts -> one.ts"]);
  });

  test("says nothing where two files share a third", () => {
    expect(planted({ "one.ts": 'import "./three.ts";', "two.ts": 'import "./three.ts";', "three.ts": "" })).toEqual([]);
  });
});

function area(path: string): string {
  return path.split("/")[0] ?? path;
}
